"""Type-exact text form of a result, written inside the candidate's process; `sandbox.decoding` reads it outside.

The text is JSON: a list stands for itself, every other container for an object with one tag. Only exact built-in and
a few standard-library types are written as data; anything else, a subclass of `int` included, becomes an opaque tag
that equals nothing outside. Written without the `json` module, whose import would cost each job milliseconds.
"""

# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownMemberType=false
# (the values are a candidate's: anything at all)

from __future__ import annotations

from _json import encode_basestring_ascii as _quote  # pyright: ignore
from itertools import islice

TYPE_CHECKING = False  # importing `typing` would cost every job many milliseconds
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

MAX_DEPTH = 100
MAX_ITEMS = 50_000
"""Items taken from an iterator before it is called endless and left opaque."""

_BIG = 1 << 63
_MAPPINGS = {"dict", "Counter", "OrderedDict", "defaultdict"}
_ITERATORS = {
    "generator", "map", "filter", "zip", "enumerate", "reversed", "range_iterator", "list_iterator", "tuple_iterator",
    "list_reverseiterator", "dict_keys", "dict_values", "dict_items", "set_iterator", "str_iterator", "chain",
    "islice", "permutations", "combinations", "product", "accumulate", "starmap",
    "combinations_with_replacement", "takewhile", "dropwhile", "zip_longest", "str_ascii_iterator",
}  # fmt: skip
_MODULES = {"builtins", "collections", "decimal", "fractions", "itertools"}


class ResultTooLarge(Exception):
    """The text would be longer than its limit."""


class Encoder:
    """Writes one value after another, `limit` characters in all."""

    def __init__(self, limit: int) -> None:
        self._left = limit
        self._path: set[int] = set()

    def encode(self, value: Any) -> str:
        """Return the text of `value`.

        Raises:
            ResultTooLarge: it is longer than what is left of the limit.
        """
        text = self._scalar(value)
        if text is not None:
            return self._spend(text)
        self._spend("{}[]:,")
        return self._compound(value)

    def _spend(self, text: str) -> str:
        self._left -= len(text) + 1
        if self._left < 0:
            raise ResultTooLarge
        return text

    def _opaque(self, value: Any) -> str:
        return self._spend(opaque(value))

    def _scalar(self, value: Any) -> str | None:
        kind = type(value)
        if value is None:
            return "null"
        if kind is bool:
            return "true" if value else "false"
        if kind is int:
            return str(value) if -_BIG < value < _BIG else f'{{"int":"{value:x}"}}'
        if kind is float:
            return repr(value) if value - value == 0 else f'{{"float":"{value!r}"}}'
        if kind is str:
            return _quote(value)
        if kind is complex:
            return f'{{"complex":[{self.encode(value.real)},{self.encode(value.imag)}]}}'
        if kind is bytes or kind is bytearray:
            return f'{{"{kind.__name__}":"{value.hex()}"}}'
        return None

    def _compound(self, value: Any) -> str:
        if id(value) in self._path or len(self._path) >= MAX_DEPTH:
            return self._opaque(value)
        self._path.add(id(value))
        try:
            return self._container(value)
        finally:
            self._path.discard(id(value))

    def _container(self, value: Any) -> str:
        kind = type(value)
        if kind is list:
            return self._list(value)
        if kind is tuple or kind is set or kind is frozenset:
            return f'{{"{kind.__name__}":{self._list(value)}}}'
        if kind.__module__ not in _MODULES:
            return self._opaque(value)
        return self._library(kind.__name__, value)

    def _library(self, name: str, value: Any) -> str:
        if name in _MAPPINGS:
            return f'{{"{name}":{self._list([[key, item] for key, item in dict.items(value)])}}}'
        if name == "deque":
            return f'{{"deque":{self._list(value)}}}'
        if name == "range":
            return f'{{"range":{self._list((value.start, value.stop, value.step))}}}'
        if name in ("Decimal", "Fraction"):
            return self._spend(f'{{"{name}":{_quote(str(value))}}}')
        if name in _ITERATORS:
            return self._iterator(value)
        return self._opaque(value)

    def _list(self, values: Iterable[Any]) -> str:
        return "[" + ",".join([self.encode(item) for item in values]) + "]"

    def _iterator(self, value: Any) -> str:
        items = list(islice(value, MAX_ITEMS + 1))
        return self._opaque(value) if len(items) > MAX_ITEMS else f'{{"iterator":{self._list(items)}}}'


def opaque(value: Any) -> str:
    """Return the text of a value that is not data: its type's name and the start of its own representation."""
    try:
        text = repr(value)[:200]
    except Exception as error:
        text = f"<no representation: {type(error).__name__}>"
    return f'{{"opaque":[{quote(type(value).__name__)},{quote(text)}]}}'


def quote(text: str) -> str:
    """Return `text` as a JSON string in ASCII."""
    return _quote(str(text))
