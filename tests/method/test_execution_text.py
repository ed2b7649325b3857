"""What a critic is told of an execution."""

import msgspec

from protocols.prompts import describe_execution
from protocols.records import TestOutcome
from tests.method.making import execution


def test_a_wrong_answer_shows_both_values():
    wrong = TestOutcome(passed=False, error_class="wrong_answer", message="failed: f(1) == 2", expected="2", actual="1")
    shown = msgspec.structs.replace(execution("c", "10"), outcomes=(TestOutcome(passed=True), wrong))
    assert describe_execution(shown).splitlines() == [
        "1 of 2 tests passed.",
        "First failure: wrong_answer.",
        "Message: failed: f(1) == 2",
        "Expected: 2",
        "Actual: 1",
    ]


def test_an_exception_shows_the_last_of_the_candidates_own_lines():
    steps = "\n".join(f"  line {number}, in f{number}\n    return f{number + 1}()" for number in range(5))
    raised = TestOutcome(passed=False, error_class="name", message="NameError", traceback=f"{steps}\nNameError")
    shown = msgspec.structs.replace(execution("c", "0"), outcomes=(raised,))
    assert describe_execution(shown).splitlines()[2:] == [
        "Message: NameError",
        "Traceback:",
        "  line 3, in f3",
        "    return f4()",
        "  line 4, in f4",
        "    return f5()",
    ]
