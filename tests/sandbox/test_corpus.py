"""Every hostile program, in every tier, as root and as nobody: the outcome is as it must be, and the next one works.

When all are done, the machine is as it was: a file that everybody may write, a port that listens, the process table.
"""

import os
import string
import tempfile
from collections.abc import Iterator
from pathlib import Path
from socket import create_server, socket

import pytest
import trio

from protocols.ports import Job
from protocols.records import StdioTest
from sandbox import bundle
from sandbox.process import ProcessSandbox
from tests.sandbox.corpus import ATTACKS, Attack
from tests.sandbox.environments import ENVIRONMENTS, Environment
from tests.sandbox.making import function_job, passed, processes_with

HARMLESS = function_job("def f(x):\n    return x + 1", "assert f(1) == 2", "assert f(2) == 3")


@pytest.fixture(scope="module")
def marker(worker_id: str) -> Iterator[str]:
    """A time zone that only this process's slots have, so that they can be found in the process table."""
    zone = f"Q{string.ascii_uppercase[int(worker_id.strip('gw') or 0) % 26] if worker_id != 'master' else 'Z'}Q0"
    before = bundle.ENVIRONMENT["TZ"]
    bundle.ENVIRONMENT["TZ"] = zone
    yield f"TZ={zone}"
    bundle.ENVIRONMENT["TZ"] = before
    assert processes_with(f"TZ={zone}") == []


@pytest.fixture(scope="module")
def sentinel(marker: str) -> Iterator[Path]:
    """A file that everybody may write; nobody did."""
    descriptor, name = tempfile.mkstemp(prefix="sentinel-", dir="/var/tmp")  # not where scratch folders are
    os.write(descriptor, b"as it was")
    os.close(descriptor)
    os.chmod(name, 0o666)
    before = os.stat(name)
    yield Path(name)
    after = os.stat(name)
    assert Path(name).read_bytes() == b"as it was"
    assert (after.st_mode, after.st_mtime_ns, after.st_nlink) == (before.st_mode, before.st_mtime_ns, before.st_nlink)
    os.unlink(name)


@pytest.fixture(scope="module")
def listener(marker: str) -> Iterator[socket]:
    """A port of the machine; nobody came."""
    with create_server(("127.0.0.1", 0)) as server:
        yield server
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.accept()


@pytest.fixture(scope="module", params=ENVIRONMENTS, ids=lambda environment: environment.name)
def environment(
    request: pytest.FixtureRequest, marker: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ProcessSandbox]:
    wanted: Environment = request.param
    shared = set(os.listdir("/dev/shm"))
    sandbox = wanted.sandbox(tmp_path_factory.mktemp(wanted.name))
    yield sandbox
    trio.run(sandbox.aclose)
    assert processes_with(marker) == []
    assert set(os.listdir("/dev/shm")) <= shared


@pytest.mark.parametrize("attack", ATTACKS, ids=[attack.name.replace(" ", "-") for attack in ATTACKS])
async def test_an_attack(attack: Attack, environment: ProcessSandbox, sentinel: Path, listener: socket):
    code = attack.code.replace("SENTINEL", str(sentinel)).replace("PORT", str(listener.getsockname()[1]))
    entry_point = None if isinstance(attack.test, StdioTest) else "f"
    job = Job(code=code, tests=(attack.test,), entry_point=entry_point, limits=attack.limits)
    outcome = (await environment.run(job)).outcomes[0]
    assert outcome.error_class in attack.wanted, outcome
    assert attack.message in outcome.message
    assert passed(await environment.run(HARMLESS)) == (True, True)


async def test_nothing_is_left_in_a_scratch_folder(environment: ProcessSandbox):
    leave = function_job(
        "import os\ndef f(x):\n    os.makedirs('a/b')\n    open('a/b/c', 'w').close()\n    return os.listdir()",
        "assert f(1) == ['a']",
        "assert f(2) == ['a']",
    )
    assert passed(await environment.run(leave)) == (True, True)
    look = function_job("import os\ndef f(x):\n    return os.listdir()", "assert f(1) == []")
    assert passed(await environment.run(look)) == (True,)


def test_there_are_enough_attacks():
    assert len({attack.name for attack in ATTACKS}) >= 120
