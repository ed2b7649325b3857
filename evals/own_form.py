r"""The project's own form of a task, one JSON object a line.

::

    {"id": "parsing/dots", "kind": "function", "topic": "parsing", "difficulty": 1, "instruction": "Write …",
     "entry_point": "dots", "reference": "def dots(…): …", "setup": "import math", "tests": ["assert dots(1) == 2"]}
    {"id": "io/sum", "kind": "stdio", "instruction": "Read …", "tests": [{"stdin": "1 2\n", "stdout": "3\n"}]}

`topic`, `difficulty`, `reference`, `setup` and `tests` may be left out; a `stdio` test may name its `comparison` and
`tolerance` (see `protocols.records.StdioTest`); an unknown field is refused, because it is more
likely a mistake than a wish.
"""

from typing import Annotated, Literal

import msgspec

from evals.source_check import check_defines, check_parses
from protocols.errors import TasksError
from protocols.records import AssertTest, OutputComparison, StdioTest, Task, Test

NAME = "this project's own form"
MARKS = frozenset({"id", "kind", "instruction"})
"""Fields by which a line of this form is known."""

_Text = Annotated[str, msgspec.Meta(min_length=1)]


class _Stdio(msgspec.Struct, forbid_unknown_fields=True):
    stdin: str
    stdout: str
    comparison: OutputComparison = "lines"
    tolerance: Annotated[float, msgspec.Meta(ge=0, le=1)] = 1e-6


class _Line(msgspec.Struct, forbid_unknown_fields=True):
    id: _Text
    kind: Literal["function", "stdio"]
    instruction: _Text
    tests: tuple[_Text | _Stdio, ...] = ()
    entry_point: _Text | None = None
    reference: _Text | None = None
    setup: str = ""
    topic: str = ""
    difficulty: Annotated[int, msgspec.Meta(ge=1, le=5)] | None = None


def parse(data: bytes) -> Task:
    """Return the task that one line holds.

    Raises:
        msgspec.MsgspecError: a field is missing, unknown or of the wrong type.
        TasksError: the fields do not go together.
    """
    line = msgspec.json.decode(data, type=_Line)
    tests = _function_tests(line) if line.kind == "function" else _stdio_tests(line)
    return Task(
        id=line.id,
        kind=line.kind,
        instruction=line.instruction,
        tests=tests,
        entry_point=line.entry_point,
        reference=line.reference,
        setup=line.setup,
        topic=line.topic,
        difficulty=line.difficulty,
    )


def _function_tests(line: _Line) -> tuple[Test, ...]:
    if line.entry_point is None:
        raise TasksError("field `entry_point` is missing: a `function` task needs the name that its answer defines")
    check_parses("setup", line.setup)
    if line.reference is not None:
        check_defines("reference", line.reference, line.entry_point)
    tests: list[Test] = []
    for number, test in enumerate(line.tests):
        if not isinstance(test, str):
            raise TasksError(f"field `tests[{number}]`: a `function` task's test is a string of Python")
        check_parses(f"tests[{number}]", test)
        tests.append(AssertTest(code=test))
    return tuple(tests)


def _stdio_tests(line: _Line) -> tuple[Test, ...]:
    if line.entry_point is not None:
        raise TasksError("field `entry_point`: a `stdio` task has none, its answer is a whole program")
    if line.reference is not None:
        check_parses("reference", line.reference)
    tests: list[Test] = []
    for number, test in enumerate(line.tests):
        if isinstance(test, str):
            raise TasksError(f"field `tests[{number}]`: a `stdio` task's test is an object with `stdin` and `stdout`")
        tests.append(
            StdioTest(stdin=test.stdin, stdout=test.stdout, comparison=test.comparison, tolerance=test.tolerance)
        )
    return tuple(tests)
