"""Records on the wire: what an older version of this project wrote is read."""

import msgspec

from protocols.codec import decode, encode
from protocols.records import Execution, StdioTest, Task, TestOutcome

OUTCOME = {
    "type": "TestOutcome",
    "passed": False,
    "error_class": "value",
    "message": "m",
    "expected": None,
    "actual": "1",
}
EXECUTION = {
    "type": "Execution",
    "id": "e",
    "subject_id": "c",
    "task_id": "t",
    "round": 1,
    "outcomes": [OUTCOME],
    "error_class": "value",
    "tier": "process",
    "evidence": "tests",
    "cpu_s": 0.1,
    "wall_s": 0.2,
    "peak_bytes": 3,
}


def test_an_execution_that_tells_no_finer_outcome_is_read():
    execution = decode(msgspec.json.encode(EXECUTION))
    assert isinstance(execution, Execution)
    assert (execution.outcome, execution.flaky) == (None, False)
    (outcome,) = execution.outcomes
    assert outcome == TestOutcome(passed=False, error_class="value", message="m", actual="1")
    assert (outcome.outcome, outcome.traceback, outcome.cpu_s, outcome.flaky) == (None, "", None, False)


def test_a_program_test_that_names_no_comparison_is_read():
    test = {"type": "stdio", "stdin": "1", "stdout": "2"}
    task = decode(
        msgspec.json.encode({"type": "Task", "id": "t", "kind": "stdio", "instruction": "i", "tests": [test]})
    )
    assert isinstance(task, Task)
    assert task.tests == (StdioTest(stdin="1", stdout="2", comparison="lines"),)


def test_the_finer_outcome_comes_back():
    outcome = TestOutcome(
        passed=False, error_class="crash", outcome="early_exit", traceback="line", cpu_s=0.5, flaky=True
    )
    assert msgspec.json.decode(encode(outcome), type=TestOutcome) == outcome
