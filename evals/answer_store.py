"""Answers that were asked for before, kept in a file, so that a second evaluation asks for none of them again.

One JSON object a line: `key`, `answer`. A key stands for whom was asked (model, version, endpoint) and for the whole
request, sampling included. Lines are appended one by one; a last one that was cut off is asked for again. One process
at a time; not for answers that have to be drawn anew.
"""

from collections.abc import Iterable
from pathlib import Path

import msgspec
import trio

from protocols.codec import encode
from protocols.identity import derive
from protocols.ports import Answering, ChatAnswer, ChatRequest
from protocols.records import PolicyVersion


class _Line(msgspec.Struct, frozen=True):
    key: str
    answer: ChatAnswer


class AnswerStore:
    """The answers in one file.

    Args:
        path: of the file; made with the first answer that is kept.
        asked: tells whom the answers are of, as exactly as answers may differ.
    """

    def __init__(self, path: Path, asked: str) -> None:
        self._path = path
        self._asked = asked
        data = path.read_bytes() if path.exists() else b""
        self._known = _answers(data)
        self._cut_off = bool(data) and not data.endswith(b"\n")
        self._writing = trio.Lock()
        self.used = 0
        """Answers that were taken from the file."""

    def get(self, request: ChatRequest) -> ChatAnswer | None:
        """Return the answer to `request` that was kept, or None."""
        return self._known.get(self._key(request))

    def holds(self, requests: Iterable[ChatRequest]) -> bool:
        """Return whether every one of `requests` was answered."""
        return all(self._key(request) in self._known for request in requests)

    async def keep(self, request: ChatRequest, answer: ChatAnswer) -> None:
        """Return once the answer is in the file.

        Raises:
            OSError: it cannot be written.
        """
        key = self._key(request)
        line = msgspec.json.encode(_Line(key, answer)) + b"\n"
        async with self._writing:
            await trio.to_thread.run_sync(self._append, line)
        self._known[key] = answer

    def _append(self, line: bytes) -> None:
        with self._path.open("ab") as file:
            file.write(b"\n" + line if self._cut_off else line)
        self._cut_off = False

    def _key(self, request: ChatRequest) -> str:
        return derive("answer", self._asked, encode(request).decode())


class StoredAnswers:
    """The port `Answering`: from a store, and where that has none, from the policy.

    Args:
        store: keeps what the policy answers.
        policy: None where everything that will be asked is in the store.
    """

    def __init__(self, store: AnswerStore, policy: Answering | None) -> None:
        self._store = store
        self._policy = policy

    async def chat(self, request: ChatRequest, *, staged: PolicyVersion | None = None) -> ChatAnswer:
        """Return the answer to `request`.

        Raises:
            EndpointError: as the policy's.
            LookupError: the store has no answer, and there is no policy.
        """
        await trio.lowlevel.checkpoint()
        known = self._store.get(request)
        if known is not None:
            self._store.used += 1
            return known
        if self._policy is None:
            raise LookupError("no such answer was kept, and there is nobody to ask")
        answer = await self._policy.chat(request, staged=staged)
        await self._store.keep(request, answer)
        return answer


def _answers(data: bytes) -> dict[str, ChatAnswer]:
    known: dict[str, ChatAnswer] = {}
    for line in data.split(b"\n"):
        try:
            kept = msgspec.json.decode(line, type=_Line)
        except msgspec.MsgspecError:
            continue  # empty, or cut off when the process was killed
        known[kept.key] = kept.answer
    return known
