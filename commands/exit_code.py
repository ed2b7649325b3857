"""Exit codes of the command line."""

DONE = 0
NOT_PASSED = 1
"""`sandbox run`: a program did not pass its tests."""
WRONG_USE = 2
"""Something given cannot be used; nothing half-made is left."""
FAILED = 3
NO_SANDBOX = 3
"""`sandbox`: no isolation is to be had here, or the sandbox itself failed."""
PAUSED = 4
"""The run stopped itself, resumably."""
INTERRUPTED = 130
READER_LEFT = 141
"""Whoever read the output has left; what a shell says of a program that SIGPIPE ended."""
