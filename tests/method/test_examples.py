import pytest

from method.examples import answer_example, critique_example
from protocols import prompts
from protocols.records import Candidate, Example, Message, Origin
from tests.method.making import candidate, execution, task

BAD = "def f(a, b):\n    return a - b"
GOOD = "def f(a, b):\n    return a + b"


def critique(one: Candidate | None = None, *, code: str = GOOD, origin: Origin = "critic", round: int = 1) -> Example:
    return critique_example(
        task(),
        one or candidate("c", code=BAD),
        execution("c", "0"),
        "It subtracts.",
        code,
        origin=origin,
        pattern="wrong_answer@0",
        round=round,
        version=2,
    )


def test_an_answer_is_the_prompt_of_generation_and_the_code() -> None:
    example = answer_example(task(), GOOD, origin="self", round=1, version=2)
    assert example.messages == (
        *prompts.answer_prompt(task()),
        Message(role="assistant", content=f"```python\n{GOOD}\n```", loss=True),
    )
    assert (example.kind, example.origin, example.pattern, example.code) == ("answer", "self", "", GOOD)
    assert (example.task_id, example.round, example.version) == ("t", 1, 2)


def test_a_critique_shows_the_bad_code_what_execution_showed_and_the_mended_code() -> None:
    example = critique()
    asked, bad, review, final = example.messages
    assert asked == prompts.answer_prompt(task())[0]
    assert bad == Message(role="assistant", content=prompts.answer_text(BAD))
    assert review == Message(role="user", content=prompts.review_request(execution("c", "0")))
    assert final == Message(role="assistant", content=prompts.critique_text("It subtracts.", GOOD), loss=True)
    assert (example.kind, example.origin, example.pattern, example.code) == (
        "critique",
        "critic",
        "wrong_answer@0",
        GOOD,
    )


@pytest.mark.parametrize("example", [critique(), answer_example(task(), GOOD, origin="reference", round=1, version=0)])
def test_loss_stands_on_the_last_turn_alone(example: Example) -> None:
    assert [message.loss for message in example.messages] == [False] * (len(example.messages) - 1) + [True]
    assert example.messages[-1].role == "assistant"


def test_an_unverified_critique_ends_with_the_incumbents_code_and_says_whose_it_is() -> None:
    known = "def f(a, b):\n    return sum((a, b))"
    example = critique(code=known, origin="reference")
    assert example.origin == "reference"
    assert known in example.messages[-1].content


def test_the_same_work_has_the_same_id_and_other_work_another() -> None:
    assert critique().id == critique().id
    ids = {
        critique().id,
        critique(round=2).id,
        critique(candidate("other", code=BAD)).id,
        answer_example(task(), GOOD, origin="self", round=1, version=2).id,
        answer_example(task(), BAD, origin="self", round=1, version=2).id,
        answer_example(task("u"), GOOD, origin="self", round=1, version=2).id,
    }
    assert len(ids) == 6


def test_words_cannot_be_critiqued() -> None:
    with pytest.raises(ValueError, match="no code"):
        critique(candidate("c", code=None))
