"""What is to be solved: tasks and their tests."""

from typing import Literal

from protocols.records.record import Record


class AssertTest(Record, frozen=True, kw_only=True, tag="assert"):
    """Code that raises when the candidate is wrong: one assert, several statements, or HumanEval's `check` call."""

    code: str


OutputComparison = Literal["lines", "exact", "tokens", "floats"]
"""When two outputs are equal. `lines`: but for white space at the ends of lines and empty lines at the end; `exact`:
character by character; `tokens`: but for any white space; `floats`: as `tokens`, and numbers within a tolerance."""


class StdioTest(Record, frozen=True, kw_only=True, tag="stdio"):
    """A program's input and the output it must print."""

    stdin: str
    stdout: str
    comparison: OutputComparison = "lines"
    tolerance: float = 1e-6
    """For `floats`: largest absolute difference, or relative to the expected number where that is above one."""


Test = AssertTest | StdioTest


class Task(Record, frozen=True, kw_only=True):
    """One thing to solve. Made by the loaders, consumed by every actor; never changed."""

    id: str
    kind: Literal["function", "stdio"]
    instruction: str
    tests: tuple[Test, ...] = ()
    entry_point: str | None = None
    """Name that a `function` task's answer must define; None for `stdio` tasks."""
    reference: str | None = None
    """The data set's own answer, as code; None when there is none."""
    setup: str = ""
    """Code that runs before each test, in the test's own scope (imports, helpers); never shown to the policy."""
    context: str = ""
    """Code that the instruction shows and an answer may take for granted (imports, helpers); evaluations of sanitised
    answers put it in front."""
    topic: str = ""
    difficulty: int | None = None
    """1 (trivial) to 5 (demanding); None when not graded."""
