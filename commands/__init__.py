"""The commands of `main.py`, one module each, and what they share: the only place where concrete parts meet actors."""
