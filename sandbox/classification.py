"""From what a test's process claimed or left behind to an outcome, an error class and a message. Pure.

A claim of failure is believed: nothing is won by it. The class comes from the exception's own class and its bases,
nearest first.
"""

import errno
import re
from collections.abc import Mapping
from typing import Any, cast

from protocols.records import ErrorClass, OutcomeKind, TestOutcome

MESSAGE_LENGTH = 300
VALUE_LENGTH = 200
TRACEBACK_LENGTH = 2000
_LINE_LENGTH = 120
_MOST_FRAMES = 12

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
_BY_STAGE: dict[str, tuple[OutcomeKind, ErrorClass]] = {
    "compile": ("syntax", "syntax"),
    "entry_point": ("runtime_error", "missing_entry_point"),
    "too_large": ("output_limit", "output_limit"),
}
_BY_NEAREST_NAME: dict[str, OutcomeKind] = {"MemoryError": "memory", "SystemExit": "early_exit"}


_NEW_LINE = re.compile(r"\r\n|\r|\n")


def class_of(names: tuple[str, ...], number: int | None = None) -> ErrorClass:
    """Return the class of an exception, given its class's name and those of its bases, and its `errno` if any."""
    if number in _BY_NUMBER:
        return _BY_NUMBER[number]
    for name in names:
        if name in _BY_NAME:
            return _BY_NAME[name]
    return "other"


def success() -> TestOutcome:
    """Return the outcome of a test that passed."""
    return TestOutcome(passed=True, outcome="pass")


def failure(
    outcome: OutcomeKind,
    error_class: ErrorClass,
    message: str,
    expected: str | None = None,
    actual: str | None = None,
    traceback: str = "",
) -> TestOutcome:
    """Return a failed outcome, its texts clipped."""
    return TestOutcome(
        passed=False,
        outcome=outcome,
        error_class=error_class,
        message=clip(message, MESSAGE_LENGTH),
        expected=None if expected is None else clip(expected, VALUE_LENGTH),
        actual=None if actual is None else clip(actual, VALUE_LENGTH),
        traceback=clip(traceback, TRACEBACK_LENGTH),
    )


def claimed_failure(error: object, code: str, *, by_test: bool = False) -> TestOutcome:
    """Return the outcome of a claimed exception, whatever the claim's shape.

    Args:
        error: `stage`, `names`, `text`, `line`, `errno` and `frames`, if it is as agreed. Untrusted.
        code: the candidate's, for the lines of the traceback.
        by_test: whether the test's own code ran there: an AssertionError is then its verdict.
    """
    claim: Mapping[str, Any] = cast(dict[str, Any], error) if isinstance(error, dict) else {}
    raw_names = claim.get("names")
    names = tuple(map(str, cast(list[Any], raw_names))) if isinstance(raw_names, list) else ()
    number = claim.get("errno")
    by_stage = _BY_STAGE.get(str(claim.get("stage")))
    error_class = class_of(names, number if isinstance(number, int) else None)
    outcome = _outcome_of(names, error_class, by_test=by_test)
    outcome, error_class = by_stage or (outcome, error_class)
    message = _message(names, claim, early_exit=outcome == "early_exit")
    return failure(outcome, error_class, message, traceback=_traceback(claim, code, message))


def _outcome_of(names: tuple[str, ...], error_class: ErrorClass, *, by_test: bool) -> OutcomeKind:
    if by_test and error_class == "wrong_answer":
        return "wrong"
    for name in names:
        if name in _BY_NEAREST_NAME:
            return _BY_NEAREST_NAME[name]
    return "runtime_error"


def _traceback(claim: Mapping[str, Any], code: str, message: str) -> str:
    raw = claim.get("frames")
    frames = [_frame(part) for part in cast(list[Any], raw)[-_MOST_FRAMES:]] if isinstance(raw, list) else []
    if not any(frames) and isinstance(claim.get("line"), int):
        frames = [(claim["line"], "")]
    lines = _NEW_LINE.split(code)
    shown = [_shown_frame(frame, lines) for frame in frames if frame is not None]
    return "\n".join([*shown, message]) if shown else ""


def _frame(part: object) -> tuple[int, str] | None:
    match part:
        case [int() as line, str() as name]:
            return line, name
        case _:
            return None


def _shown_frame(frame: tuple[int, str], lines: list[str]) -> str:
    number, name = frame
    place = f"  line {number}, in {clip(name, _LINE_LENGTH)}" if name else f"  line {number}"
    source = lines[number - 1].strip() if 0 < number <= len(lines) else ""
    return f"{place}\n    {clip(source, _LINE_LENGTH)}" if source else place


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
