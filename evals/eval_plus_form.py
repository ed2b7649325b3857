"""HumanEval+ as EvalPlus releases it (`HumanEvalPlus.jsonl`; Liu et al. 2023, arXiv 2305.01210): inputs, no outputs.

What is expected is what the reference answers, so the reference runs beside the candidate in one test, which makes it
weak evidence against a candidate that looks around. Numbers compare within the task's tolerance, at least 1e-6 where
fractions are expected; a root (`find_zero`) is checked by putting it in.

Not covered: MBPP+ in this form. Its inputs have lost their tuples and sets on the way to JSON; the hub's form
(`hf:evalplus/mbppplus:test`, or its rows as JSON lines) has them.
"""

import json
from typing import Any

import msgspec

from evals.numpy_stand_in import STAND_IN
from evals.source_check import before_definition, check_defines
from protocols.errors import TasksError
from protocols.records import AssertTest, Task

NAME = "EvalPlus's released form"
MARKS = frozenset({"task_id", "prompt", "entry_point", "canonical_solution", "base_input", "plus_input"})
"""Fields by which a line of this form is known."""

_CHECK = """
import copy, json

def _is_fraction(value):
    if isinstance(value, (list, tuple)):
        return bool(value) and all(isinstance(part, float) for part in value)
    return isinstance(value, float)

def _check(ours, theirs, tolerance, inputs):
    if {by_root}:
        assert abs(sum(part * ours ** power for power, part in enumerate(inputs[0]))) <= max(tolerance, 1e-4)
        return
    if ours == theirs:
        return
    if tolerance == 0 and _is_fraction(theirs):
        tolerance = 1e-6
    assert tolerance and np.allclose(ours, theirs, rtol=1e-07, atol=tolerance), (inputs, ours, theirs)

_scope = {{}}
exec({reference}, _scope)
for _inputs in json.loads({inputs}):
    _theirs = _scope[{name}](*copy.deepcopy(_inputs))
    _check({name_here}(*copy.deepcopy(_inputs)), _theirs, {tolerance}, _inputs)
"""


class _Line(msgspec.Struct):
    task_id: str
    prompt: str
    entry_point: str
    canonical_solution: str
    base_input: list[list[Any]]
    plus_input: list[list[Any]]
    atol: float = 0.0


def parse(data: bytes) -> Task:
    """Return the task that one line holds.

    Raises:
        msgspec.MsgspecError: a field is missing or of the wrong type.
        TasksError: the fields do not go together, or it is a task of MBPP+.
    """
    line = msgspec.json.decode(data, type=_Line)
    if line.task_id.startswith("Mbpp/"):
        raise TasksError(
            "field `task_id`: MBPP+ is not read in this form, whose inputs have lost their types; "
            "use the hub's, hf:evalplus/mbppplus:test, or its rows as JSON lines"
        )
    reference = line.prompt + line.canonical_solution
    check_defines("prompt` + `canonical_solution", reference, line.entry_point)
    return Task(
        id=line.task_id,
        kind="function",
        instruction=f"Complete this function:\n\n{line.prompt}",
        tests=tuple(
            AssertTest(code=_test(line, reference, inputs)) for inputs in (line.base_input, line.plus_input) if inputs
        ),
        entry_point=line.entry_point,
        reference=reference,
        context=before_definition(reference, line.entry_point),
        topic="human_eval_plus",
    )


def _test(line: _Line, reference: str, inputs: list[list[Any]]) -> str:
    return STAND_IN + _CHECK.format(
        by_root=line.entry_point == "find_zero",
        reference=repr(reference),
        inputs=repr(json.dumps(inputs)),
        name=repr(line.entry_point),
        name_here=line.entry_point,
        tolerance=repr(line.atol),
    )
