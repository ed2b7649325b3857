"""Under which licence a base model stands, as far as its own folder tells: its card, or else its licence file.

Not covered: what the words of a licence file mean, and models by hub name, whose folder is not here.
"""

import re
from pathlib import Path
from typing import NamedTuple

_CARD = "README.md"
_FILES = ("LICENSE*", "LICENCE*", "COPYING*")
_BYTES_MAX = 1 << 20
_FIELD = re.compile(r"^(license|license_name): *[\"']?([\w.+-]+)[\"']? *$", re.MULTILINE)


class Licence(NamedTuple):
    """What a folder tells."""

    identifier: str | None
    """As the card's front matter has it, such as `apache-2.0`; None: the card says nothing."""
    words: str
    """For the reader: the identifier, or the first line of the licence file, and which file says so."""


def stored_licence(folder: Path) -> Licence | None:
    """Return the licence that a model's folder tells of; None when it tells of none."""
    fields = dict(_FIELD.findall(_front_matter(_read(folder / _CARD))))
    identifier = fields.get("license")
    if identifier is not None:
        name = fields.get("license_name", identifier) if identifier == "other" else identifier
        return Licence(identifier, f"{name}, as its {_CARD} says")
    for path in sorted(path for pattern in _FILES for path in folder.glob(pattern)):
        line = next((line.strip() for line in _read(path).splitlines() if line.strip()), None)
        if line is not None:
            return Licence(None, f"{line[:200]}, as its file {path.name} begins")
    return None


def _front_matter(card: str) -> str:
    """Return what stands between the lines of three dashes that a card begins with."""
    parts = re.split(r"^---\s*$", card, maxsplit=2, flags=re.MULTILINE)
    return parts[1] if len(parts) == 3 and not parts[0].strip() else ""


def _read(path: Path) -> str:
    """Return the beginning of a text file; nothing when it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(_BYTES_MAX).decode(errors="replace")
    except OSError:
        return ""
