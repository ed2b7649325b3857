"""Compares what a program printed with what it should have printed. Pure; the output is untrusted text.

Every comparison takes time in proportion to the two texts, whatever they hold.
"""

import re
from decimal import Decimal

from protocols.records import StdioTest

_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?")
_INTEGER = re.compile(r"([+-]?)0*([0-9]+)")
_MOST_DIGITS = 1000
"""Of a number that is compared as one; longer ones only as text."""


def same_output(test: StdioTest, actual: str) -> bool:
    """Whether `actual` is the output that `test` wants, by its comparison."""
    match test.comparison:
        case "exact":
            return test.stdout == actual
        case "lines":
            return _lines(test.stdout) == _lines(actual)
        case "tokens":
            return test.stdout.split() == actual.split()
        case "floats":
            return _same_tokens(test.stdout.split(), actual.split(), test.tolerance)


def first_difference(expected: str, actual: str) -> int:
    """Return the number of the first line (from 1) in which two outputs differ, white space at its end apart."""
    left, right = _lines(expected), _lines(actual)
    same = (number for number, pair in enumerate(zip(left, right, strict=False), 1) if pair[0] != pair[1])
    return next(same, min(len(left), len(right)) + 1)


def _lines(text: str) -> list[str]:
    lines = [line.rstrip() for line in text.split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    return lines


def _same_tokens(expected: list[str], actual: list[str], tolerance: float) -> bool:
    return len(expected) == len(actual) and all(
        wanted == came or _same_number(wanted, came, tolerance) for wanted, came in zip(expected, actual, strict=True)
    )


def _same_number(wanted: str, came: str, tolerance: float) -> bool:
    if max(len(wanted), len(came)) > _MOST_DIGITS or not (_NUMBER.fullmatch(wanted) and _NUMBER.fullmatch(came)):
        return False
    integers = _INTEGER.fullmatch(wanted), _INTEGER.fullmatch(came)
    if integers[0] and integers[1]:
        # As numbers with a point they would agree beyond their sixteenth digit.
        return int(wanted) == int(came)
    left, right = Decimal(wanted), Decimal(came)
    if tolerance == 0:
        return left == right
    return abs(left - right) <= Decimal(tolerance) * max(Decimal(1), abs(left))
