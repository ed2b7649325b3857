"""Control groups, where this process may make some: the memory that a slot really uses, and its number of processes.

Both versions, below the group that this process is in, so that whatever limits that one still holds. The folders are
made and removed by the slot's host (`sandbox.inside.groups`); limits that change from job to job are written from here.

A group of version 2 that limits others below it must not hold a process itself: where this process is alone in a group
that is its own to arrange, it moves into one below it and stays there.
Source: https://docs.kernel.org/admin-guide/cgroup-v2.html, "No Internal Process Constraint".
"""

import errno
import os
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
_PREFIX = "refine-sandbox-"
_ZYGOTE_BYTES = 64 << 20
"""What the zygote itself may use on top of a run's memory."""
_SPARE_PROCESSES = 4
_numbers = count()


@dataclass(frozen=True)
class GroupRoots:
    """Folders below which groups can be made; None where there is none."""

    memory: Path | None
    pids: Path | None
    unified: bool
    """Whether both are the same folder of version 2."""


def find_roots(root: Path = _ROOT, membership: Path = Path("/proc/self/cgroup")) -> GroupRoots:
    """Return where this process may make groups. Leftovers of orchestrators that were killed are removed there."""
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return GroupRoots(None, None, False)
    places = {names: path for _, names, path in (line.split(":", 2) for line in lines)}
    memory, pids = (_version_1(root, places, name) for name in ("memory", "pids"))
    if memory is None and pids is None and "" in places:
        both = _version_2(root / places[""].lstrip("/"))
        return GroupRoots(both, both, True)
    return GroupRoots(memory, pids, False)


def _version_1(root: Path, places: dict[str, str], controller: str) -> Path | None:
    for names, path in places.items():
        if controller in names.split(","):
            return _usable(root / names / path.lstrip("/"))
    return None


def _version_2(folder: Path) -> Path | None:
    above = folder.parent if folder.name == _own_name() else folder
    with suppress(OSError):
        control = above / "cgroup.subtree_control"
        if not {"memory", "pids"} <= set(control.read_text().split()):
            _pass_on(control)
        return _usable(above)
    return None


def _pass_on(control: Path) -> None:
    """Let groups below have limits, from a group below where that is needed."""
    try:
        control.write_text("+memory +pids")
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        below = control.parent / _own_name()
        below.mkdir()
        _move_to(below)
        try:
            control.write_text("+memory +pids")
        except OSError:  # somebody else is in it
            _move_to(control.parent)
            below.rmdir()
            raise


def _own_name() -> str:
    return f"{_PREFIX}{os.getpid()}-orchestrator"


def _move_to(folder: Path) -> None:
    (folder / "cgroup.procs").write_text(str(os.getpid()))


def _usable(folder: Path) -> Path | None:
    if not os.access(folder, os.W_OK):
        return None
    for left in folder.glob(f"{_PREFIX}*"):
        number = left.name.removeprefix(_PREFIX).split("-")[0]
        if not Path("/proc", number).exists():
            with suppress(OSError):
                left.rmdir()
    return folder


class SlotGroups:
    """The groups of one slot.

    Args:
        roots: where to make them.
        memory_bytes: of a run, at first.
        threads: of a run.
    """

    def __init__(self, roots: GroupRoots, memory_bytes: int, threads: int) -> None:
        name = f"{_PREFIX}{os.getpid()}-{next(_numbers)}"
        self._memory = roots.memory / name if roots.memory is not None else None
        self._pids = roots.pids / name if roots.pids is not None else None
        self._unified = roots.unified
        self._limit = memory_bytes
        self._threads = threads
        self._kills = 0

    def folders(self) -> list[tuple[str, dict[str, str]]]:
        """Return the folders to make, each with its limits, as the slot's host takes them."""
        pids = {"pids.max": str(self._threads + _SPARE_PROCESSES)}
        memory = {self._memory_file: str(self._limit + _ZYGOTE_BYTES)}
        if self._unified:
            return [] if self._memory is None else [(str(self._memory), memory | pids)]
        return [(str(folder), limits) for folder, limits in ((self._memory, memory), (self._pids, pids)) if folder]

    @property
    def _memory_file(self) -> str:
        return "memory.max" if self._unified else "memory.limit_in_bytes"

    def adapt(self, memory_bytes: int, threads: int) -> None:
        """Let the next run use so much."""
        if memory_bytes != self._limit and self._memory is not None:
            with suppress(OSError):
                (self._memory / self._memory_file).write_text(str(memory_bytes + _ZYGOTE_BYTES))
        if threads != self._threads and self._pids is not None:
            with suppress(OSError):
                (self._pids / "pids.max").write_text(str(threads + _SPARE_PROCESSES))
        self._limit, self._threads = memory_bytes, threads

    def remove(self) -> None:
        """Remove what the slot's host could not, because it had given up its rights; its processes have ended."""
        for folder in {self._memory, self._pids}:
            if folder is not None:
                with suppress(OSError):
                    folder.rmdir()

    def ran_out_of_memory(self) -> bool:
        """Whether the kernel has killed a process of the slot for its memory since this was last asked."""
        kills = self._count_kills()
        more, self._kills = kills > self._kills, kills
        return more

    def _count_kills(self) -> int:
        if self._memory is None:
            return 0
        file = "memory.events" if self._unified else "memory.oom_control"
        try:
            words = (self._memory / file).read_text().split()
        except OSError:
            return 0
        return int(words[words.index("oom_kill") + 1]) if "oom_kill" in words else 0
