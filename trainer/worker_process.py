"""One running worker seen from the orchestrator: its lines, its log, and why it ended.

Invariants: a line is waited for no longer than its deadline; `kill` leaves no process behind. Not covered: which
request is asked, and starting anew, which is `trainer.process`'s matter.
"""

import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

import msgspec
import trio

from protocols.errors import TrainingError
from trainer.messages import PROTOCOL_VERSION, Answer, Failed, Hello, Request, decode_answer, encode_line

_LINE_BYTES_MAX = 64 << 20
_LOG_TAIL_BYTES = 2000
_KILL_S = 10.0


class WorkerProcess:
    """A worker that has greeted. Made by `start`."""

    def __init__(self, process: trio.Process, log_path: Path) -> None:
        self._process = process
        self._log_path = log_path
        self._buffer = bytearray()

    @classmethod
    async def start(
        cls, command: Sequence[str], environment: Mapping[str, str], folder: Path, log_path: Path, deadline_s: float
    ) -> Self:
        """Start a worker and wait for its greeting.

        Args:
            command: program and arguments.
            environment: the whole environment.
            folder: working directory.
            log_path: file that its stderr is added to.
            deadline_s: for the greeting.

        Raises:
            TrainingError: it did not start, did not greet in time, or speaks another version of the protocol.
        """
        try:
            log_path.parent.mkdir(parents=True, exist_ok=True)
            with log_path.open("ab") as log:
                process = await trio.lowlevel.open_process(
                    list(command),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    env=dict(environment),
                    cwd=folder,
                )
        except OSError as error:
            raise TrainingError(f"the trainer worker cannot be started: {error}") from error
        worker = cls(process, log_path)
        try:
            worker._check(await worker.receive(deadline_s))
        except BaseException:
            await worker.kill()
            raise
        return worker

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None

    async def send(self, request: Request, deadline_s: float) -> None:
        """Send one request.

        Raises:
            TrainingError: the worker is gone, or did not take it in time.
        """
        assert self._process.stdin is not None
        try:
            with trio.fail_after(deadline_s):
                await self._process.stdin.send_all(encode_line(request))
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise await self._ended() from error
        except trio.TooSlowError as error:
            raise TrainingError(f"the trainer worker took no request within {deadline_s:.0f} s") from error

    async def receive(self, deadline_s: float) -> Answer:
        """Return the worker's next line.

        Raises:
            TrainingError: none came in time, it was not a line of the protocol, or the worker ended.
        """
        try:
            with trio.fail_after(deadline_s):
                line = await self._read_line()
        except trio.TooSlowError as error:
            raise TrainingError(f"the trainer worker gave no sign of life for {deadline_s:.0f} s") from error
        try:
            return decode_answer(line)
        except msgspec.MsgspecError as error:
            raise TrainingError(f"the trainer worker said something unreadable ({error}): {line[:200]!r}") from error

    async def kill(self) -> None:
        """End the process now and wait until it is gone; works under cancellation."""
        with trio.CancelScope(shield=True, deadline=trio.current_time() + _KILL_S):
            if self.alive:
                self._process.kill()
            await self._process.wait()
            await self._close_pipes()

    async def close(self, grace_s: float) -> None:
        """Let an idle worker end by itself; kill it after `grace_s`."""
        try:
            with trio.move_on_after(grace_s):
                await self._close_pipes()
                await self._process.wait()
        finally:
            await self.kill()

    async def _close_pipes(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                await pipe.aclose()

    async def _read_line(self) -> bytes:
        assert self._process.stdout is not None
        searched = 0
        while (end := self._buffer.find(b"\n", searched)) < 0:
            searched = len(self._buffer)
            chunk = await self._process.stdout.receive_some()
            if not chunk or searched > _LINE_BYTES_MAX:
                raise await self._ended()
            self._buffer += chunk
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return line

    def _check(self, greeting: Answer) -> None:
        if not isinstance(greeting, Hello):
            raise TrainingError(f"the trainer worker greeted with {greeting}")
        if greeting.protocol != PROTOCOL_VERSION:
            raise TrainingError(f"the trainer worker speaks protocol {greeting.protocol}, not {PROTOCOL_VERSION}")

    async def _ended(self) -> TrainingError:
        """Return why the worker ended by itself, in words."""
        with trio.move_on_after(_KILL_S) as waiting:
            await self._process.wait()
        if waiting.cancelled_caught:
            return TrainingError("the trainer worker closed its output but goes on running")
        code = self._process.returncode
        if code == -signal.SIGKILL:
            how = "was killed (SIGKILL), most likely because memory ran out; lower train.micro_batch_tokens"
        else:
            how = f"ended with signal {-code}" if code is not None and code < 0 else f"ended with exit code {code}"
        return TrainingError(f"the trainer worker {how}; its log ends with:\n{self._log_tail()}")

    def _log_tail(self) -> str:
        try:
            with self._log_path.open("rb") as log:
                log.seek(max(0, self._log_path.stat().st_size - _LOG_TAIL_BYTES))
                return log.read().decode(errors="replace").strip()
        except OSError as error:
            return f"(the log cannot be read: {error})"


def as_error(failed: Failed) -> TrainingError:
    """Return a failure that the worker reported, as the port's error."""
    what = {
        "model": "the model cannot be used",
        "examples": "the examples cannot be used",
        "memory": "memory ran out (lower train.micro_batch_tokens)",
        "disk": "the disk is full",
        "loss": "the loss is not a number",
        "other": "the trainer worker failed",
    }
    return TrainingError(f"{what[failed.kind]}: {failed.message}")
