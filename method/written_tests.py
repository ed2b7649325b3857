"""Tests out of what the policy wrote when it was asked for tests.

Invariants: every result is one statement or one input/output pair of the text, unchanged but for indents; none is there
twice; a test of a `function` task is an assert that calls the task's entry point. Whether a test is right stands
nowhere here.
"""

import ast
import json
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple, cast

from method.parsing import parse
from protocols.records import AssertTest, StdioTest, Task, Test

_FENCE = "```"
_MAX_CHARACTERS = 2000
"""Of one test."""
_MAX_LINES = 20
"""Of one assert."""


class Read(NamedTuple):
    """What the answers held."""

    tests: tuple[Test, ...]
    unusable: int
    """Asserts, or pairs, that are no test of this task, or that are there already."""


def read_tests(task: Task, answers: Sequence[str], limit: int) -> Read:
    """Return the tests that the policy's `answers` hold, in their order, at most `limit`.

    An answer that was cut off gives what came before the cut.
    """
    found = [test for answer in answers for test in (_asserts if task.kind == "function" else _pairs)(task, answer)]
    tests = tuple(dict.fromkeys(test for test in found if test is not None))[:limit]
    return Read(tests, len(found) - len(tests))


def _asserts(task: Task, answer: str) -> Iterable[Test | None]:
    """Yield a test for each assert, None for one that does not call the entry point."""
    for statement in _statements(answer):
        if statement.lstrip().startswith("assert"):
            tree = parse(statement)
            tests_it = tree is not None and len(tree.body) == 1 and _calls(tree.body[0], task.entry_point)
            yield AssertTest(code=statement) if tests_it and _is_sound(statement) else None


def _statements(answer: str) -> list[str]:
    """Return the asserts that stand for themselves, each with the lines that it goes on over."""
    lines = [line.strip() for line in answer.splitlines() if not line.lstrip().startswith(_FENCE)]
    starts = [number for number, line in enumerate(lines) if line.startswith("assert")]
    return [_whole(lines[start:end]) for start, end in pairwise([*starts, len(lines)])]


def _whole(lines: Sequence[str]) -> str:
    """Return the shortest beginning of `lines` that parses, or the first line."""
    for end in range(1, min(len(lines), _MAX_LINES) + 1):
        text = "\n".join(lines[:end])
        if parse(text) is not None:
            return text
    return lines[0]


def _calls(statement: ast.stmt, entry_point: str | None) -> bool:
    if not isinstance(statement, ast.Assert):
        return False
    calls = (node.func for node in ast.walk(statement.test) if isinstance(node, ast.Call))
    return any(isinstance(function, ast.Name) and function.id == entry_point for function in calls)


def _pairs(task: Task, answer: str) -> Iterable[Test | None]:
    """Yield a test for each input/output pair, None for what is none."""
    for item in _items(answer):
        fields = cast("dict[str, Any]", item) if isinstance(item, dict) else {}
        stdin, stdout = fields.get("stdin"), fields.get("stdout")
        texts = isinstance(stdin, str) and isinstance(stdout, str) and _is_sound(stdin) and _is_sound(stdout)
        yield StdioTest(stdin=cast(str, stdin), stdout=cast(str, stdout)) if texts else None


def _items(answer: str) -> list[Any]:
    """Return the objects of the list `tests`, those before a cut as well."""
    decoder, items = json.JSONDecoder(), list[Any]()
    place = answer.find("{", answer.find("[") + 1)
    while place >= 0:
        try:
            item, end = decoder.raw_decode(answer, place)
        except (ValueError, RecursionError):
            return items
        items.append(item)
        place = answer.find("{", end)
    return items


def _is_sound(text: str) -> bool:
    """Whether a test is of a size to be kept, and of characters that can be (JSON can name halves of some)."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return len(text) <= _MAX_CHARACTERS
