"""Tests that run apart from their candidate: what one conversation leaves does not reach the next one on its slots."""

import pytest

from protocols.ports import Job, Limits
from sandbox.inside.frames import MESSAGE_HEAD
from sandbox.process import ProcessSandbox
from tests.sandbox.making import function_job, passed

APART = "y = f(1)\nassert y == 1"
ROUNDS = 5


def job(code: str) -> Job:
    return function_job(code, APART, limits=Limits(cpu_s=1.0, wall_s=3.0))


RIGHT = job("def f(x):\n    return x")


@pytest.mark.parametrize("role", ["candidate", "tests"])
async def test_a_message_that_nobody_heard_is_not_the_first_of_the_next(role: str):
    async with ProcessSandbox(workers=1) as sandbox:
        await sandbox.check()
        assert passed(await sandbox.run(RIGHT)) == (True,)
        for _ in range(ROUNDS):
            for slot, _ in sandbox._idle[role]:
                slot._heard += (2).to_bytes(MESSAGE_HEAD, "little") + b"{}"
            assert passed(await sandbox.run(RIGHT)) == (True,)


@pytest.mark.parametrize(
    "rest",
    [
        "raise ValueError",
        "import os\nos.write(5, b'12345678')\nos._exit(0)",
        "import os\nos.set_blocking(4, False), os.set_blocking(5, False)",
        "import fcntl, os\nfcntl.fcntl(5, fcntl.F_SETFL, os.O_DIRECT | os.O_NONBLOCK)",
    ],
)
async def test_a_candidate_does_no_harm_to_the_next(rest: str):
    async with ProcessSandbox(workers=1) as sandbox:
        await sandbox.check()
        for _ in range(ROUNDS):
            await sandbox.run(job(f"{rest}\ndef f(x):\n    return -x"))
            assert passed(await sandbox.run(RIGHT)) == (True,)
