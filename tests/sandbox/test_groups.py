"""Control groups: where they are made, and that they hold."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from protocols.ports import Limits
from sandbox.groups import GroupRoots, SlotGroups, find_roots
from sandbox.process import ProcessSandbox
from tests.sandbox.making import function_job, groups_of_this_process, outcome_of


def test_version_1_has_a_folder_for_each(tmp_path: Path):
    for folder in ("memory/mine", "pids"):
        (tmp_path / folder).mkdir(parents=True)
    membership = tmp_path / "membership"
    membership.write_text("8:pids:/\n4:memory:/mine\n0::/\n")
    assert find_roots(tmp_path, membership) == GroupRoots(tmp_path / "memory" / "mine", tmp_path / "pids", False)


def test_version_2_has_one(tmp_path: Path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "cgroup.subtree_control").write_text("cpu memory pids\n")
    membership = tmp_path / "membership"
    membership.write_text("0::/mine\n")
    both = tmp_path / "mine"
    assert find_roots(tmp_path, membership) == GroupRoots(both, both, True)


def test_version_2_without_the_controllers_is_asked_for_them(tmp_path: Path):
    (tmp_path / "cgroup.subtree_control").write_text("cpu\n")
    membership = tmp_path / "membership"
    membership.write_text("0::/\n")
    assert find_roots(tmp_path, membership).unified
    assert (tmp_path / "cgroup.subtree_control").read_text() == "+memory +pids"


@pytest.fixture
def group_of_version_2(tmp_path: Path) -> Iterator[Path]:
    """A new group that may be arranged."""
    roots = find_roots()
    if not roots.unified or roots.memory is None:
        pytest.skip("needs a group of version 2 that this process may arrange")
    folder = roots.memory / f"{tmp_path.name}-{os.getpid()}"
    folder.mkdir()
    yield folder
    folder.rmdir()


def _python_in(group: Path, code: str, *arguments: str) -> str:
    """Run `code` in a process of its own in `group` and return what it prints."""
    enter = f"import os; open('{group}/cgroup.procs', 'w').write(str(os.getpid()))"
    command = [sys.executable, "-c", f"{enter}\n{code}", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


_ASK = "from sandbox.groups import find_roots\nprint(find_roots().memory, find_roots().memory)"


def test_a_process_that_is_alone_in_a_group_of_version_2_makes_room_for_others(
    group_of_version_2: Path, tmp_path: Path
):
    assert _python_in(group_of_version_2, _ASK).split() == [str(group_of_version_2)] * 2
    membership = tmp_path / "membership"
    membership.write_text(f"0::/{group_of_version_2.relative_to('/sys/fs/cgroup')}\n")
    find_roots(membership=membership)
    assert list(group_of_version_2.glob("refine-sandbox-*")) == [], "what it left is removed by the next"


def test_a_process_beside_others_in_a_group_of_version_2_stays_there(group_of_version_2: Path):
    beside = "import subprocess, sys\nsubprocess.run([sys.executable, '-c', sys.argv[1]], check=True)"
    assert _python_in(group_of_version_2, beside, _ASK).split() == ["None", "None"]
    assert list(group_of_version_2.glob("refine-sandbox-*")) == []


def test_without_any_there_are_none(tmp_path: Path):
    assert find_roots(tmp_path, tmp_path / "missing") == GroupRoots(None, None, False)


def test_what_a_killed_orchestrator_left_is_removed(tmp_path: Path):
    (tmp_path / "pids" / "refine-sandbox-999999999-0").mkdir(parents=True)
    kept = tmp_path / "pids" / f"refine-sandbox-{os.getpid()}-0"
    kept.mkdir()
    membership = tmp_path / "membership"
    membership.write_text("8:pids:/\n")
    find_roots(tmp_path, membership)
    assert list((tmp_path / "pids").iterdir()) == [kept]


def test_a_kill_for_memory_is_told_once(tmp_path: Path):
    groups = SlotGroups(GroupRoots(tmp_path, None, False), 1 << 20, 1)
    folder = Path(groups.folders()[0][0])
    folder.mkdir()
    (folder / "memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 1\n")
    assert [groups.ran_out_of_memory(), groups.ran_out_of_memory()] == [True, False]


async def test_memory_in_use_is_limited_where_no_single_process_holds_too_much(sandbox: ProcessSandbox):
    await sandbox.check()
    if "cgroup" not in sandbox.tier.split("+"):
        pytest.skip(f"this machine gives {sandbox.tier}")
    # A file in the scratch folder is memory that no address space holds.
    code = (
        "def f(x):\n    held = bytearray(b'x') * (100 << 20)\n"
        "    for n in range(110):\n        with open(str(n), 'wb') as file: file.write(bytes(1 << 20))\n    return 2"
    )
    async with ProcessSandbox(workers=1, scratch_bytes=128 << 20) as roomy:
        limits = Limits(memory_bytes=128 << 20, wall_s=6.0)
        assert (await outcome_of(roomy, function_job(code, "assert f(1) == 2", limits=limits))).error_class == "memory"
        assert (await outcome_of(roomy, function_job(code, "assert f(1) == 2"))).passed


async def test_no_group_is_left():
    before = groups_of_this_process()
    async with ProcessSandbox(workers=1) as one:
        await one.check()
        if "cgroup" not in one.tier.split("+"):
            pytest.skip(f"this machine gives {one.tier}")
        assert len(groups_of_this_process() - before) in (1, 2)
    assert groups_of_this_process() <= before
