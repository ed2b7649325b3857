"""The managed vLLM server: started, watched, restarted, and never left running.

Invariants: requests are held from the moment the server is down until it is healthy and serves what it served; the
server and everything it started end with the run, however the run ends (`guard`). What it is started with is decided
in `server_plan`.

::

    process -- a pipe it must keep open --> guard -- own process group --> vLLM -- its engine
"""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import httpx2
import structlog
import trio

from endpoints import guard
from endpoints.client import Endpoint
from endpoints.server_log import classify, read_tail
from protocols.errors import EndpointError, PortTaken, PublishError, ServerDied, ServerError, ServerNotReady

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

HOLD = "server"
"""Name of the hold on the endpoint's gate while the server is down."""
_HEALTH_S = 0.25
_HOUR_S = 3600.0
_LONGEST_PAUSE_S = 60.0
_KILL_S = 10.0
"""For the guard's own end, beyond the grace it gives the server."""


class ManagedServer:
    """One vLLM server of this run.

    Args:
        command: program and arguments that start it.
        environment: laid over this process's own.
        port: on 127.0.0.1, where it will listen.
        log: file that its output is appended to.
        ready_s: for its start, until it is healthy.
        restarts: in an hour, at most.
        grace_s: between being asked to end and being killed.
        first_pause_s: before the first restart; doubled for each further one within the hour.
        model: folder or name in the command that `restart` exchanges; None: it is never asked to.
    """

    def __init__(
        self,
        *,
        command: Sequence[str],
        environment: Mapping[str, str],
        port: int,
        log: Path,
        ready_s: float = 300.0,
        restarts: int = 5,
        grace_s: float = 10.0,
        first_pause_s: float = 1.0,
        model: str | None = None,
    ) -> None:
        self.port = port
        self.log = log
        self.starts = 0
        self.model = model
        """Folder or name that it is started with, in place of the command's own; None: the command's own."""
        self._running: str | None = None
        self._restoring = False
        self._asked = trio.Event()
        self._wish: _Wish | None = None
        self._command = tuple(command)
        self._environment = dict(environment)
        self._ready_s = ready_s
        self._restarts = restarts
        self._grace_s = grace_s
        self._first_pause_s = first_pause_s

    @property
    def url(self) -> str:
        """Base URL for an endpoint."""
        return f"http://127.0.0.1:{self.port}/v1"

    async def restart(self, model: str) -> None:
        """Serve other weights by ending the server and starting it on `model`; return once it is healthy.

        Weights that it serves already need no restart. The endpoint is held meanwhile.

        Raises:
            ServerError: it did not come up on `model`; or it has just come up after a death and is being given back
                what it served, and starts once more, on `model`.
        """
        self.model = model
        if self._running == model:
            return
        if self._restoring:
            raise ServerDied("the managed server came up on other weights, and has to start once more")
        self._wish = wish = _Wish()
        self._asked.set()
        await wish.settled.wait()
        if wish.error is not None:
            raise ServerDied(f"the managed server did not come up on {model}: {wish.error}")

    async def serve(
        self,
        endpoint: Endpoint,
        on_restart: Callable[[], Awaitable[None]],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Run the server until cancelled; started once it is healthy for the first time.

        Args:
            endpoint: whose requests go to this server; it is held while the server is down.
            on_restart: puts the current version on the server again, before requests go on.
            task_status: of `trio.Nursery.start`.

        Raises:
            PortTaken, ModelDoesNotFit, ServerNotReady: it could not be started the first time.
            ServerDied: it ended more often than it may be restarted.
        """
        endpoint.gate.hold(HOLD)
        deaths: list[float] = []
        while True:
            try:
                await self._live(endpoint, on_restart, task_status)
                continue
            except (ServerError, EndpointError, PublishError) as error:
                self._settle(error)
                now = trio.current_time()
                deaths = [*(time for time in deaths if now - time < _HOUR_S), now]
                if self.starts == 0 or len(deaths) > self._restarts:
                    endpoint.gate.fail(HOLD, f"the managed server of {endpoint.name} is gone: {error}")
                    raise
                log.warning(
                    "server_died", endpoint=endpoint.name, deaths=len(deaths), error=str(error).partition("\n")[0]
                )
            await trio.sleep(min(_LONGEST_PAUSE_S, self._first_pause_s * 2.0 ** (len(deaths) - 1)))

    async def _live(
        self, endpoint: Endpoint, on_restart: Callable[[], Awaitable[None]], task_status: trio.TaskStatus[None]
    ) -> None:
        """One life of the server, from its start to its death, or until it is to start on other weights."""
        check_port(self.port)
        start = self.log.stat().st_size if self.log.exists() else 0
        began = trio.current_time()
        log.info("server_started", port=self.port, log=str(self.log), ready_s=self._ready_s)
        model, self._asked = self.model, trio.Event()
        process = await self._spawn()
        try:
            await self._healthy(process, start)
            if self._asked.is_set():
                return
            self._running = model
            if self.starts and self._wish is None:
                await self._restore(on_restart)
            self.starts += 1
            log.info("server_became_ready", seconds=round(trio.current_time() - began))
            endpoint.gate.release(HOLD)
            self._settle(None)
            if self.starts == 1:
                task_status.started()
            await self._death_or_wish(process)
            if not self._asked.is_set():
                raise self._death(process, start)
        finally:
            self._running = None
            endpoint.gate.hold(HOLD)
            endpoint.gate.interrupt(staged_too=True)
            await self._stop(process)

    async def _restore(self, on_restart: Callable[[], Awaitable[None]]) -> None:
        self._restoring = True
        try:
            await on_restart()
        finally:
            self._restoring = False

    async def _death_or_wish(self, process: trio.Process) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_ended, process, nursery.cancel_scope)
            await self._asked.wait()
            nursery.cancel_scope.cancel()

    def _settle(self, error: Exception | None) -> None:
        wish, self._wish = self._wish, None
        if wish is not None:
            wish.error = error
            wish.settled.set()

    def _arguments(self) -> tuple[str, ...]:
        """Return the command, with the weights to start on as its `--model`."""
        if self.model is None:
            return self._command
        at = self._command.index("--model") + 1
        return (*self._command[:at], self.model, *self._command[at + 1 :])

    async def _spawn(self) -> trio.Process:
        program = [
            sys.executable,
            guard.__file__,
            str(os.getpid()),
            str(self._grace_s),
            *self._arguments(),
        ]
        with self.log.open("ab") as output:
            return await trio.lowlevel.open_process(
                program,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                env={**os.environ, **self._environment},
                start_new_session=True,
            )

    async def _healthy(self, process: trio.Process, start: int) -> None:
        """Return when the server is healthy.

        Raises:
            ServerError: it ended before, or was not healthy in time.
        """
        with trio.move_on_after(self._ready_s) as in_time:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_ended, process, nursery.cancel_scope)
                await _answer(f"http://127.0.0.1:{self.port}/health")
                nursery.cancel_scope.cancel()
        if in_time.cancelled_caught:
            tail = read_tail(self.log, start=start)
            raise ServerNotReady(f"the server was not healthy within {self._ready_s:g} s; its log ends:\n{tail}")
        if process.returncode is not None:
            raise self._death(process, start)

    def _death(self, process: trio.Process, start: int) -> ServerError:
        tail = read_tail(self.log, start=start)
        kind = classify(tail, process.returncode)
        return kind(f"the server ended with code {process.returncode}; its log {self.log} ends:\n{tail}")

    async def _stop(self, process: trio.Process) -> None:
        """Leave nothing of it running: close the guard's pipe, wait, kill."""
        with trio.CancelScope(shield=True):
            if process.stdin is not None:
                await process.stdin.aclose()
            with trio.move_on_after(self._grace_s + _KILL_S):
                await process.wait()
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
            await trio.to_thread.run_sync(guard.kill_session, process.pid)


class _Wish:
    """Somebody waits for the server to come up on other weights."""

    def __init__(self) -> None:
        self.settled = trio.Event()
        self.error: Exception | None = None


def free_port() -> int:
    """Return a port on 127.0.0.1 where nobody listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def check_port(port: int) -> None:
    """Find out whether `port` on 127.0.0.1 can be listened on.

    Raises:
        PortTaken: it is in use.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise PortTaken(f"port {port} is in use ({error.strerror}); set server.port to another one") from error


async def _ended(process: trio.Process, scope: trio.CancelScope) -> None:
    await process.wait()
    scope.cancel()


async def _answer(url: str) -> None:
    """Return once `url` answers 200. The deadline is the caller's; a server under way has nothing to wait on."""
    async with httpx2.AsyncClient(trust_env=False, timeout=5.0) as client:
        while True:
            with suppress(httpx2.HTTPError):
                if (await client.get(url)).status_code == 200:
                    return
            await trio.sleep(_HEALTH_S)
