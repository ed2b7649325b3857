"""The managed server, with a small stand-in program in vLLM's place. Real processes, real time."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from endpoints.client import Endpoint, fixed
from endpoints.server import ManagedServer, check_port, free_port
from protocols.errors import EndpointUnreachable, ModelDoesNotFit, PortTaken, PublishError, ServerDied, ServerNotReady
from tests.endpoints import server_program
from tests.endpoints.support import asking

DEADLINE_S = 60.0


class Stage:
    """One managed server with its endpoint, and what became of it."""

    def __init__(
        self,
        folder: Path,
        *words: str,
        ready_s: float = 50.0,
        restarts: int = 5,
        grace_s: float = 5.0,
        model: str | None = None,
    ) -> None:
        port = free_port()
        self.pids_file = folder / "pids"
        self.log = folder / "server.log"
        command = [sys.executable, server_program.__file__, str(port), str(self.pids_file), *words]
        self.server = ManagedServer(
            command=command,
            environment={},
            port=port,
            log=self.log,
            ready_s=ready_s,
            restarts=restarts,
            grace_s=grace_s,
            first_pause_s=0.01,
            model=model,
        )
        self.endpoint = Endpoint(name="local", url=self.server.url, tries=1)
        self.restored = 0
        self.restoring = trio.Event()
        self.may_restore = trio.Event()
        self.may_restore.set()
        self.restore_fails = 0

    async def on_restart(self) -> None:
        self.restoring.set()
        await self.may_restore.wait()
        if self.restore_fails:
            self.restore_fails -= 1
            raise PublishError("the version did not go on")
        assert self.endpoint.gate.held
        self.restored += 1

    async def start(self, nursery: trio.Nursery) -> None:
        await nursery.start(self.server.serve, self.endpoint, self.on_restart)

    def kill_program(self) -> None:
        os.kill(self.pids()[-1][0], signal.SIGKILL)

    async def back(self) -> None:
        await self.restoring.wait()
        await self.endpoint.gate.run(trio.lowlevel.checkpoint)

    def pids(self) -> list[list[int]]:
        return [list(map(int, line.split())) for line in self.pids_file.read_text().splitlines()]

    def nothing_runs(self) -> bool:
        return not any(running(pid) for pids in self.pids() for pid in pids)


@contextmanager
def killed_at_the_end(process: trio.Process) -> Generator[None]:
    try:
        yield
    finally:
        process.kill()


def running(pid: int) -> bool:
    """A process that has ended, but whose end nobody has noticed yet, does not run."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


@asynccontextmanager
async def staged(folder: Path, *words: str, **fields: Any) -> AsyncGenerator[Stage]:
    stage = Stage(folder, *words, **fields)
    with trio.fail_after(DEADLINE_S):
        async with stage.endpoint:
            yield stage


async def test_it_is_started_once_it_is_healthy_and_leaves_nothing_running(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        async with trio.open_nursery() as nursery:
            assert not stage.endpoint.gate.held
            await stage.start(nursery)
            assert not stage.endpoint.gate.held
            assert stage.restored == 0
            assert all(running(pid) for pid in stage.pids()[0])
            nursery.cancel_scope.cancel()
        assert stage.nothing_runs()
        assert stage.endpoint.gate.held


async def test_a_server_that_will_not_end_is_killed_with_its_engine(tmp_path: Path) -> None:
    async with staged(tmp_path, "stubborn", grace_s=0.2) as stage:
        async with trio.open_nursery() as nursery:
            await stage.start(nursery)
            nursery.cancel_scope.cancel()
        assert stage.nothing_runs()


async def test_a_server_that_died_is_started_again_and_restored_before_requests_go_on(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage, trio.open_nursery() as nursery:
        await stage.start(nursery)
        stage.kill_program()
        await stage.back()
        assert (stage.server.starts, stage.restored) == (2, 1)
        first, second = stage.pids()
        assert not any(running(pid) for pid in first)
        assert all(running(pid) for pid in second)
        nursery.cancel_scope.cancel()


async def test_requests_wait_while_the_server_is_down(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage, trio.open_nursery() as nursery:
        await stage.start(nursery)
        stage.may_restore = trio.Event()
        stage.kill_program()
        await stage.restoring.wait()
        entered: list[int] = []

        async def note() -> None:
            entered.append(stage.restored)

        nursery.start_soon(stage.endpoint.gate.run, note)
        await wait_all_tasks_blocked()
        assert entered == []
        stage.may_restore.set()
        await stage.back()
        await wait_all_tasks_blocked()
        assert entered == [1]
        nursery.cancel_scope.cancel()


async def test_requests_wait_for_the_first_start_too(tmp_path: Path) -> None:
    async with staged(tmp_path, "sick") as stage, trio.open_nursery() as nursery:
        nursery.start_soon(stage.start, nursery)
        await wait_all_tasks_blocked()
        assert stage.endpoint.gate.held
        nursery.cancel_scope.cancel()


async def test_a_request_in_flight_when_the_server_dies_is_asked_again(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage, trio.open_nursery() as nursery:
        await stage.start(nursery)
        lives: list[int] = []

        async def attempt() -> None:
            lives.append(stage.server.starts)
            if stage.server.starts == 1:
                stage.kill_program()
                await trio.sleep_forever()

        await stage.endpoint.gate.run(attempt)
        assert lives == [1, 2]
        nursery.cancel_scope.cancel()


async def test_a_version_that_cannot_be_restored_costs_another_start(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage, trio.open_nursery() as nursery:
        await stage.start(nursery)
        stage.restore_fails = 1
        stage.kill_program()
        await stage.back()
        assert stage.restored == 1
        assert len(stage.pids()) == 3
        nursery.cancel_scope.cancel()


async def test_a_server_that_dies_too_often_is_given_up_and_who_waits_is_told(tmp_path: Path) -> None:
    async with staged(tmp_path, "once", restarts=1) as stage:
        with pytest.RaisesGroup(pytest.RaisesExc(ServerDied, match="no second life")):
            async with trio.open_nursery() as nursery:
                await stage.start(nursery)
                stage.kill_program()
        with pytest.raises(EndpointUnreachable, match="no second life"):
            await stage.endpoint.chat(asking(), fixed("model"))
        assert len(stage.pids()) == 2
        assert stage.nothing_runs()


async def test_a_port_that_is_in_use_is_found_before_anything_starts(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        with socket.socket() as other:
            other.bind(("127.0.0.1", stage.server.port))
            other.listen()
            with pytest.RaisesGroup(pytest.RaisesExc(PortTaken, match=str(stage.server.port))):
                async with trio.open_nursery() as nursery:
                    await stage.start(nursery)
        assert not stage.log.exists()


def test_a_free_port_is_free() -> None:
    check_port(free_port())


async def test_a_server_that_is_never_healthy_is_ended_at_its_deadline_with_its_log(tmp_path: Path) -> None:
    async with staged(tmp_path, "sick", ready_s=3.0) as stage:
        with pytest.RaisesGroup(pytest.RaisesExc(ServerNotReady, match="503")):
            async with trio.open_nursery() as nursery:
                await stage.start(nursery)
        assert stage.nothing_runs()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("RuntimeError: DefaultCPUAllocator: can't allocate memory", ModelDoesNotFit),
        ("OSError: [Errno 98] Address already in use", PortTaken),
        ("KeyError: 'surprise'", ServerDied),
    ],
)
async def test_a_server_that_ends_at_once_says_why(tmp_path: Path, line: str, expected: type[Exception]) -> None:
    async with staged(tmp_path, f"say={line}") as stage:
        with pytest.RaisesGroup(pytest.RaisesExc(expected, match=re.escape(line))):
            async with trio.open_nursery() as nursery:
                await stage.start(nursery)


ORCHESTRATOR = """
import sys, trio
from pathlib import Path
from tests.endpoints.test_server import Stage

async def main():
    stage = Stage(Path(sys.argv[1]), *sys.argv[2:], grace_s=0.2)
    async with stage.endpoint, trio.open_nursery() as nursery:
        await stage.start(nursery)
        print("ready", flush=True)
        await trio.sleep_forever()

trio.run(main)
"""


@pytest.mark.parametrize("word", ["gentle", "stubborn"])
async def test_killing_the_run_itself_takes_the_server_and_its_engine_along(tmp_path: Path, word: str) -> None:
    process = await trio.lowlevel.open_process(
        [sys.executable, "-c", ORCHESTRATOR, str(tmp_path), word],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert process.stdout is not None
    with trio.fail_after(DEADLINE_S), killed_at_the_end(process):
        said = b"\n"
        while b"\nready\n" not in said:
            more = await process.stdout.receive_some()
            assert more, said
            said += more
        pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
        ends = [os.pidfd_open(pid) for pid in pids]
        process.kill()
        await process.wait()
        for end in ends:
            await trio.lowlevel.wait_readable(end)
            os.close(end)


async def test_killing_the_guard_takes_the_server_and_its_engine_along(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage, trio.open_nursery() as nursery:
        await stage.start(nursery)
        (first,) = stage.pids()
        os.kill(parent_of(first[0]), signal.SIGKILL)
        await stage.back()
        assert not any(running(pid) for pid in first)
        nursery.cancel_scope.cancel()


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


class TestOtherWeights:
    WORDS = ("--model", "first")

    async def test_it_is_ended_and_started_on_them_and_held_meanwhile(self, tmp_path: Path) -> None:
        async with staged(tmp_path, *self.WORDS, model="first") as stage, trio.open_nursery() as nursery:
            await stage.start(nursery)
            await stage.server.restart("second")
            assert not stage.endpoint.gate.held
            assert (stage.server.starts, stage.restored) == (2, 0)
            old, new = stage.pids()
            assert not any(running(pid) for pid in old)
            assert self.model_of(new) == "second"
            nursery.cancel_scope.cancel()

    async def test_weights_that_it_serves_need_no_restart(self, tmp_path: Path) -> None:
        async with staged(tmp_path, *self.WORDS, model="first") as stage, trio.open_nursery() as nursery:
            await stage.start(nursery)
            await stage.server.restart("first")
            assert stage.server.starts == 1
            nursery.cancel_scope.cancel()

    async def test_weights_on_which_it_does_not_start_are_an_error_and_the_old_ones_come_back(
        self, tmp_path: Path
    ) -> None:
        async with staged(tmp_path, *self.WORDS, model="first") as stage, trio.open_nursery() as nursery:
            await stage.start(nursery)
            with pytest.raises(ServerDied, match=r"did not come up on say=no such weights(.|\n)*no such weights"):
                await stage.server.restart("say=no such weights")
            assert stage.endpoint.gate.held
            await stage.server.restart("first")
            assert not stage.endpoint.gate.held
            assert self.model_of(stage.pids()[-1]) == "first"
            nursery.cancel_scope.cancel()

    async def test_a_server_that_died_comes_back_on_the_last_weights(self, tmp_path: Path) -> None:
        async with staged(tmp_path, *self.WORDS, model="first") as stage, trio.open_nursery() as nursery:
            await stage.start(nursery)
            await stage.server.restart("second")
            stage.kill_program()
            await stage.back()
            assert self.model_of(stage.pids()[-1]) == "second"
            assert stage.restored == 1
            nursery.cancel_scope.cancel()

    async def test_restoring_other_weights_after_a_death_starts_it_once_more(self, tmp_path: Path) -> None:
        async with staged(tmp_path, *self.WORDS, model="first") as stage, trio.open_nursery() as nursery:

            async def restore() -> None:
                try:
                    await stage.server.restart("first")
                except ServerDied as error:
                    raise PublishError(str(error)) from error
                stage.restoring.set()

            await nursery.start(stage.server.serve, stage.endpoint, restore)
            await stage.server.restart("on trial")
            stage.kill_program()
            await stage.back()
            assert self.model_of(stage.pids()[-1]) == "first"
            nursery.cancel_scope.cancel()

    def model_of(self, pids: list[int]) -> str:
        words = Path(f"/proc/{pids[0]}/cmdline").read_bytes().decode().split("\0")
        return words[words.index("--model") + 1]
