"""Fakes of `Policy` and `Chat` that answer from a script: no model, no network, every request remembered.

They keep the contract of the real ones: every call is a checkpoint, no answer mixes two versions, and with `in_place`
requests to the current version wait while another one is staged. They do not sample: the same request to the same
version gets the same answer.
"""

from collections.abc import Callable, Sequence

import trio

from protocols.ports import ChatAnswer, ChatChoice, ChatRequest
from protocols.records import PolicyVersion

Script = Callable[[ChatRequest, int], Sequence[str]]
"""The texts for a request to a policy version; taken in turn, and over again, until there are `n`."""


def log_probabilities_of(version: int, token_ids: Sequence[int]) -> tuple[float, ...]:
    """Return the numbers that a scripted version serves for one prompt, and that its trainer must have computed."""
    return tuple(-1.0 - 0.1 * version * (1 + (token * 7 + place) % 5) for place, token in enumerate(token_ids[1:]))


class ScriptedPolicy:
    """The port `Policy`, played from a script.

    Args:
        script: what each version answers; an exception that it raises is raised by `chat`.
        current: the version that is served at first.
        in_place: whether only one version can be served at a time.
        numbers: log-probabilities of a version.
    """

    def __init__(
        self,
        script: Script,
        current: PolicyVersion,
        *,
        in_place: bool = False,
        numbers: Callable[[int, Sequence[int]], tuple[float, ...]] = log_probabilities_of,
    ) -> None:
        self._script = script
        self._current = current
        self._in_place = in_place
        self._numbers = numbers
        self._staged: PolicyVersion | None = None
        self._free = trio.Event()
        self._free.set()
        self.failures: dict[str, list[Exception]] = {"stage": [], "promote": [], "roll_back": []}
        """What the next calls raise instead of doing their work, by method."""
        self.events: list[tuple[str, int]] = []
        """Every successful `stage`, `promote` and `roll_back`, with the version's number."""
        self.requests: list[tuple[int, ChatRequest]] = []
        """Every request that was answered, with the version that answered."""

    @property
    def current(self) -> PolicyVersion:
        """Version that new requests use."""
        return self._current

    @property
    def staged(self) -> PolicyVersion | None:
        """Version on trial."""
        return self._staged

    async def chat(self, request: ChatRequest, *, staged: PolicyVersion | None = None) -> ChatAnswer:
        """Answer from the script."""
        number = await self._asked(staged)
        texts = self._script(request, number)
        self.requests.append((number, request))
        return _answer([texts[index % len(texts)] for index in range(request.n)], "policy", number)

    async def log_probabilities(
        self, token_ids: Sequence[Sequence[int]], *, staged: PolicyVersion | None = None
    ) -> tuple[tuple[float, ...], ...]:
        """Return the version's numbers for each prompt."""
        number = await self._asked(staged)
        return tuple(self._numbers(number, tokens) for tokens in token_ids)

    async def stage(self, version: PolicyVersion) -> None:
        """Put `version` on trial.

        Raises:
            RuntimeError: another version is on trial.
        """
        await self._do("stage", version)
        if self._staged is not None:
            raise RuntimeError(f"version {self._staged.number} is on trial already")
        self._staged = version
        if self._in_place:
            self._free = trio.Event()

    async def promote(self, version: PolicyVersion) -> None:
        """Move the pointer to the staged `version`."""
        self._check_staged(version)
        await self._do("promote", version)
        self._current, self._staged = version, None
        self._free.set()

    async def roll_back(self, version: PolicyVersion) -> None:
        """Take the staged `version` off again; nothing happens when it is not staged."""
        if self._staged is None:
            return
        await self._do("roll_back", version)
        self._staged = None
        self._free.set()

    async def _asked(self, staged: PolicyVersion | None) -> int:
        """Return the number of the version that answers, once it can."""
        await trio.lowlevel.checkpoint()
        if staged is not None:
            self._check_staged(staged)
            return staged.number
        await self._free.wait()
        return self._current.number

    def _check_staged(self, version: PolicyVersion) -> None:
        if self._staged is None or self._staged.number != version.number:
            raise RuntimeError(f"version {version.number} is not on trial")

    async def _do(self, name: str, version: PolicyVersion) -> None:
        await trio.lowlevel.checkpoint()
        if self.failures[name]:
            raise self.failures[name].pop(0)
        self.events.append((name, version.number))


class ScriptedChat:
    """The port `Chat`, played from a script.

    Args:
        name: in records and logs.
        script: the text that answers a request; an exception that it raises is raised by `chat`.
        finish_reason: of every answer.
    """

    def __init__(self, name: str, script: Callable[[ChatRequest], str], *, finish_reason: str = "stop") -> None:
        self._name = name
        self._script = script
        self._finish_reason = finish_reason
        self.requests: list[ChatRequest] = []
        """Every request that was answered."""

    @property
    def name(self) -> str:
        """Name in records and logs."""
        return self._name

    async def chat(self, request: ChatRequest) -> ChatAnswer:
        """Answer from the script."""
        await trio.lowlevel.checkpoint()
        text = self._script(request)
        self.requests.append(request)
        return _answer([text] * request.n, self._name, None, self._finish_reason)


def _answer(texts: Sequence[str], endpoint: str, version: int | None, finish_reason: str = "stop") -> ChatAnswer:
    return ChatAnswer(
        choices=tuple(ChatChoice(text=text, finish_reason=finish_reason) for text in texts),
        endpoint=endpoint,
        version=version,
        prompt_tokens=10,
        completion_tokens=sum(len(text) for text in texts),
        seconds=0.1,
    )
