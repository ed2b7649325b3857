"""What runs on the far side of the pipes, in the interpreter of the candidates: the orchestrator only sends it there.

It shares `frames`, what the pipes carry, and nothing else.
"""
