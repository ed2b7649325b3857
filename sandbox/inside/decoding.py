"""Reads, inside, what `sandbox.inside.encoding` writes: arguments in the candidate's process, results in the test's.

An iterator is an iterator again. `Opaque` stands for what is no data: it equals nothing, and any other use of it is
refused. (`sandbox.decoding` reads the same form outside, where more must be bounded.)
"""

# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# (the values are a candidate's: anything at all)

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict, deque
from decimal import Decimal
from fractions import Fraction

TYPE_CHECKING = False  # importing `typing` is left to the preloaded modules
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn


class Opaque:
    """A value of the other process that is no data. Equal to nothing; whatever else is done to it raises `refuse`."""

    refuse: type[BaseException] = TypeError
    """What using it raises; set once by `sandbox.inside.proxy`."""
    __hash__ = object.__hash__

    def __init__(self, kind: str, text: str) -> None:
        self._kind = kind
        self._text = text

    def __eq__(self, other: object) -> bool:
        return False

    def __repr__(self) -> str:
        return self._text

    def _use(self, *_: object) -> NoReturn:
        raise self.refuse(f"{self._kind} is no plain data")

    __getattr__ = __call__ = __iter__ = __len__ = __getitem__ = __contains__ = __bool__ = __next__ = _use
    __lt__ = __le__ = __gt__ = __ge__ = __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = _use
    __int__ = __float__ = __index__ = __str__ = __setitem__ = __enter__ = _use


def decode(parsed: Any) -> Any:
    """Return the value of one encoded text, already parsed from JSON; whatever is unreadable in it is opaque."""
    if isinstance(parsed, list):
        return [decode(item) for item in parsed]
    if not isinstance(parsed, dict):
        return parsed
    try:
        ((tag, content),) = parsed.items()
        return _READERS[tag](content)
    except Exception as error:
        return Opaque("an unreadable value", repr(error))


def _items(parts: Any) -> list[Any]:
    return [decode(part) for part in parts]


def _pairs(parts: Any) -> dict[Any, Any]:
    return {decode(key): decode(value) for key, value in parts}


_READERS: dict[str, Callable[[Any], Any]] = {
    "int": lambda text: int(text, 16),
    "float": float,
    "complex": lambda parts: complex(decode(parts[0]), decode(parts[1])),
    "bytes": bytes.fromhex,
    "bytearray": bytearray.fromhex,
    "tuple": lambda parts: tuple(_items(parts)),
    "set": lambda parts: set(_items(parts)),
    "frozenset": lambda parts: frozenset(_items(parts)),
    "deque": lambda parts: deque(_items(parts)),
    "range": lambda parts: range(*_items(parts)),
    "iterator": lambda parts: iter(_items(parts)),
    "dict": _pairs,
    "Counter": lambda parts: Counter(_pairs(parts)),
    "OrderedDict": lambda parts: OrderedDict(_pairs(parts)),
    "defaultdict": lambda parts: defaultdict(None, _pairs(parts)),
    "Decimal": Decimal,
    "Fraction": Fraction,
    "opaque": lambda parts: Opaque(str(parts[0]), str(parts[1])),
}
