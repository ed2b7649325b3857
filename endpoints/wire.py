"""The agreed form of requests and answers on the wire: what of OpenAI's API (and vLLM's additions) is used here.

Answers are decoded strictly: a field of another type than agreed is an error, unknown fields are ignored.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from protocols.ports import ChatRequest


class _Message(msgspec.Struct, frozen=True):
    content: str | None = None


class _ChatChoice(msgspec.Struct, frozen=True):
    message: _Message
    finish_reason: str | None = None


class Usage(msgspec.Struct, frozen=True):
    """Tokens of one request; zeros when the endpoint does not tell."""

    prompt_tokens: int = 0
    completion_tokens: int = 0


class ChatCompletion(msgspec.Struct, frozen=True):
    """Answer of `/chat/completions`."""

    choices: tuple[_ChatChoice, ...]
    usage: Usage | None = None


class _TokenLogProbability(msgspec.Struct, frozen=True):
    logprob: float


class _CompletionChoice(msgspec.Struct, frozen=True):
    prompt_logprobs: tuple[dict[str, _TokenLogProbability] | None, ...]


class Completion(msgspec.Struct, frozen=True):
    """Answer of `/completions` that was asked for the prompt's log-probabilities."""

    choices: tuple[_CompletionChoice, ...]
    usage: Usage | None = None


class _Model(msgspec.Struct, frozen=True):
    id: str


class ModelList(msgspec.Struct, frozen=True):
    """Answer of `/models`."""

    data: tuple[_Model, ...]


def chat_body(request: ChatRequest, model: str) -> bytes:
    """Return the body of `POST /chat/completions`."""
    body: dict[str, Any] = {
        "model": model,
        "messages": [{"role": message.role, "content": message.content} for message in request.messages],
        "n": _asked_for(request),
        "temperature": request.temperature,
        "top_p": request.top_p,
        "max_tokens": request.max_tokens,
    }
    if request.top_k is not None:
        body["top_k"] = request.top_k
    if request.stop:
        body["stop"] = list(request.stop)
    if request.seed is not None:
        body["seed"] = request.seed
    if request.schema is not None:
        named = {"name": "answer", "schema": request.schema, "strict": True}
        body["response_format"] = {"type": "json_schema", "json_schema": named}
    return msgspec.json.encode(body)


def log_probabilities_body(model: str, prompts: Sequence[Sequence[int]]) -> bytes:
    """Return the body of `POST /completions` that asks for the log-probabilities of the prompts' own tokens."""
    body = {"model": model, "prompt": prompts, "prompt_logprobs": 0, "max_tokens": 1, "temperature": 0.0}
    return msgspec.json.encode(body)


def read_chat(data: bytes, request: ChatRequest) -> ChatCompletion:
    """Return the answer in `data` to `request`, with as many choices as it wants.

    Raises:
        msgspec.MsgspecError: it is not of the agreed form, or has not the choices that were asked for.
    """
    answer = msgspec.json.decode(data, type=ChatCompletion)
    asked_for = _asked_for(request)
    if len(answer.choices) != asked_for:
        raise msgspec.ValidationError(f"{len(answer.choices)} choices, {asked_for} were asked for")
    return msgspec.structs.replace(answer, choices=answer.choices * (request.n // asked_for))


def _asked_for(request: ChatRequest) -> int:
    """Greedy answers are all the same, and vLLM refuses to be asked for several: one stands for all."""
    return 1 if request.temperature == 0 else request.n


def read_log_probabilities(data: bytes, prompts: Sequence[Sequence[int]]) -> tuple[tuple[float, ...], ...]:
    """Return, for each prompt, the log-probability of token i + 1 given tokens 0..i.

    Raises:
        msgspec.MsgspecError: the answer is not of the agreed form, or speaks of other tokens.
    """
    answer = msgspec.json.decode(data, type=Completion)
    if len(answer.choices) != len(prompts):
        raise msgspec.ValidationError(f"{len(answer.choices)} choices for {len(prompts)} prompts")
    return tuple(_of_prompt(choice, prompt) for choice, prompt in zip(answer.choices, prompts, strict=True))


def _of_prompt(choice: _CompletionChoice, prompt: Sequence[int]) -> tuple[float, ...]:
    if len(choice.prompt_logprobs) != len(prompt):
        raise msgspec.ValidationError(f"{len(choice.prompt_logprobs)} log-probabilities for {len(prompt)} tokens")
    pairs = zip(choice.prompt_logprobs[1:], prompt[1:], strict=True)
    try:
        return tuple((entry or {})[str(token)].logprob for entry, token in pairs)
    except KeyError as error:
        raise msgspec.ValidationError(f"no log-probability for prompt token {error}") from error
