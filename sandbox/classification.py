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
    claim = _Claim(error)
    error_class = class_of(claim.names, claim.errno)
    outcome = _outcome_of(claim.names, error_class, by_test=by_test)
    outcome, error_class = _BY_STAGE.get(claim.stage, (outcome, error_class))
    message = _message(claim, early_exit=outcome == "early_exit")
    return failure(outcome, error_class, message, traceback=_traceback(claim, code, message))


class _Claim:
    """The parts of a claimed exception that are of the agreed types; what is not is as if it were not there.

    Nothing is made a text that is none: the representation of a deep nest would exceed the recursion limit.
    """

    def __init__(self, error: object) -> None:
        fields: Mapping[str, Any] = cast(dict[str, Any], error) if isinstance(error, dict) else {}
        self.stage, self.text = (self._str(fields.get(name)) for name in ("stage", "text"))
        self.line, self.errno = (self._int(fields.get(name)) for name in ("line", "errno"))
        names = fields.get("names")
        frames = fields.get("frames")
        parts = map(_frame, cast(list[Any], frames)[-_MOST_FRAMES:] if isinstance(frames, list) else ())
        self.frames = [frame for frame in parts if frame is not None]
        self.names = tuple(self._str(name) for name in cast(list[Any], names)) if isinstance(names, list) else ()

    @staticmethod
    def _str(value: object) -> str:
        return value if isinstance(value, str) else ""

    @staticmethod
    def _int(value: object) -> int | None:
        return value if isinstance(value, int) else None


def _outcome_of(names: tuple[str, ...], error_class: ErrorClass, *, by_test: bool) -> OutcomeKind:
    if by_test and error_class == "wrong_answer":
        return "wrong"
    for name in names:
        if name in _BY_NEAREST_NAME:
            return _BY_NEAREST_NAME[name]
    return "runtime_error"


def _traceback(claim: _Claim, code: str, message: str) -> str:
    frames = claim.frames
    if not frames and claim.line is not None:
        frames = [(claim.line, "")]
    lines = _NEW_LINE.split(code)
    shown = [_shown_frame(frame, lines) for frame in frames]
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


def _message(claim: _Claim, *, early_exit: bool) -> str:
    line = "" if claim.line is None else f" (line {claim.line})"
    text = claim.text[: MESSAGE_LENGTH - 80]
    name = (claim.names and claim.names[0]) or "unknown error"
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
