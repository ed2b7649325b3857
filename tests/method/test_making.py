"""Which examples a task leaves: under the method's decisions, and under plain rejection sampling."""

import msgspec

from method.making import Answers, Outcome, References, Unverified, make_examples
from protocols.records import Candidate, Critique, Decision, Example, Execution, Incumbent
from tests.method.making import candidate, execution, incumbent, task

FIRST, OFTEN, LAST = (
    candidate("first", code="def f(a, b):\n    return a + b", index=0),
    candidate("often", code="def f(a, b):\n    return b + a", index=1, count=3),
    candidate("last", code="def f(a, b):\n    return sum((a, b))", index=2),
)
WRONG = candidate("wrong", code="def f(a, b):\n    return a", index=3)
EXECUTIONS = {
    "first": execution("first", "11"),
    "often": execution("often", "11"),
    "last": execution("last", "11"),
    "wrong": execution("wrong", "01"),
}
CRITIQUE = Critique(
    id="q",
    task_id="t",
    round=1,
    candidate_id="wrong",
    critic="c",
    pattern="wrong_answer@0",
    text="It drops b.",
    revision="def f(a, b):\n    return a + b",
    verified=True,
    prompt_tokens=1,
    completion_tokens=1,
    seconds=0.0,
)


def outcome(
    *candidates: Candidate,
    answer_id: str | None = None,
    after: Incumbent | None = None,
    critiques: tuple[Critique, ...] = (),
    executions: dict[str, Execution] | None = None,
) -> Outcome:
    decision = Decision(
        id="d",
        task_id="t",
        round=1,
        version=0,
        kinds=("skip",),
        incumbent=after,
        answer_id=answer_id,
        critique_ids=(),
        scores=(),
    )
    return Outcome(
        task=task(),
        candidates=candidates,
        executions=executions or EXECUTIONS,
        decision=decision,
        critiques=critiques,
    )


def made(
    outcome: Outcome,
    answers: Answers = "decided",
    references: References = "anchor",
    unverified: Unverified = "incumbent",
) -> list[Example]:
    rules = make_examples(outcome, references=references, answers=answers, unverified=unverified)
    return [one.example for one in rules]


class TestDecided:
    def test_the_chosen_candidate_and_the_verified_critique(self) -> None:
        examples = made(outcome(FIRST, OFTEN, WRONG, answer_id="often", critiques=(CRITIQUE,)))
        assert [(one.kind, one.origin, one.code) for one in examples] == [
            ("answer", "self", OFTEN.code),
            ("critique", "critic", CRITIQUE.revision),
        ]

    def test_the_reference_is_an_answer_only_while_it_is_the_incumbent_and_taught(self) -> None:
        item = outcome(WRONG, after=incumbent())
        assert [one.origin for one in made(item, references="train")] == ["reference"]
        assert made(item) == []


class TestUnverifiedCritiques:
    def test_the_incumbent_stands_for_a_revision_that_did_not_pass(self) -> None:
        failed = msgspec.structs.replace(CRITIQUE, verified=False)
        (example,) = made(outcome(WRONG, critiques=(failed,), after=incumbent()))
        assert (example.kind, example.origin) == ("critique", "reference")

    def test_or_they_make_no_example_while_verified_ones_do(self) -> None:
        failed = msgspec.structs.replace(CRITIQUE, verified=False)
        assert made(outcome(WRONG, critiques=(failed,), after=incumbent()), unverified="drop") == []
        (example,) = made(outcome(WRONG, critiques=(CRITIQUE,), after=incumbent()), unverified="drop")
        assert example.origin == "critic"


class TestCorrectOnly:
    def test_every_candidate_that_passes_every_test_is_an_answer_the_most_frequent_first(self) -> None:
        examples = made(outcome(FIRST, OFTEN, LAST, WRONG), "correct_only")
        assert [one.code for one in examples] == [OFTEN.code, FIRST.code, LAST.code]
        assert {(one.kind, one.origin) for one in examples} == {("answer", "self")}
        assert len({one.id for one in examples}) == 3

    def test_neither_decision_nor_critique_nor_reference_makes_an_example(self) -> None:
        item = outcome(WRONG, answer_id="wrong", after=incumbent(), critiques=(CRITIQUE,))
        assert made(item, "correct_only", "train") == []

    def test_no_test_no_proof_no_example(self) -> None:
        assert made(outcome(FIRST, executions={"first": execution("first", "")}), "correct_only") == []

    def test_an_answer_that_was_cut_off_is_marked(self) -> None:
        cut = msgspec.structs.replace(FIRST, finish_reason="length", text="```python\ndef f(a, b):")
        (one,) = make_examples(outcome(cut), references="anchor", answers="correct_only")
        assert one.truncated


class TestReferences:
    def test_the_data_sets_own_answer_and_nothing_else(self) -> None:
        item = outcome(FIRST, WRONG, answer_id="first", critiques=(CRITIQUE,))
        taught = msgspec.structs.replace(item, task=task(reference="def f(a, b):\n    return a + b"))
        (example,) = made(taught, "references")
        assert (example.kind, example.origin, example.code) == ("answer", "reference", taught.task.reference)

    def test_a_task_without_one_teaches_nothing(self) -> None:
        assert made(outcome(FIRST), "references") == []
