"""One question to a judge: a structured answer, one try to repair it, and then none."""

from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

import msgspec

from protocols.ports import Chat, ChatAnswer, ChatRequest
from protocols.prompts import REPAIR
from protocols.records import Message

REPAIR_TEMPERATURE = 0.7
"""A second try at the first one's temperature of 0 might get the same unreadable answer again."""

Parsed = TypeVar("Parsed")


class Reply(msgspec.Struct, Generic[Parsed], frozen=True, kw_only=True):
    """What a judge answered, tries together."""

    parsed: Parsed | None
    """None: it abstains."""
    text: str
    """The last answer."""
    prompt_tokens: int
    completion_tokens: int
    seconds: float


async def inquire(
    judge: Chat,
    messages: tuple[Message, ...],
    schema: Mapping[str, Any],
    parse: Callable[[str], Parsed | None],
    max_tokens: int,
) -> Reply[Parsed]:
    """Ask `judge`; an answer that `parse` cannot read is shown to it once more, with the request to repair it.

    Raises:
        EndpointError: it could not be asked.
    """
    first = await _ask(judge, messages, schema, 0.0, max_tokens)
    answers, parsed = [first], parse(first.choices[0].text)
    if parsed is None:
        unreadable = Message(role="assistant", content=first.choices[0].text)
        again = (*messages, unreadable, Message(role="user", content=REPAIR))
        second = await _ask(judge, again, schema, REPAIR_TEMPERATURE, max_tokens)
        answers, parsed = [first, second], parse(second.choices[0].text)
    return Reply(
        parsed=parsed,
        text=answers[-1].choices[0].text,
        prompt_tokens=sum(answer.prompt_tokens for answer in answers),
        completion_tokens=sum(answer.completion_tokens for answer in answers),
        seconds=sum(answer.seconds for answer in answers),
    )


async def _ask(
    judge: Chat, messages: tuple[Message, ...], schema: Mapping[str, Any], temperature: float, max_tokens: int
) -> ChatAnswer:
    return await judge.chat(
        ChatRequest(messages=messages, temperature=temperature, max_tokens=max_tokens, schema=schema)
    )
