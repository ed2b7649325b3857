"""From what a test's process claimed or left behind to an error class and a message. Pure.

A claim of failure is believed: nothing is won by it. The class comes from the exception's own class and its bases,
nearest first.
"""

import errno
from collections.abc import Mapping
from typing import Any, cast

from protocols.records import ErrorClass, TestOutcome

MESSAGE_LENGTH = 300
VALUE_LENGTH = 200

_BY_NAME: dict[str, ErrorClass] = {
    "RecursionError": "recursion",
    "MemoryError": "memory",
    "PermissionError": "forbidden",
    "ImportError": "import",
    "NameError": "name",
    "AttributeError": "attribute",
    "IndexError": "index_key",
    "KeyError": "index_key",
    "TypeError": "type",
    "ValueError": "value",
    "AssertionError": "wrong_answer",
    "SystemExit": "crash",
}
_BY_NUMBER: dict[int, ErrorClass] = {
    errno.EROFS: "forbidden",
    errno.ENETUNREACH: "forbidden",
    errno.EFBIG: "output_limit",
    errno.ENOSPC: "output_limit",
    errno.ENOMEM: "memory",
}
_BY_STAGE: dict[str, ErrorClass] = {
    "compile": "syntax",
    "entry_point": "missing_entry_point",
    "too_large": "output_limit",
}


def class_of(names: tuple[str, ...], number: int | None = None) -> ErrorClass:
    """Return the class of an exception, given its class's name and those of its bases, and its `errno` if any."""
    if number in _BY_NUMBER:
        return _BY_NUMBER[number]
    for name in names:
        if name in _BY_NAME:
            return _BY_NAME[name]
    return "other"


def failure(
    error_class: ErrorClass, message: str, expected: str | None = None, actual: str | None = None
) -> TestOutcome:
    """Return a failed outcome, its texts clipped."""
    return TestOutcome(
        passed=False,
        error_class=error_class,
        message=clip(message, MESSAGE_LENGTH),
        expected=None if expected is None else clip(expected, VALUE_LENGTH),
        actual=None if actual is None else clip(actual, VALUE_LENGTH),
    )


def claimed_failure(error: object) -> TestOutcome:
    """Return the outcome of a claimed exception (`stage`, `names`, `text`, `line`, `errno`), whatever its shape."""
    claim: Mapping[str, Any] = cast(dict[str, Any], error) if isinstance(error, dict) else {}
    raw_names = claim.get("names")
    names = tuple(map(str, cast(list[Any], raw_names))) if isinstance(raw_names, list) else ()
    number = claim.get("errno")
    by_stage = _BY_STAGE.get(str(claim.get("stage")))
    error_class = by_stage or class_of(names, number if isinstance(number, int) else None)
    return failure(error_class, _message(names, claim, early_exit="SystemExit" in names))


def _message(names: tuple[str, ...], claim: Mapping[str, Any], *, early_exit: bool) -> str:
    line = f" (line {claim['line']})" if isinstance(claim.get("line"), int) else ""
    text = str(claim.get("text", ""))[: MESSAGE_LENGTH - 80]
    name = names[0] if names else "unknown error"
    return f"{'early exit: ' if early_exit else ''}{name}{': ' if text else ''}{text}{line}"


def clip(text: str, length: int) -> str:
    """Return `text` in at most `length` characters, without lone surrogates (records are UTF-8)."""
    text = text.encode("utf-8", "replace").decode("utf-8")
    return text if len(text) <= length else text[: length - 1] + "…"


def show(value: object) -> str:
    """Return the clipped representation of a decoded value, whatever it is."""
    try:
        return clip(repr(value), VALUE_LENGTH)
    except (ValueError, RecursionError) as error:
        return f"<{type(value).__name__}: {error}>"[:VALUE_LENGTH]
