"""One OpenAI-compatible endpoint: single tries, through its gate and its admission, counted.

Invariants: a try passes the gate first (holds, capacity), then decides what it asks for (`Aim`), then is admitted, then
sent; so what was decided is still true when it is answered. Nothing here tries again: see `attempts`.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager
from types import TracebackType
from typing import Self, TypeVar

import msgspec
import trio

from endpoints import wire
from endpoints.admission import Admission, Permit, Unlimited
from endpoints.connections import Connections
from endpoints.gate import Gate
from endpoints.translation import translated
from endpoints.wire import Usage
from protocols.errors import EndpointError, EndpointRefused
from protocols.ports import ChatAnswer, ChatChoice, ChatRequest

Result = TypeVar("Result")
_CHARACTERS_PER_TOKEN = 3
"""For the most that a prompt may cost, before it is counted."""
_AILING_S = 5.0
"""How long after a failure an endpoint is asked last."""


class Target(msgspec.Struct, frozen=True):
    """What a try asks for: a model's name and, for the policy, its version."""

    model: str
    version: int | None = None


Aim = Callable[[], AbstractContextManager[Target]]
"""Decides a try's target when it goes out; the block ends when the try has ended."""


class EndpointStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """Where an endpoint is; counts are since its start."""

    name: str
    in_flight: int
    waiting: int
    """Requests that a hold or a full house keeps outside."""
    held: bool
    answered: int
    failures: dict[str, int]
    """Failed tries by error class."""
    interrupted: int
    """Tries that were taken back and asked again, for a publication or a restart."""
    prompt_tokens: int
    completion_tokens: int


def fixed(model: str) -> Aim:
    """Return the aim of an endpoint that always serves the same `model`."""

    @contextmanager
    def aim() -> Generator[Target]:
        yield Target(model)

    return aim


class Endpoint:
    """One endpoint.

    Args:
        name: in records and logs.
        url: base URL that ends in /v1.
        key_variable: name of the environment variable that holds the key; None for an endpoint without one.
        connections: requests in flight, at most.
        timeout_s: for one whole answer.
        connect_timeout_s: for one connection.
        tries: of one request, at most.
        sends_seeds: whether a request's seed goes out with it. vLLM 0.32 on a CPU ends at a seeded request whose
            prompt is computed in parts (a CPU generator has no offset to set back).
        admission: what lets tries out; None lets all.

    Raises:
        UsageError: the URL is not one, or the key's variable is not set.
    """

    def __init__(
        self,
        *,
        name: str,
        url: str,
        key_variable: str | None = None,
        connections: int = 32,
        timeout_s: float = 300.0,
        connect_timeout_s: float = 10.0,
        tries: int = 4,
        sends_seeds: bool = True,
        admission: Admission | None = None,
    ) -> None:
        self.name = name
        self.url = url.rstrip("/")
        self.tries = tries
        self.gate = Gate(connections)
        self._timeout_s = timeout_s
        self._sends_seeds = sends_seeds
        self._admission = admission or Unlimited()
        self._connections = Connections(
            url,
            key_variable=key_variable,
            limit=connections,
            timeout_s=timeout_s,
            connect_timeout_s=connect_timeout_s,
        )
        self._answered = 0
        self._failures: Counter[str] = Counter()
        self._tokens = Usage()
        self._failed_at = -float("inf")

    @property
    def load(self) -> float:
        """Requests inside and waiting, as a share of the connections."""
        return (self.gate.inside + self.gate.waiting) / self.gate.capacity

    @property
    def ailing(self) -> bool:
        """Whether it failed just now, so that others should be asked first."""
        return trio.current_time() - self._failed_at < _AILING_S

    async def chat(self, request: ChatRequest, aim: Aim, *, staged: bool = False) -> ChatAnswer:
        """Ask once.

        Args:
            request: what to ask.
            aim: decides model and version as the request goes out.
            staged: go past holds that let staged requests pass.

        Raises:
            EndpointError: it was not answered.
        """
        if not self._sends_seeds:
            request = msgspec.structs.replace(request, seed=None)

        async def attempt(target: Target, permit: Permit) -> ChatAnswer:
            began = trio.current_time()
            data = await self._connections.post("/chat/completions", wire.chat_body(request, target.model))
            with translated(self.url):
                answer = wire.read_chat(data, request)
            self._settle(answer.usage, permit)
            return self._answer(answer, target, trio.current_time() - began)

        return await self._once(attempt, aim, _chat_at_most(request), staged)

    async def log_probabilities(
        self, prompts: Sequence[Sequence[int]], aim: Aim, *, staged: bool = False
    ) -> tuple[tuple[float, ...], ...]:
        """Return, for each prompt of token ids, the log-probability of token i + 1 given tokens 0..i; ask once.

        Raises:
            EndpointError: as `chat`.
        """

        async def attempt(target: Target, permit: Permit) -> tuple[tuple[float, ...], ...]:
            result: tuple[tuple[float, ...], ...] = ()
            # One by one: vLLM 0.32 on a CPU, serving adapters, ends where two prompts of a step want these numbers.
            for prompt in prompts:
                body = wire.log_probabilities_body(target.model, [prompt])
                data = await self._connections.post("/completions", body)
                with translated(self.url):
                    result += wire.read_log_probabilities(data, [prompt])
            tokens = sum(map(len, prompts))
            self._settle(Usage(prompt_tokens=tokens, completion_tokens=len(prompts)), permit)
            return result

        at_most = Usage(prompt_tokens=sum(map(len, prompts)), completion_tokens=len(prompts))
        return await self._once(attempt, aim, at_most, staged)

    async def can_reload(self, *, timeout_s: float = 10.0) -> bool:
        """Tell whether the server has vLLM's calls for reloading weights (`VLLM_SERVER_DEV_MODE=1`).

        Raises:
            EndpointError: it did not answer, or failed.
        """
        try:
            await self._connections.control("GET", f"{self.url.removesuffix('/v1')}/weight_info", timeout_s=timeout_s)
        except EndpointRefused:
            return False
        return True

    async def control(self, path: str, body: object = None, *, timeout_s: float | None = None) -> bytes:
        """Send one control call, past gate and admission, and return the answer's body.

        Args:
            path: under the base URL (`/load_lora_adapter`), or from the server's root (`//pause`).
            body: encoded as JSON; None sends an empty object.
            timeout_s: for the whole answer; None: as for requests.

        Raises:
            EndpointError: it was not answered with 2xx.
        """
        target = self.url.removesuffix("/v1") + path[1:] if path.startswith("//") else path
        data = msgspec.json.encode({} if body is None else body)
        return await self._connections.control("POST", target, data, timeout_s=timeout_s or self._timeout_s)

    async def check(self, *, timeout_s: float = 10.0) -> tuple[str, ...]:
        """Return the names of the models that are served.

        Raises:
            EndpointUnreachable: nobody answers at its URL, which the text names.
            EndpointError: the answer is not a list of models.
        """
        data = await self._connections.control("GET", "/models", timeout_s=timeout_s)
        with translated(self.url):
            return tuple(model.id for model in msgspec.json.decode(data, type=wire.ModelList).data)

    def statistics(self) -> EndpointStatistics:
        """Return where the endpoint is now."""
        return EndpointStatistics(
            name=self.name,
            in_flight=self.gate.inside,
            waiting=self.gate.waiting,
            held=self.gate.held,
            answered=self._answered,
            failures=dict(self._failures),
            interrupted=self.gate.interrupted,
            prompt_tokens=self._tokens.prompt_tokens,
            completion_tokens=self._tokens.completion_tokens,
        )

    async def aclose(self) -> None:
        """Close every connection."""
        await self._connections.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._connections.__aexit__(kind, error, trace)

    async def _once(
        self, attempt: Callable[[Target, Permit], Awaitable[Result]], aim: Aim, at_most: Usage, staged: bool
    ) -> Result:
        async def inside() -> Result:
            with aim() as target:
                async with self._admission.admit(at_most) as permit:
                    return await attempt(target, permit)

        try:
            result = await self.gate.run(inside, staged=staged)
        except EndpointError as error:
            self._failures[type(error).__name__] += 1
            self._failed_at = trio.current_time()
            raise
        self._failed_at = -float("inf")
        self._answered += 1
        return result

    def _settle(self, usage: Usage | None, permit: Permit) -> None:
        usage = usage or Usage()
        permit.settle(usage)
        self._tokens = Usage(
            self._tokens.prompt_tokens + usage.prompt_tokens, self._tokens.completion_tokens + usage.completion_tokens
        )

    def _answer(self, answer: wire.ChatCompletion, target: Target, seconds: float) -> ChatAnswer:
        usage = answer.usage or Usage()
        return ChatAnswer(
            choices=tuple(
                ChatChoice(text=choice.message.content or "", finish_reason=choice.finish_reason or "unknown")
                for choice in answer.choices
            ),
            endpoint=self.name,
            version=target.version,
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
            seconds=seconds,
        )


def _chat_at_most(request: ChatRequest) -> Usage:
    characters = sum(len(message.content) for message in request.messages)
    return Usage(characters // _CHARACTERS_PER_TOKEN + 1, request.n * request.max_tokens)
