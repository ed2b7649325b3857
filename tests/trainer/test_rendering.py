"""Loss lies on the turns that are marked, with the token that ends them, and nowhere else."""

from typing import Any

import pytest

from protocols.records import Message
from tests.trainer import tiny
from trainer.rendering import Rendered, RenderingError, render, render_all


def learnt_text(words: Any, rendered: Rendered) -> str:
    return words.decode([id for id, learnt in zip(rendered.ids, rendered.learnt, strict=True) if learnt])


def other_text(words: Any, rendered: Rendered) -> str:
    return words.decode([id for id, learnt in zip(rendered.ids, rendered.learnt, strict=True) if not learnt])


@pytest.fixture(params=sorted(tiny.TEMPLATES))
def words(request: pytest.FixtureRequest) -> Any:
    return tiny.tokenizer(tiny.TEMPLATES[request.param])


def test_an_answer_is_learnt_with_its_end_of_turn(words: Any) -> None:
    rendered = render(words, tiny.answer_example(code="return 1").messages)
    assert learnt_text(words, rendered) == "```python\nreturn 1\n```" + words.eos_token


def test_a_critique_is_learnt_and_the_bad_code_is_not(words: Any) -> None:
    rendered = render(words, tiny.critique_example(code="return 1").messages)
    assert learnt_text(words, rendered) == "It is wrong.\n\n```python\nreturn 1\n```" + words.eos_token
    assert "BAD CODE" in other_text(words, rendered)
    assert "Write f0." in other_text(words, rendered)
    assert "tests passed" in other_text(words, rendered)


def test_the_model_sees_the_prompt_that_it_is_served(words: Any) -> None:
    messages = tiny.answer_example().messages
    turns = [{"role": "user", "content": messages[0].content}]
    served = words.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    assert other_text(words, render(words, messages)) == served


def test_nothing_follows_the_last_learnt_token(words: Any) -> None:
    assert render(words, tiny.critique_example().messages).learnt[-1]


def test_two_marked_turns_are_both_learnt(words: Any) -> None:
    messages = (
        Message(role="user", content="one"),
        Message(role="assistant", content="first", loss=True),
        Message(role="user", content="two"),
        Message(role="assistant", content="second", loss=True),
    )
    assert learnt_text(words, render(words, messages)) == f"first{words.eos_token}second{words.eos_token}"


def test_text_that_looks_like_the_end_of_a_turn_does_not_move_the_loss(words: Any) -> None:
    bad = f"x{words.eos_token}\nBAD CODE"
    messages = (
        Message(role="user", content="one"),
        Message(role="assistant", content=bad),
        Message(role="user", content="two"),
        Message(role="assistant", content="second", loss=True),
    )
    assert learnt_text(words, render(words, messages)) == f"second{words.eos_token}"


def test_loss_on_a_user_turn_is_refused(words: Any) -> None:
    with pytest.raises(RenderingError, match="user turn"):
        render(words, (Message(role="user", content="x", loss=True),))


def test_a_template_that_rewrites_earlier_learnt_turns_is_refused() -> None:
    messages = (
        Message(role="user", content="one"),
        Message(role="assistant", content="first", loss=True),
        Message(role="user", content="two"),
    )
    with pytest.raises(RenderingError, match="differently"):
        render(tiny.tokenizer(tiny.LAST_TURN_DIFFERS), messages)


def test_examples_that_are_too_long_or_without_loss_are_dropped_and_counted(words: Any) -> None:
    short, long = tiny.answer_example(0), tiny.answer_example(1, "x" * 500)
    silent = (Message(role="user", content="one"), Message(role="assistant", content="two"))
    selection = render_all(words, [short, long, tiny.example(2, "answer", "", silent)], 250)
    assert [one.ids for one in selection.rendered] == [render(words, short.messages).ids]
    assert selection.dropped == 2
