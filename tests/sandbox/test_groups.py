"""Control groups: where they are made, and that they hold."""

import os
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
