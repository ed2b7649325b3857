"""HumanEval's published form (Chen et al. 2021, arXiv 2107.03374): a function to complete, tested by one `check`.

A `check` of asserts alone becomes one test per assert; any other stays whole.
HumanEval+ as the hub has it (`evalplus/humanevalplus`) is of the same form.
"""

import msgspec

from evals.numpy_stand_in import without_numpy
from evals.source_check import before_definition, check_defines, check_parses
from protocols.records import AssertTest, Task
from sandbox.check_form import asserts_of_check

NAME = "HumanEval's form"
MARKS = frozenset({"task_id", "prompt", "entry_point", "canonical_solution", "test"})
"""Fields by which a line of this form is known."""


class _Line(msgspec.Struct):
    task_id: str
    prompt: str
    """Imports, signature and docstring."""
    entry_point: str
    canonical_solution: str
    """The body that goes on from `prompt`."""
    test: str
    """Defines `check(candidate)`."""


def parse(data: bytes) -> Task:
    """Return the task that one line holds.

    Raises:
        msgspec.MsgspecError: a field is missing or of the wrong type.
        TasksError: the fields do not go together.
    """
    line = msgspec.json.decode(data, type=_Line)
    reference = line.prompt + line.canonical_solution
    check_defines("prompt` + `canonical_solution", reference, line.entry_point)
    check_parses("test", line.test)
    check_defines("test", line.test, "check")
    test = without_numpy(line.test)
    asserts = asserts_of_check(line.test, line.entry_point)
    return Task(
        id=line.task_id,
        kind="function",
        instruction=f"Complete this function:\n\n{line.prompt}",
        tests=tuple(AssertTest(code=code) for code in asserts or (f"{test}\ncheck({line.entry_point})",)),
        entry_point=line.entry_point,
        reference=reference,
        context=before_definition(reference, line.entry_point),
        topic="human_eval",
    )
