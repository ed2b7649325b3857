"""What runs on the far side of the pipes, in the interpreter of the candidates: never imported by the orchestrator."""
