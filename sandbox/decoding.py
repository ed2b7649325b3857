"""Reads, outside, the results that a candidate's process claims (`sandbox.runner_encoding` writes them). Pure.

Every byte is untrusted: what cannot be read is `BadResult`, never a crash of the orchestrator, and what is read is made
of exact built-in and standard-library types only. `Opaque` stands for everything else and equals nothing but itself.
"""

import json
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any, cast

MAX_HASHED_ITEMS = 20_000
"""Elements of sets and keys of dicts in one result: with chosen hashes, more could keep the orchestrator busy."""
MAX_LIBRARY_NUMBER = 10_000
"""Length of the text of a Decimal or Fraction."""


class BadResult(ValueError):
    """The claim is not a result in the agreed form."""


@dataclass(frozen=True, eq=False)
class Opaque:
    """A value that is not data: an instance of the candidate's own class, a function, a subclass of `int`."""

    kind: str
    text: str

    def __repr__(self) -> str:
        return self.text


@dataclass(frozen=True, eq=False)
class Iterated:
    """What an iterator gave. Equal to nothing, as an iterator is; `list`, `sorted` and the like take its items."""

    items: tuple[Any, ...]

    def __iter__(self) -> Any:
        return iter(self.items)

    def __repr__(self) -> str:
        return f"<iterator over {list(self.items)!r}>"


def decode(parsed: object) -> object:
    """Return the value of one encoded result, already parsed from JSON.

    Raises:
        BadResult: it is not in the agreed form, or too large to be taken in.
    """
    try:
        return _Decoder().decode(parsed)
    except BadResult:
        raise
    except (ValueError, TypeError, ArithmeticError, RecursionError, KeyError, AttributeError) as error:
        raise BadResult(f"{type(error).__name__}: {error}") from error


def parse(text: str) -> dict[str, Any]:
    """Return a claim as the JSON object that it must be.

    Raises:
        BadResult: it is not exactly one JSON object.
    """
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadResult(f"unreadable claim: {error}") from error
    if not isinstance(parsed, dict):
        raise BadResult("the claim is not an object")
    return cast(dict[str, Any], parsed)


class _Decoder:
    def __init__(self) -> None:
        self._hashed = 0
        self._readers: dict[str, Callable[[Any], object]] = {
            "int": lambda text: int(text, 16),
            "float": _not_finite,
            "complex": lambda parts: complex(_real(self.decode(parts[0])), _real(self.decode(parts[1]))),
            "bytes": bytes.fromhex,
            "bytearray": bytearray.fromhex,
            "tuple": lambda items: tuple(self._items(items)),
            "set": lambda items: set(self._keys(items)),
            "frozenset": lambda items: frozenset(self._keys(items)),
            "deque": lambda items: deque(self._items(items)),
            "range": lambda items: range(*self._items(items)),
            "iterator": lambda items: Iterated(tuple(self._items(items))),
            "dict": self._pairs,
            "Counter": lambda pairs: Counter(self._pairs(pairs)),
            "OrderedDict": lambda pairs: OrderedDict(self._pairs(pairs)),
            "defaultdict": lambda pairs: defaultdict(None, self._pairs(pairs)),
            "Decimal": lambda text: Decimal(_short(text)),
            "Fraction": lambda text: Fraction(_short(text)),
            "opaque": lambda parts: Opaque(str(parts[0]), str(parts[1])),
        }

    def decode(self, parsed: Any) -> object:
        if isinstance(parsed, list):
            return self._items(cast(list[Any], parsed))
        if not isinstance(parsed, dict):
            return parsed
        ((tag, content),) = cast(dict[str, Any], parsed).items()
        return self._readers[tag](content)

    def _items(self, items: Iterable[Any]) -> list[Any]:
        return [self.decode(item) for item in items]

    def _keys(self, items: list[Any]) -> list[Any]:
        self._hashed += len(items)
        if self._hashed > MAX_HASHED_ITEMS:
            raise BadResult(f"more than {MAX_HASHED_ITEMS} elements of sets and dicts")
        return self._items(items)

    def _pairs(self, pairs: list[Any]) -> dict[Any, Any]:
        keys = self._keys([key for key, _ in pairs])
        return dict(zip(keys, self._items(value for _, value in pairs), strict=True))


def _not_finite(text: str) -> float:
    if text not in ("nan", "inf", "-inf"):
        raise BadResult(f"not a special float: {text!r:.20}")
    return float(text)


def _real(value: object) -> float:
    if not isinstance(value, float):
        raise BadResult("not a part of a complex number")
    return value


def _short(text: str) -> str:
    if len(text) > MAX_LIBRARY_NUMBER:
        raise BadResult("a number is too long")
    return text
