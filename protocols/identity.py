"""Ids, derived from what made a record: the same work has the same id after a crash."""

import hashlib

REFERENCE = "reference"
"""Subject id of a task's own reference answer."""


def derive(kind: str, *parts: str | int) -> str:
    """Return the id of a record of `kind` that was made by `parts`, in that order: 20 hexadecimal digits."""
    text = "\x1f".join([kind, *map(str, parts)])
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def content_hash(text: str) -> str:
    """Return the SHA-256 of `text`, hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()
