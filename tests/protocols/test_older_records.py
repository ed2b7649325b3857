"""Journals of before a field was known can still be read."""

import msgspec
import pytest

from protocols.codec import decode
from protocols.records import Decision, EvaluatedTask, FilterCount, Task, Verdict

DECISION = {
    "type": "Decision",
    "id": "d",
    "task_id": "t",
    "round": 0,
    "version": 0,
    "kinds": ["skip"],
    "incumbent": None,
    "answer_id": None,
    "critique_ids": [],
    "scores": [],
}
VERDICT = {
    "type": "Verdict",
    "id": "v",
    "task_id": "t",
    "round": 0,
    "judge": "j",
    "left_id": "a",
    "right_id": "b",
    "choice": "tie",
    "perspectives": {},
    "answer": "",
    "prompt_tokens": 1,
    "completion_tokens": 1,
    "seconds": 0.5,
}
FILTER_COUNT = {"type": "FilterCount", "id": "f", "task_id": "t", "round": 0, "reason": "truncated"}
TASK = {"type": "Task", "id": "t", "kind": "function", "instruction": "Add."}
EVALUATED = {
    "type": "EvaluatedTask",
    "id": "e",
    "task_id": "t",
    "purpose": "gate",
    "version": 0,
    "round": 0,
    "samples": 1,
    "correct": 0,
    "executable": 1,
    "prompt_tokens": 1,
    "completion_tokens": 1,
}


@pytest.mark.parametrize(
    ("fields", "kind", "unknown"),
    [
        (DECISION, Decision, {"compared": 0, "comparable": 0}),
        (VERDICT, Verdict, {"cost": None}),
        (FILTER_COUNT, FilterCount, {"kind": None, "code": "", "resembles": ""}),
        (TASK, Task, {"context": ""}),
        (EVALUATED, EvaluatedTask, {"mistakes": {}}),
    ],
)
def test_what_was_not_told_then_has_its_default(
    fields: dict[str, object], kind: type[msgspec.Struct], unknown: dict[str, object]
) -> None:
    record = decode(msgspec.json.encode(fields))
    assert type(record) is kind
    assert {name: getattr(record, name) for name in unknown} == unknown
