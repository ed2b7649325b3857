"""MBPP's published forms (Austin et al. 2021, arXiv 2108.07732): the full set, the hand-checked one, and MBPP+.

MBPP+ is read as the hub has it (`evalplus/mbppplus`): its field `test` is a script of many more inputs.

The set does not say what the function is called; its name is found in the tests. The instruction shows that name and
the first test, as is usual for this set, because nobody could guess the signature without them.
"""

import msgspec

from evals.numpy_stand_in import without_numpy
from evals.source_check import called_function, check_parses
from protocols.errors import TasksError
from protocols.records import AssertTest, Task

NAME = "MBPP's form"
MARKS = frozenset({"code", "task_id", "test_list"})
"""Fields by which a line of this form is known."""


class _Line(msgspec.Struct):
    task_id: int | str
    code: str
    test_list: tuple[str, ...]
    text: str | None = None
    """The instruction, in the full set."""
    prompt: str | None = None
    """The instruction, in the hand-checked set."""
    test_setup_code: str = ""
    test_imports: tuple[str, ...] = ()
    challenge_test_list: tuple[str, ...] = ()
    test: str = ""
    """MBPP+: a script that calls the function and compares."""


def parse(data: bytes) -> Task:
    """Return the task that one line holds.

    Raises:
        msgspec.MsgspecError: a field is missing or of the wrong type.
        TasksError: the fields do not go together.
    """
    line = msgspec.json.decode(data, type=_Line)
    text = line.text or line.prompt
    if not text:
        raise TasksError(
            "field `text` (or `prompt`, in the hand-checked set): expected the instruction, but it is missing"
        )
    tests = tuple(_unified(test) for test in (*line.test_list, *line.challenge_test_list))
    if not line.test_list:
        raise TasksError("field `test_list`: expected at least one assert")
    code, setup = _unified(line.code), _unified("\n".join((*line.test_imports, line.test_setup_code)))
    check_parses("test_setup_code", setup)
    name = called_function("code", code, tests)
    if line.test.strip():
        check_parses("test", line.test)
        tests = (*tests, without_numpy(_unified(line.test)))
    return Task(
        id=f"mbpp/{line.task_id}",
        kind="function",
        instruction=f"{text.strip()}\n\nName the function `{name}`. One of its tests:\n{tests[0]}",
        tests=tuple(AssertTest(code=test) for test in tests),
        entry_point=name,
        reference=code,
        setup=setup.strip(),
        topic="mbpp",
    )


def _unified(code: str) -> str:
    return code.replace("\r\n", "\n").strip("\n")
