"""One warm slot: an interpreter inside its isolation that forks a process for every run. The Trio side of its pipes.

A slot serves one run at a time. Whoever cancels a run, or meets an error in one, must close the slot: its pipes are
then in the middle of something. Nothing here understands what a candidate wrote, and nothing of a job stays behind in
the slot's processes (see `sandbox.inside.frames`).
"""

import contextlib
import marshal
import os
import shutil
import signal
import tempfile
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Self, cast

import trio

from protocols.errors import SandboxError, SandboxUnavailable
from sandbox.bundle import ENVIRONMENT, FLAGS, START
from sandbox.groups import GroupRoots, SlotGroups
from sandbox.inside.frames import ANSWER, ENDS, MESSAGE_HEAD, REQUEST, RUN, RUN_FAILED, RUN_OVER, STOP, TEST_DONE

_START_S = 60.0
_ANSWER_S = 15.0
"""How long after the time of a run its answer may take to come: killing, reaping and cleaning up."""
_END_S = 10.0
_MAX_ERROR_BYTES = 4000
_NO_TIER = 200
_CHUNK = 1 << 18
_REMEDIES = {
    "namespaces": "What helps: allow user namespaces (user.max_user_namespaces; in a container, a seccomp profile that "
    "permits unshare and mount).",
    "landlock": "What helps: Linux 6.12 or later with landlock among its security modules, and an interpreter that "
    "every user can read.",
}
_FIRST_MEMORY_BYTES, _FIRST_THREADS = 512 << 20, 8


class SlotDied(Exception):
    """The slot ended while it had something to do."""


class SetUpFailed(Exception):
    """A run's process could not be set up; no candidate's code has run."""


@dataclass(frozen=True, kw_only=True)
class SlotSettings:
    """What a slot is started with."""

    interpreter: str
    bundle: bytes
    """See `sandbox.bundle`."""
    tier: str
    """`namespaces`, `landlock` or `unsafe`."""
    user_id: int
    """User that candidates run as, where root may choose."""
    scratch_folder: Path | None
    """Where the slot's own folder is made; None is the system's temporary folder."""
    scratch_bytes: int
    scratch_files: int
    packages: tuple[str, ...] = ()
    """Files and folders that candidates may read besides the interpreter's own."""
    path: tuple[str, ...] = ()
    """What is added to the candidates' `sys.path`."""
    preload: tuple[str, ...] = ()
    """Modules that are imported once, before the first run."""
    groups: GroupRoots
    """Where its control groups are made."""


@dataclass(frozen=True, kw_only=True)
class RunRequest:
    """One process to fork, and the tests that it shall run one after another."""

    payload: dict[str, Any]
    wall_s: float
    cpu_s: float
    turn_s: float
    memory_bytes: int
    output_bytes: int
    result_bytes: int
    file_bytes: int
    threads: int
    tests: int
    is_program: bool
    is_talking: bool = False
    """Whether it exchanges messages with another slot's run meanwhile."""


@dataclass(frozen=True)
class Answer:
    """What the zygote tells of one test, or of the process's end. The texts are the candidate's words."""

    end: str
    """One of `sandbox.inside.frames.ENDS`, or `memory` when the kernel killed it for the memory it really used."""
    status: int
    """Exit status, or number of the signal."""
    cpu_s: float
    wall_s: float
    peak_bytes: int
    out: bytes
    err: bytes
    claim: bytes


@dataclass(frozen=True)
class RunAnswer:
    """What came of one run."""

    tests: tuple[Answer, ...]
    """Tests that sent a claim, in order."""
    over: Answer
    """How the process ended; what it said after the last claim."""


class Head(NamedTuple):
    """What stands before the texts of an answer."""

    kind: int
    end: str
    status: int
    cpu_s: float
    wall_s: float
    peak_bytes: int
    lengths: tuple[int, int, int]


def read_head(data: bytes, most: int) -> Head:
    """Return the head of an answer, `sandbox.inside.frames.ANSWER.size` bytes.

    Raises:
        SandboxError: it is none, or announces a text of more than `most` bytes.
    """
    kind, end, status, cpu_s, wall_s, peak_bytes, *lengths = ANSWER.unpack(data)
    if kind not in (TEST_DONE, RUN_OVER, RUN_FAILED) or end >= len(ENDS) or max(lengths) > most:
        raise SandboxError("the sandbox's slot answered something unreadable")
    return Head(kind, ENDS[end], status, cpu_s, wall_s, peak_bytes, (lengths[0], lengths[1], lengths[2]))


class Slot:
    """A started slot; made by `start`."""

    def __init__(self, process: trio.Process, folder: str, talk: tuple[int, int], groups: SlotGroups) -> None:
        self.tier = ""
        self.runs = 0
        """Runs that it has served."""
        self.spent = False
        """Whether whoever uses it wants it replaced."""
        self._process = process
        self._folder = folder
        self._groups = groups
        self._received = bytearray()
        self._sending = trio.Lock()
        self._listening, self._speaking = map(trio.lowlevel.FdStream, talk)
        self._heard = bytearray()

    @classmethod
    async def start(cls, settings: SlotSettings) -> Self:
        """Start a slot and return it when it is warm.

        Raises:
            SandboxUnavailable: the isolation asked for cannot be had here; says at which step.
            SandboxError: it could not be started.
        """
        folder = tempfile.mkdtemp(prefix="sandbox-", dir=settings.scratch_folder)
        (theirs_in, ours_out), (ours_in, theirs_out) = os.pipe(), os.pipe()
        try:
            process = await trio.lowlevel.open_process(
                [settings.interpreter, *FLAGS, "-c", START],
                stdin=-1, stdout=-1, stderr=-1, cwd=folder, env=ENVIRONMENT, start_new_session=True,
                pass_fds=(theirs_in, theirs_out),
            )  # fmt: skip
        except BaseException as error:
            os.rmdir(folder)
            os.close(ours_in)
            os.close(ours_out)
            if isinstance(error, OSError):
                message = f"the sandbox's interpreter {settings.interpreter} cannot be started: {error}"
                raise SandboxError(message) from error
            raise
        finally:
            os.close(theirs_in)
            os.close(theirs_out)
        groups = SlotGroups(settings.groups, _FIRST_MEMORY_BYTES, _FIRST_THREADS)
        slot = cls(process, folder, (ours_in, ours_out), groups)
        try:
            await slot._greet(settings, (theirs_in, theirs_out))
        except BaseException:
            await slot.close()
            raise
        return slot

    async def _greet(self, settings: SlotSettings, conversation: tuple[int, int]) -> None:
        config = marshal.dumps(
            {
                "tier": settings.tier,
                "user_id": settings.user_id,
                "scratch_bytes": settings.scratch_bytes,
                "scratch_files": settings.scratch_files,
                "packages": settings.packages,
                "path": list(settings.path),
                "preload": list(settings.preload),
                "conversation": conversation,
                "groups": self._groups.folders(),
            },
            2,
        )
        with trio.move_on_after(_START_S) as scope:
            with contextlib.suppress(SlotDied):
                await self._send(settings.bundle + len(config).to_bytes(8, "big") + config)
                self.tier = (await self._line()).decode("utf-8", "replace")
                self._leave_folder()
                return
        reason = "it was not ready in time" if scope.cancelled_caught else await self._last_words()
        if reason.startswith("refused: "):
            raise SandboxUnavailable(f"{reason.removeprefix('refused: ')}. {_REMEDIES.get(settings.tier, '')}".strip())
        raise SandboxError(f"the sandbox's slot failed at its start: {reason or 'it ended without a word'}")

    def _leave_folder(self) -> None:
        """With a file system of its own, a slot has no more use for the folder on which that was mounted."""
        if self.tier.startswith("namespaces"):
            with contextlib.suppress(OSError):
                os.rmdir(self._folder)

    @property
    def is_alive(self) -> bool:
        """Whether its process is still there."""
        return self._process.poll() is None

    async def run(self, request: RunRequest) -> RunAnswer:
        """Have `request` run and return what came of it.

        Raises:
            SetUpFailed: the run's process could not be set up; the slot must be closed.
            SlotDied: the slot ended while the candidate ran; it must be closed.
            SandboxError: it did not answer in time, or not in the agreed form; it must be closed.
        """
        self.runs += 1
        payload = marshal.dumps(cast(Any, request.payload), 2)
        header = REQUEST.pack(
            len(payload),
            request.wall_s,
            request.cpu_s,
            request.turn_s,
            request.memory_bytes,
            request.output_bytes,
            request.result_bytes,
            request.file_bytes,
            request.threads,
            request.tests,
            request.is_program,
            request.is_talking,
        )
        self._groups.adapt(request.memory_bytes, request.threads)
        with trio.move_on_after(request.turn_s + _ANSWER_S):
            await self._send(RUN + header + payload)
            return await self._answers(request)
        raise SandboxError(f"the sandbox's slot did not answer within {request.turn_s + _ANSWER_S:.0f} s")

    async def stop(self) -> None:
        """End the run that is under way, as the end of its turn would; nothing happens when there is none.

        Raises:
            SlotDied: the slot has ended.
        """
        await self._send(STOP)

    async def listen(self, most: int) -> bytes | None:
        """Return the next message of the run under way; None when it is longer than `most` bytes.

        Raises:
            SlotDied: the slot has ended.
        """
        length = int.from_bytes(await self._hear(MESSAGE_HEAD), "little")
        return await self._hear(length) if length <= most else None

    async def speak(self, message: bytes) -> None:
        """Send a message to the run under way; an empty one tells that no more will come.

        Raises:
            SlotDied: the slot has ended.
        """
        try:
            await self._speaking.send_all(len(message).to_bytes(MESSAGE_HEAD, "little") + message)
        except trio.BrokenResourceError as error:
            raise SlotDied from error

    def forget(self) -> None:
        """Throw away what a run before said to nobody; to be done before the next run is spoken with."""
        self._heard.clear()
        with contextlib.suppress(BlockingIOError):
            while os.read(self._listening.fileno(), _CHUNK):
                pass

    async def _hear(self, length: int) -> bytes:
        while len(self._heard) < length:
            chunk = await self._listening.receive_some(_CHUNK)
            if not chunk:
                raise SlotDied
            self._heard += chunk
        data = bytes(self._heard[:length])
        del self._heard[:length]
        return data

    async def _answers(self, request: RunRequest) -> RunAnswer:
        tests: list[Answer] = []
        while len(tests) <= request.tests:
            kind, answer = await self._answer(request)
            if kind == RUN_FAILED:
                raise SetUpFailed(answer.err.decode("utf-8", "replace"))
            if kind == RUN_OVER:
                if answer.end == "signal" and answer.status == signal.SIGKILL and self._groups.ran_out_of_memory():
                    answer = replace(answer, end="memory")
                return RunAnswer(tuple(tests), answer)
            tests.append(answer)
        raise SandboxError("the sandbox's slot answered for more tests than there are")

    async def _answer(self, request: RunRequest) -> tuple[int, Answer]:
        most = max(request.output_bytes, request.result_bytes) + _CHUNK
        head = read_head(await self._receive(ANSWER.size), most)
        out, err, claim = [await self._receive(length) for length in head.lengths]
        return head.kind, Answer(head.end, head.status, head.cpu_s, head.wall_s, head.peak_bytes, out, err, claim)

    async def _send(self, data: bytes) -> None:
        assert self._process.stdin is not None
        try:
            async with self._sending:
                await self._process.stdin.send_all(data)
        except trio.BrokenResourceError as error:
            raise SlotDied from error

    async def _receive(self, length: int) -> bytes:
        while len(self._received) < length:
            await self._receive_some()
        data = bytes(self._received[:length])
        del self._received[:length]
        return data

    async def _line(self) -> bytes:
        while (length := self._received.find(b"\n") + 1) == 0:
            if len(self._received) > _NO_TIER:
                raise SandboxError("the sandbox's slot began with something unreadable")
            await self._receive_some()
        return (await self._receive(length)).strip()

    async def _receive_some(self) -> None:
        assert self._process.stdout is not None
        chunk = await self._process.stdout.receive_some(_CHUNK)
        if not chunk:
            raise SlotDied
        self._received += chunk

    async def _last_words(self) -> str:
        assert self._process.stderr is not None
        words = bytearray()
        with trio.move_on_after(_END_S):
            while len(words) < _MAX_ERROR_BYTES and (chunk := await self._process.stderr.receive_some()):
                words += chunk
        return words.decode("utf-8", "replace").strip()[-_MAX_ERROR_BYTES:]

    async def close(self) -> None:
        """Kill every process of the slot, reap it, and remove its folder; cancellation does not interrupt this.

        Raises:
            SandboxError: the kernel did not let it go within ten seconds.
        """
        with trio.CancelScope(shield=True):
            try:
                await self._end()
            finally:
                process = self._process
                for stream in (process.stdin, process.stdout, process.stderr, self._listening, self._speaking):
                    if stream is not None:
                        await stream.aclose()
                self._groups.remove()
                await trio.to_thread.run_sync(partial(shutil.rmtree, self._folder, ignore_errors=True))

    async def _end(self) -> None:
        """Close its control pipe: its host then ends all that is in it. What does not go by itself is killed."""
        assert self._process.stdin is not None
        await self._process.stdin.aclose()
        with trio.move_on_after(_END_S / 2):
            await self._process.wait()
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        with trio.move_on_after(_END_S / 2):
            await self._process.wait()
            return
        raise SandboxError(f"the sandbox's process {self._process.pid} could not be ended")
