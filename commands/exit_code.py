"""Exit codes of the command line."""

DONE = 0
WRONG_USE = 2
"""Something given cannot be used; nothing half-made is left."""
FAILED = 3
PAUSED = 4
"""The run stopped itself, resumably."""
INTERRUPTED = 130
