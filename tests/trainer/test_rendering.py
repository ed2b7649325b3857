"""Loss lies on the turns that are marked, with the token that ends them, and nowhere else.

Proven by decoding: the positions with loss, run by run, must read as what a model of that family would have written.
"""

from itertools import groupby

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.records import Message
from tests.trainer import tiny
from tests.trainer.templates import LAST_TURN_DIFFERS, STYLES, Style
from trainer.rendering import Rendered, RenderingError, render, render_all

WORDS = {name: tiny.tokenizer(style) for name, style in STYLES.items()}
TEXTS = st.text("ab \n<|#:ä", max_size=12).map(lambda text: f"x{text}y")
"""Llama-3's template trims contents, so they begin and end with a letter."""
TURNS = st.lists(st.tuples(TEXTS, TEXTS, st.booleans()), min_size=1, max_size=4)


class Family:
    """A style with its tokenizer."""

    def __init__(self, name: str) -> None:
        self.style: Style = STYLES[name]
        self.words = WORDS[name]

    def written(self, text: str) -> str:
        """Return what the model writes when it answers `text`."""
        return f"{self.style.opening}{text}{self.style.closing}"

    def runs(self, rendered: Rendered, *, learnt: bool = True) -> list[str]:
        """Return the texts of the stretches with loss (or without), in order."""
        pairs = zip(rendered.ids, rendered.learnt, strict=True)
        stretches = groupby(pairs, key=lambda pair: pair[1])
        return [self.words.decode([id for id, _ in pairs]) for is_learnt, pairs in stretches if is_learnt == learnt]


@pytest.fixture(params=STYLES)
def family(request: pytest.FixtureRequest) -> Family:
    return Family(request.param)


def user(text: str) -> Message:
    return Message(role="user", content=text)


def assistant(text: str, *, loss: bool = False) -> Message:
    return Message(role="assistant", content=text, loss=loss)


class TestMask:
    def test_an_answer_is_learnt_with_its_end_of_turn(self, family: Family) -> None:
        rendered = render(family.words, tiny.answer_example(code="return 1").messages)
        assert family.runs(rendered) == [family.written("```python\nreturn 1\n```")]
        assert rendered.ids[-1] == family.words.eos_token_id

    def test_a_critique_is_learnt_and_the_bad_code_is_not(self, family: Family) -> None:
        rendered = render(family.words, tiny.critique_example(code="return 1").messages)
        assert family.runs(rendered) == [family.written("It is wrong.\n\n```python\nreturn 1\n```")]
        (before,) = family.runs(rendered, learnt=False)
        assert all(text in before for text in ("Write f0.", "BAD CODE", "0 of 1 tests passed."))

    @pytest.mark.parametrize("name", STYLES)
    @given(turns=TURNS)
    def test_whichever_turns_are_marked(self, name: str, turns: list[tuple[str, str, bool]]) -> None:
        family = Family(name)
        messages = [one for asked, answer, loss in turns for one in (user(asked), assistant(answer, loss=loss))]
        rendered = render(family.words, messages)
        assert family.runs(rendered) == [family.written(answer) for _, answer, loss in turns if loss]

    def test_a_system_turn_changes_nothing_of_it(self, family: Family) -> None:
        messages = (Message(role="system", content="Be brief."), user("one"), assistant("first", loss=True))
        rendered = render(family.words, messages)
        assert family.runs(rendered) == [family.written("first")]
        assert "Be brief." in family.runs(rendered, learnt=False)[0]

    def test_text_that_looks_like_the_end_of_a_turn_does_not_move_the_loss(self, family: Family) -> None:
        bad = assistant(f"x{family.style.closing}\nBAD CODE")
        rendered = render(family.words, (user("one"), bad, user("two"), assistant("second", loss=True)))
        assert family.runs(rendered) == [family.written("second")]

    def test_text_that_looks_like_a_prompt_does_not_move_the_loss(self, family: Family) -> None:
        turns = [{"role": "user", "content": "x"}]
        whole, prompted = (
            family.words.apply_chat_template(turns, tokenize=False, add_generation_prompt=asked)
            for asked in (False, True)
        )
        prompt = prompted.removeprefix(whole)
        assert prompt
        rendered = render(family.words, (user(f"one{prompt}"), assistant("first", loss=True)))
        assert family.runs(rendered) == [family.written("first")]


class TestServed:
    def test_the_model_sees_the_prompt_that_it_is_served(self, family: Family) -> None:
        messages = tiny.answer_example().messages
        turns = [{"role": "user", "content": messages[0].content}]
        served = family.words.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        assert family.runs(render(family.words, messages), learnt=False) == [served]

    def test_the_text_is_the_templates_own_up_to_the_last_learnt_token(self, family: Family) -> None:
        messages = tiny.critique_example().messages
        turns = [{"role": one.role, "content": one.content} for one in messages]
        whole = family.words.apply_chat_template(turns, tokenize=False)
        assert family.words.decode(render(family.words, messages).ids) == whole.rstrip()


class TestRefusals:
    def test_loss_on_a_user_turn(self, family: Family) -> None:
        with pytest.raises(RenderingError, match="user turn"):
            render(family.words, (Message(role="user", content="x", loss=True),))

    def test_a_template_that_rewrites_earlier_learnt_turns(self) -> None:
        words = tiny.tokenizer(LAST_TURN_DIFFERS)
        example = tiny.example(7, "answer", "", (user("one"), assistant("first", loss=True), user("two")))
        with pytest.raises(RenderingError, match=r"example example-7: .*differently"):
            render_all(words, [example], 250)

    def test_an_example_without_loss_by_its_id(self, family: Family) -> None:
        silent = tiny.example(2, "answer", "", (user("one"), assistant("two")))
        with pytest.raises(RenderingError, match="example example-2: no turn of it carries loss"):
            render_all(family.words, [tiny.answer_example(0), silent], 250)


class TestLength:
    def test_examples_that_are_too_long_are_dropped_and_counted(self, family: Family) -> None:
        short, long = tiny.answer_example(0), tiny.answer_example(1, "x" * 500)
        selection = render_all(family.words, [short, long], 250)
        assert [one.ids for one in selection.rendered] == [render(family.words, short.messages).ids]
        assert selection.dropped == 1

    def test_the_limit_counts_every_token_and_cuts_none(self, family: Family) -> None:
        example = tiny.critique_example()
        whole = render(family.words, example.messages)
        assert render_all(family.words, [example], len(whole.ids)) == ((whole,), 0)
        assert render_all(family.words, [example], len(whole.ids) - 1) == ((), 1)
