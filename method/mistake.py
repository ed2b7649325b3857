"""What kind of mistake a failed test shows, in words that compare over tasks: `wrong_answer: off by one`.

Finer than the error class, coarser than the message. A wrong answer is told by how the value differs from the expected
one, where both can be read as Python literals; everything else by its error class alone. Only values are looked at,
never code; nothing is evaluated.
"""

import ast
import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from protocols.records import TestOutcome

_CLOSE = 0.01
"""Relative difference below which two fractions differ by rounding."""


def mistake(outcomes: Sequence[TestOutcome]) -> str | None:
    """Return the kind of mistake of the first failed outcome; None when none failed."""
    failed = next((outcome for outcome in outcomes if not outcome.passed), None)
    if failed is None:
        return None
    name = failed.error_class or "other"
    if name != "wrong_answer" or failed.expected is None or failed.actual is None:
        return name
    try:
        expected, actual = ast.literal_eval(failed.expected), ast.literal_eval(failed.actual)
    except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
        return name  # clipped, or no literal
    return f"{name}: {difference(expected, actual)}"


def difference(expected: Any, actual: Any) -> str:
    """Return in words how two values that are not equal differ; both are of Python's literal types."""
    if actual is None:
        return "nothing returned"
    if {type(expected), type(actual)} == {bool}:
        return "the opposite truth value"
    if _is_number(expected) and _is_number(actual):
        return _numbers(expected, actual)
    if type(expected) is not type(actual):
        return f"{_article(actual)} instead of {_article(expected)}"
    kind = type(expected).__name__
    if isinstance(expected, str):
        return _texts(expected, actual)
    if kind in ("list", "tuple"):
        return _sequences(expected, actual, kind)
    return _collections(expected, actual, kind) if kind in ("set", "dict") else "another value"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _numbers(expected: float, actual: float) -> str:
    if actual == -expected:
        return "the wrong sign"
    if abs(actual - expected) == 1:
        return "off by one"
    if isinstance(expected, float) or isinstance(actual, float):
        try:
            if math.isclose(expected, actual, rel_tol=_CLOSE):
                return "rounding"
        except OverflowError:
            return "another number"
    return "zero instead of another number" if actual == 0 else "another number"


def _texts(expected: str, actual: str) -> str:
    if not actual:
        return "an empty text"
    checks = (
        ("".join(expected.split()) == "".join(actual.split()), "white space"),
        (expected.casefold() == actual.casefold(), "upper and lower case"),
        (expected == actual[::-1], "a text in reverse"),
        (sorted(expected) == sorted(actual), "a text in another order"),
        (bool(expected) and expected in actual, "a text with too much in it"),
        (actual in expected, "a part of the text"),
    )
    return next((words for holds, words in checks if holds), "another text")


def _sequences(expected: Sequence[Any], actual: Sequence[Any], kind: str) -> str:
    if not actual:
        return f"an empty {kind}"
    checks = (
        (expected[:-1] == actual or expected == actual[:-1], f"off by one at the end of a {kind}"),
        (expected[1:] == actual or expected == actual[1:], f"off by one at the start of a {kind}"),
    )
    found = next((words for holds, words in checks if holds), None)
    if found is not None:
        return found
    ours, theirs = Counter(map(repr, actual)), Counter(map(repr, expected))
    if ours == theirs:
        return f"a {kind} in another order"
    if ours < theirs:
        return f"a {kind} with elements missing"
    if theirs < ours:
        return f"a {kind} with elements too many"
    return f"a {kind} with wrong elements" if len(ours) and len(actual) == len(expected) else f"another {kind}"


def _collections(expected: Any, actual: Any, kind: str) -> str:
    if not actual:
        return f"an empty {kind}"
    ours, theirs = set(map(repr, actual)), set(map(repr, expected))
    if ours == theirs:
        return f"a {kind} with wrong values"
    if ours < theirs:
        return f"a {kind} with elements missing"
    return f"a {kind} with elements too many" if theirs < ours else f"another {kind}"


def _article(value: Any) -> str:
    name = "nothing" if value is None else type(value).__name__
    return name if value is None else f"{'an' if name[0] in 'aeiou' else 'a'} {name}"
