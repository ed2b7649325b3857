"""The guard on its own: what it passes on, and what makes it end its command. Real processes."""

import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
import trio

from endpoints import guard

DEADLINE_S = 60.0
WAITING = "import os, time\nprint(os.getpid(), flush=True)\ntime.sleep(600)"


@asynccontextmanager
async def guarded(code: str) -> AsyncGenerator[trio.Process]:
    process = await trio.lowlevel.open_process(
        [sys.executable, guard.__file__, str(os.getpid()), "5", sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        with trio.fail_after(DEADLINE_S):
            yield process
    finally:
        process.kill()


async def its_command(process: trio.Process) -> int:
    assert process.stdout is not None
    return int(await process.stdout.receive_some())


async def gone(pid: int) -> None:
    try:
        end = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    await trio.lowlevel.wait_readable(end)
    os.close(end)


@pytest.mark.parametrize(
    ("code", "expected"),
    [("pass", 0), ("raise SystemExit(3)", 3), ("import os; os.kill(os.getpid(), 9)", 137)],
)
async def test_the_exit_code_is_the_commands(code: str, expected: int) -> None:
    async with guarded(code) as process:
        assert await process.wait() == expected


async def test_the_end_of_its_input_ends_the_command() -> None:
    async with guarded(WAITING) as process:
        command = await its_command(process)
        assert process.stdin is not None
        await process.stdin.aclose()
        assert await process.wait() == 128 + signal.SIGTERM
        await gone(command)


async def test_being_asked_to_end_ends_the_command() -> None:
    async with guarded(WAITING) as process:
        command = await its_command(process)
        process.terminate()
        assert await process.wait() == 128 + signal.SIGTERM
        await gone(command)


async def test_being_killed_takes_the_command_along() -> None:
    async with guarded(WAITING) as process:
        command = await its_command(process)
        process.kill()
        await gone(command)


async def test_what_the_command_leaves_running_is_killed_with_it() -> None:
    code = (
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], start_new_session=True)\n"
        "print(child.pid, flush=True)"
    )
    async with guarded(code) as process:
        orphan = await its_command(process)
        assert await process.wait() == 0
        await gone(orphan)
