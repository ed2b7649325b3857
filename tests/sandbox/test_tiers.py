"""Machines that give less: what can be had is taken, told as the tier, and a sandbox that does not hold is refused."""

import os
import shutil
import sys
from pathlib import Path

import pytest

from protocols.errors import SandboxUnavailable
from sandbox.process import ProcessSandbox
from tests.sandbox.making import function_job, outcome_of, passed

SYSTEM_PYTHON = "/usr/bin/python3"
NO_NAMESPACES = "--bounding-set -sys_admin --inh-caps -sys_admin"
NO_ROOT = "--reuid 1000 --regid 1000 --clear-groups"
HARMLESS = function_job("def f(x):\n    return x + 1", "assert f(1) == 2", "y = f(2)\nassert y == 3")


def _python_under(flags: str, folder: Path, interpreter: str) -> str:
    """Write a program that starts `interpreter` with less privilege and return its path."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None or not Path(interpreter).exists():
        pytest.skip(f"needs root, setpriv and {interpreter}")
    script = folder / "python"
    script.write_text(f'#!/bin/sh\nexec env -u PWD -u OLDPWD -u SHLVL -u _ setpriv {flags} {interpreter} "$@"\n')
    script.chmod(0o755)
    return str(script)


async def test_without_namespaces_it_is_a_process_of_another_user(tmp_path: Path):
    sandbox = ProcessSandbox(workers=1, interpreter=_python_under(NO_NAMESPACES, tmp_path, SYSTEM_PYTHON))
    assert await sandbox.check() == "process+uid"
    assert passed(await sandbox.run(HARMLESS)) == (True, True)
    note = "def f(x):\n    open('note', 'w').close()\n    return x"
    assert passed(await sandbox.run(function_job(note, "assert f(1) == 1"))) == (True,)
    elsewhere = "def f(x):\n    open('/etc/note', 'w')\n    return x"
    assert (await outcome_of(sandbox, function_job(elsewhere, "assert f(1) == 1"))).error_class == "forbidden"


async def test_without_root_user_namespaces_give_the_rest(tmp_path: Path):
    sandbox = ProcessSandbox(workers=1, interpreter=_python_under(NO_ROOT, tmp_path, SYSTEM_PYTHON))
    tier = await sandbox.check()
    assert tier in ("process+net+pid+files", "process")
    assert passed(await sandbox.run(HARMLESS)) == (True, True)
    kill = "import os\ndef f(x):\n    os.kill(os.getppid(), 9)\n    return x"
    result = await sandbox.run(function_job(kill, "assert f(1) == 1", "assert f(2) == 2"))
    assert passed(result) == ((True, True) if "pid" in tier else (False, False))


async def test_an_interpreter_that_the_other_user_cannot_read_is_refused(tmp_path: Path):
    if os.stat("/root").st_mode & 0o005 or not os.path.realpath(sys.executable).startswith("/root/"):  # noqa: ASYNC240
        pytest.skip("this interpreter can be read by every user")
    sandbox = ProcessSandbox(workers=1, interpreter=_python_under(NO_NAMESPACES, tmp_path, sys.executable))
    with pytest.raises(SandboxUnavailable, match="interpreter whose folder every user can read"):
        await sandbox.check()
