"""Turns an example into token ids and a mask of the tokens that are learnt, through the model's own chat template.

Loss lies on the turns that are marked, from the first token after the header that the model is prompted with to the
token that ends the turn, and nowhere else. Prompt and answer are tokenised apart, as in serving, where the answer's
tokens are the model's own. What follows the last learnt token is left out. An example is never cut: one that is too
long is dropped and counted. One without loss is refused: whoever made it meant something else.

Not covered: tokenizers that put a space before every text (SentencePiece with a dummy prefix), and templates that
render an earlier turn differently once a later one follows, when the earlier one carries loss (refused).
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

from protocols.errors import TrainingError
from protocols.records import Example, Message


class RenderingError(TrainingError):
    """The chat template cannot render an example so that its loss is where it belongs."""


class Tokenizer(Protocol):
    """What rendering needs of a tokenizer of transformers."""

    def apply_chat_template(
        self, conversation: list[dict[str, str]], *, tokenize: bool, add_generation_prompt: bool
    ) -> str:
        """Return the turns as one text."""
        ...

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        """Return the text's token ids."""
        ...


class Rendered(NamedTuple):
    """One example, ready to be trained on."""

    ids: tuple[int, ...]
    learnt: tuple[bool, ...]
    """Whether the model is to learn to produce the token at that place; the last one always is."""


class Selection(NamedTuple):
    """The examples that are trained on."""

    rendered: tuple[Rendered, ...]
    dropped: int
    """Examples that were too long."""


def render_all(tokenizer: Tokenizer, examples: Sequence[Example], max_tokens: int) -> Selection:
    """Render `examples`, dropping those of more than `max_tokens` tokens.

    Raises:
        RenderingError: as `render`, or an example carries no loss; the text begins with the example's id.
    """
    rendered = [_rendered(tokenizer, example) for example in examples]
    kept = tuple(one for one in rendered if len(one.ids) <= max_tokens)
    return Selection(kept, len(rendered) - len(kept))


def render(tokenizer: Tokenizer, messages: Sequence[Message]) -> Rendered:
    """Render one conversation; without any loss the result is empty.

    Raises:
        RenderingError: a turn other than the assistant's carries loss, or the template is of a kind not covered.
    """
    ids: list[int] = []
    learnt: list[bool] = []
    for text, has_loss in _pieces(tokenizer, messages):
        piece = tokenizer.encode(text, add_special_tokens=False)
        ids += piece
        learnt += [has_loss] * len(piece)
    return Rendered(tuple(ids), tuple(learnt))


def _rendered(tokenizer: Tokenizer, example: Example) -> Rendered:
    try:
        rendered = render(tokenizer, example.messages)
    except RenderingError as error:
        raise RenderingError(f"example {example.id}: {error}") from error
    if not any(rendered.learnt):
        raise RenderingError(f"example {example.id}: no turn of it carries loss, so there is nothing to learn from it")
    return rendered


def _pieces(tokenizer: Tokenizer, messages: Sequence[Message]) -> Iterator[tuple[str, bool]]:
    whole = _text(tokenizer, messages)
    at = 0
    for start, stop in _learnt_spans(tokenizer, messages, whole):
        yield whole[at:start], False
        yield whole[start:stop], True
        at = stop


def _learnt_spans(tokenizer: Tokenizer, messages: Sequence[Message], whole: str) -> Iterator[tuple[int, int]]:
    for index, message in enumerate(messages):
        if not message.loss:
            continue
        if message.role != "assistant":
            raise RenderingError(f"a {message.role} turn carries loss; only the assistant's may")
        header = _text(tokenizer, messages[:index], prompt=True)
        turn = _text(tokenizer, messages[: index + 1])
        if not (turn.startswith(header) and whole.startswith(turn)):
            raise RenderingError(f"the chat template renders turn {index + 1} differently when it is not the last one")
        yield len(header), len(turn.rstrip())


def _text(tokenizer: Tokenizer, messages: Sequence[Message], *, prompt: bool = False) -> str:
    turns = [{"role": message.role, "content": message.content} for message in messages]
    return tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=prompt)
