"""A test in one slot, the candidate in another: calls and results pass between them as plain data.

The test's process has a stand-in for every name that the candidate defines; calling it sends a message, which the
orchestrator carries to the candidate's process, and the result comes back. Arguments that the candidate changed are
changed here too. What is no data (a function, an object of a class of its own) cannot pass: `NotData`, and the
orchestrator runs the test otherwise. An opaque result is a stand-in that equals nothing.

Replies are a candidate's words: whatever they are, they become values or exceptions of the test, never its success.
"""

# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownMemberType=false
# (the values are a candidate's: anything at all)

from __future__ import annotations

import builtins
import json

from sandbox.inside.decoding import Opaque, decode
from sandbox.inside.encoding import Encoder, quote
from sandbox.inside.frames import MESSAGE_HEAD, Gone, read_exactly, write_all

TYPE_CHECKING = False  # importing `typing` is left to the preloaded modules
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_MOST_ARGUMENTS = 1 << 20


class NotData(BaseException):
    """Something would have to pass that is no plain data. Not an `Exception`: tests must not swallow it."""


class CandidateGone(BaseException):
    """The candidate's process ended while the test waited for it."""


class RemoteError(Exception):
    """An exception of the candidate's own class."""


class Conversation:
    """Messages to and from the other slot, through the orchestrator."""

    def __init__(self, reader: int, writer: int) -> None:
        self._reader = reader
        self._writer = writer

    def send(self, text: str) -> None:
        """Send one message."""
        data = text.encode()
        write_all(self._writer, len(data).to_bytes(MESSAGE_HEAD, "little") + data)

    def receive(self) -> Any:
        """Return the next message.

        Raises:
            Gone: there is none to come.
        """
        length = int.from_bytes(read_exactly(self._reader, MESSAGE_HEAD), "little")
        if length == 0:
            raise Gone
        return json.loads(read_exactly(self._reader, length))


def serve(
    conversation: Conversation, scope: dict[str, Any], most: int, describe: Callable[[BaseException], str]
) -> None:
    """Answer calls of what is in `scope` until the conversation ends."""
    conversation.send('{"ready":true}')
    try:
        while True:
            message = conversation.receive()
            conversation.send(_answer(message, scope, most, describe))
    except Gone:
        return


def _answer(message: Any, scope: dict[str, Any], most: int, describe: Callable[[BaseException], str]) -> str:
    name = message["name"]
    if name not in scope:
        return '{"missing":true}'
    if "arguments" not in message:
        value = scope[name]
        return '{"callable":true}' if callable(value) else f'{{"result":{Encoder(most).encode(value)}}}'
    before = json.dumps(message["arguments"])
    arguments, named = decode(message["arguments"])
    try:
        result = Encoder(most).encode(scope[name](*arguments, **named))
    except BaseException as error:
        return f'{{"error":{describe(error)}}}'
    after = _arguments(arguments, named)
    changed = "" if after is None or json.dumps(json.loads(after)) == before else f',"arguments":{after}'
    return f'{{"result":{result}{changed}}}'


def _arguments(arguments: tuple[Any, ...], named: dict[str, Any]) -> str | None:
    """Return the encoded arguments; None where they are no longer data."""
    try:
        return _StrictEncoder(_MOST_ARGUMENTS).encode((arguments, named))
    except (NotData, Exception):
        return None


class _StrictEncoder(Encoder):
    def _opaque(self, value: Any) -> str:
        raise NotData(f"{type(value).__name__} is no plain data")


class Stub:
    """Stands for what the candidate calls `name`."""

    def __init__(self, conversation: Conversation, name: str) -> None:
        self.__name__ = self.__qualname__ = name
        self._conversation = conversation

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """Call the candidate's function and return what it returned, or raise what it raised."""
        encoded = _StrictEncoder(_MOST_ARGUMENTS).encode((arguments, named))
        reply = _ask(self._conversation, f'{{"name":{quote(self.__name__)},"arguments":{encoded}}}')
        if "arguments" in reply:
            changed, changed_named = decode(reply["arguments"])
            _update((*arguments, *named.values()), (*changed, *changed_named.values()))
        return decode(reply["result"])

    def __getattr__(self, name: str) -> Any:
        raise NotData(f"attribute {name} of a function")

    def __instancecheck__(self, instance: object) -> bool:
        raise NotData("whether something is an instance of a class")


def _ask(conversation: Conversation, message: str) -> Any:
    try:
        conversation.send(message)
        reply = conversation.receive()
    except (Gone, OSError) as error:
        raise CandidateGone from error
    except (ValueError, RecursionError) as error:
        raise RemoteError(f"an unreadable reply: {error}") from error
    if not isinstance(reply, dict) or not reply.keys() & {"result", "error", "missing", "callable"}:
        raise RemoteError("an unreadable reply")
    if "error" in reply:
        raise _exception(reply["error"])
    return reply


def _exception(claim: Any) -> Exception:
    """Return an exception of the nearest built-in class of the candidate's, which carries what it said."""
    names = claim.get("names") if isinstance(claim, dict) else None
    kind: type[Exception] = RemoteError
    for name in names if isinstance(names, list) else ():
        found = getattr(builtins, str(name), None)
        if isinstance(found, type) and issubclass(found, Exception):
            kind = found
            break
    try:
        error = kind(str(claim.get("text", "")))
    except Exception:
        error = RemoteError(str(claim)[:400])
    if isinstance(claim, dict) and claim.get("stage") == "not_data":
        claim["stage"] = "run"  # that is for the test's side to say
    error.remote_claim = json.dumps(claim)  # pyright: ignore[reportAttributeAccessIssue]
    return error


def claim_of(error: BaseException) -> str | None:
    """Return what the candidate's process said of `error`, if it came from there."""
    claim = getattr(error, "remote_claim", None)
    return claim if isinstance(claim, str) else None


def _update(old: tuple[Any, ...], new: tuple[Any, ...]) -> None:
    """Change arguments in place as the candidate did; what cannot be changed in place was not."""
    for mine, theirs in zip(old, new, strict=False):
        if type(mine) is not type(theirs):
            continue
        if isinstance(mine, list | bytearray):
            mine[:] = theirs
        elif isinstance(mine, dict | set):
            mine.clear()
            mine.update(theirs)
        elif type(mine).__name__ == "deque":
            mine.clear()
            mine.extend(theirs)


class _Scope(dict[str, object]):
    """Globals of a test: names that it does not define itself are the candidate's; built-ins come first."""

    def __init__(self, conversation: Conversation) -> None:
        super().__init__()
        self._conversation = conversation

    def __missing__(self, name: str) -> object:
        if hasattr(builtins, name):
            raise KeyError(name)
        reply = _ask(self._conversation, f'{{"name":{quote(name)}}}')
        if "missing" in reply:
            raise KeyError(name)
        return Stub(self._conversation, name) if "callable" in reply else decode(reply["result"])


def run_remotely(code: str, setup: str, entry_point: str | None, conversation: Conversation) -> None:
    """Run a test whose candidate is at the other end of `conversation`; returns when it ran to its end.

    Raises:
        NotData: it needs what cannot pass.
        CandidateGone: the candidate's process ended.
        BaseException: what the test raised.
    """
    try:
        conversation.send("{}")
        conversation.receive()
    except (Gone, ValueError) as error:
        raise CandidateGone from error
    scope = _Scope(conversation)
    scope["__name__"] = "candidate"
    scope["__builtins__"] = builtins
    if entry_point is not None:
        scope[entry_point] = Stub(conversation, entry_point)
    if setup:
        exec(compile(setup, "<setup>", "exec", dont_inherit=True), scope)
    exec(compile(code, "<test>", "exec", dont_inherit=True), scope)


Opaque.refuse = NotData
