"""Machines that give less: what can be had is taken, told as the tier, and a sandbox that does not hold is refused."""

import os
import sys
from pathlib import Path

import pytest

from protocols.errors import SandboxUnavailable
from sandbox.process import ProcessSandbox
from tests.sandbox.environments import NOBODY, SYSTEM_PYTHON, python_under
from tests.sandbox.making import function_job, groups_of_this_process, passed

NO_NAMESPACES = "--bounding-set -sys_admin --inh-caps -sys_admin"
HARMLESS = function_job("def f(x):\n    return x + 1", "assert f(1) == 2", "y = f(2)\nassert y == 3")


def parts(tier: str) -> list[str]:
    return tier.split("+")


async def test_without_the_power_to_mount_the_other_users_own_namespaces_do(tmp_path: Path):
    interpreter = python_under(NO_NAMESPACES, tmp_path)
    before = groups_of_this_process()
    async with ProcessSandbox(workers=1, interpreter=interpreter) as sandbox:
        assert parts(await sandbox.check())[:2] == ["namespaces", "uid"]
        assert passed(await sandbox.run(HARMLESS)) == (True, True)
    assert groups_of_this_process() <= before


async def test_without_root_user_namespaces_give_the_rest(tmp_path: Path):
    async with ProcessSandbox(workers=1, interpreter=python_under(NOBODY, tmp_path)) as sandbox:
        assert parts(await sandbox.check())[:1] == ["namespaces"]
        assert passed(await sandbox.run(HARMLESS)) == (True, True)
        kill = "import os\ndef f(x):\n    os.kill(os.getppid(), 9)\n    return x"
        result = await sandbox.run(function_job(kill, "assert f(1) == 1", "assert f(2) == 2"))
        assert passed(result) == (True, True)


async def test_a_root_of_a_user_namespace_that_maps_nobody_else_stays_who_it_is(tmp_path: Path):
    interpreter = python_under(NOBODY, tmp_path, f"unshare --user --map-root-user {SYSTEM_PYTHON}")
    async with ProcessSandbox(workers=1, interpreter=interpreter) as sandbox:
        assert parts(await sandbox.check())[:1] == ["namespaces"]
        assert passed(await sandbox.run(HARMLESS)) == (True, True)


def _without_namespaces(folder: Path) -> str:
    start = f"exec env -u PWD -u OLDPWD -u SHLVL -u _ {SYSTEM_PYTHON}"
    no_more = f"""sh -c 'echo 0 > /proc/sys/user/max_user_namespaces; {start} "$@"' sh"""
    return python_under(NOBODY, folder, f"unshare --user --map-root-user {no_more}")


async def test_without_any_namespaces_they_are_refused_naming_the_step(tmp_path: Path):
    sandbox = ProcessSandbox(workers=1, interpreter=_without_namespaces(tmp_path), tier="namespaces")
    with pytest.raises(SandboxUnavailable, match="namespaces: unshare: No space left on device"):
        await sandbox.check()


async def test_without_any_namespaces_landlock_does(tmp_path: Path):
    async with ProcessSandbox(workers=1, interpreter=_without_namespaces(tmp_path)) as sandbox:
        assert parts(await sandbox.check())[:1] == ["landlock"]
        assert passed(await sandbox.run(HARMLESS)) == (True, True)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, for candidates to be somebody else")
async def test_an_interpreter_that_candidates_could_not_read_is_refused():
    if not _is_hidden(Path(sys.executable)):
        pytest.skip("this interpreter can be read by every user")
    with pytest.raises(SandboxUnavailable, match="use an interpreter whose folder every user can read"):
        await ProcessSandbox(workers=1, tier="landlock").check()


def _is_hidden(path: Path) -> bool:
    return any(parent.stat().st_mode & 0o001 == 0 for parent in path.resolve().parents)


async def test_unsafe_is_told_in_every_result():
    async with ProcessSandbox(workers=1, interpreter=SYSTEM_PYTHON, tier="unsafe") as sandbox:
        assert (await sandbox.check()).split("+")[0] == "unsafe"
        assert (await sandbox.run(HARMLESS)).tier == sandbox.tier


async def test_an_interpreter_that_the_other_user_cannot_read_works_where_it_can_be_mounted(sandbox: ProcessSandbox):
    assert parts(await sandbox.check())[:2] == (["namespaces", "uid"] if os.geteuid() == 0 else ["namespaces"])
