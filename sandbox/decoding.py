"""Reads, outside, the results that a candidate's process claims (`sandbox.inside.encoding` writes them). Pure.

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

MAX_HASHED_ITEMS = 10_000
"""Elements of sets and keys of dicts in one result: with chosen hashes, more could keep the orchestrator busy."""
MAX_LIBRARY_DIGITS = 10_000
"""Length of all Decimals and Fractions of one result: adding up many of them is slow. Bounds their exponents too."""
MAX_HEXADECIMAL_DIGITS = 100_000
"""Of an integer: dividing larger ones is slow."""
MAX_RANGE = 1_000_000
"""Length of a range: a condition may make a list of it."""


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
    except Exception as error:  # whoever chose the form may have chosen it so that reading it raises anything
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
        self._digits = 0
        self._readers: dict[str, Callable[[Any], object]] = {
            "int": _big,
            "float": _not_finite,
            "complex": lambda parts: complex(_real(self.decode(parts[0])), _real(self.decode(parts[1]))),
            "bytes": bytes.fromhex,
            "bytearray": bytearray.fromhex,
            "tuple": lambda items: tuple(self._items(items)),
            "set": lambda items: set(self._keys(items)),
            "frozenset": lambda items: frozenset(self._keys(items)),
            "deque": lambda items: deque(self._items(items)),
            "range": lambda items: _short_range(*self._items(items)),
            "iterator": lambda items: Iterated(tuple(self._items(items))),
            "dict": self._pairs,
            "Counter": lambda pairs: Counter(self._pairs(pairs)),
            "OrderedDict": lambda pairs: OrderedDict(self._pairs(pairs)),
            "defaultdict": lambda pairs: defaultdict(None, self._pairs(pairs)),
            "Decimal": self._decimal,
            "Fraction": self._fraction,
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

    def _decimal(self, text: str) -> Decimal:
        value = Decimal(self._take_digits(text))
        if value.is_finite() and value and abs(value.adjusted()) > MAX_LIBRARY_DIGITS:
            raise BadResult("a Decimal's exponent is too large")
        return value

    def _fraction(self, text: str) -> Fraction:
        numerator, _, denominator = self._take_digits(text).partition("/")
        # Part by part: as a whole, the text could be "1e999999999".
        return Fraction(int(numerator), int(denominator or "1"))

    def _take_digits(self, text: str) -> str:
        self._digits += len(text)
        if self._digits > MAX_LIBRARY_DIGITS:
            raise BadResult(f"more than {MAX_LIBRARY_DIGITS} digits of Decimals and Fractions")
        return text


def _big(text: str) -> int:
    if len(text) > MAX_HEXADECIMAL_DIGITS:
        raise BadResult("an integer is too large")
    return int(text, 16)


def _short_range(start: Any, stop: Any, step: Any) -> range:
    value = range(start, stop, step)
    if len(value) > MAX_RANGE:
        raise BadResult("a range is too long")
    return value


def _not_finite(text: str) -> float:
    if text not in ("nan", "inf", "-inf"):
        raise BadResult(f"not a special float: {text!r:.20}")
    return float(text)


def _real(value: object) -> float:
    if not isinstance(value, float):
        raise BadResult("not a part of a complex number")
    return value
