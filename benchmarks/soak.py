"""`soak`: 200,000 runs of the mix in one process: whether memory, descriptors, processes or mounts grow.

The mix of the `sandbox` benchmark, and in each stretch of about 2,000 runs a few programs more: one that writes files,
one that leaves a thread behind, one with standard input, one with a test that runs in a slot of its own, and one that
is killed for a forbidden system call, so that its slot is replaced. Endless programs get a tenth of a second of CPU
time, so that the whole ends in reasonable time; wall time is generous, for the machine need not be quiet: no speed is
measured here. `SOAK_RUNS=10000 python -m benchmarks soak` makes it shorter.

After each stretch, with nothing under way, everything that might grow is counted: of this process, of all processes
below it (whoever is orphaned comes below it again), and of the machine what belongs to the candidates' users.

Not measured: the kernel's own memory.
"""

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import trio

from benchmarks.report import Goal, Row, at_most, machine, publish, row
from benchmarks.sandbox import Program, assert_tests, mix
from protocols.ports import Job, Limits
from protocols.records import AssertTest, StdioTest
from sandbox.groups import find_roots
from sandbox.inside.system import CHILD_SUBREAPER, control_process
from sandbox.process import ProcessSandbox

RUNS = int(os.environ.get("SOAK_RUNS", "200000"))
STRETCH = 2000
WORKERS = 2
STRETCHES_IN_ROW = max(1, RUNS // STRETCH // 10)
ALLOWED_MIB = 2.0
_ENDLESS = Limits(cpu_s=0.1, wall_s=10.0)
_USUAL = Limits(cpu_s=1.0, wall_s=10.0)
_PAGE_MIB = os.sysconf("SC_PAGE_SIZE") / (1 << 20)

FILES = "def f(x):\n    for n in range(20):\n        open(f'f{n}', 'w').write('x' * 9999)\n    return x"
THREAD = "import threading, time\ndef f(x):\n    threading.Thread(target=time.sleep, args=(60,)).start()\n    return x"
READER = "print(sum(map(int, open(0))))"
MESSENGER = "def f(x):\n    return [x]"
FORBIDDEN = "import ctypes\ndef f(x):\n    ctypes.CDLL(None).ptrace(0, 0, 0, 0)\n    return x"


def extras() -> list[Job]:
    """Return what each stretch has besides the mix."""
    test = AssertTest(code="assert f(1) == 1")
    return [
        *(Job(code=code, tests=(test, test), entry_point="f", limits=_USUAL) for code in (FILES, THREAD) * 4),
        *[Job(code=READER, tests=(StdioTest(stdin="1\n2\n", stdout="3\n"),), limits=_USUAL)] * 4,
        *[Job(code=MESSENGER, tests=(AssertTest(code="y = f(1)\nassert y"),), entry_point="f", limits=_USUAL)] * 4,
        Job(code=FORBIDDEN, tests=(test,), entry_point="f", limits=_USUAL),
    ]


def stretch() -> list[Job]:
    """Return about `STRETCH` jobs."""
    jobs = [_job(one) for one in mix()]
    return jobs * (STRETCH // len(jobs)) + extras()


def _job(one: Program) -> Job:
    limits = _ENDLESS if "while True" in one["code"] else _USUAL
    return Job(code=one["code"], tests=assert_tests(one), entry_point=one["entry_point"], limits=limits)


class Verdicts:
    """What came of each program the first time, and how often something else came later."""

    def __init__(self) -> None:
        self.changed = 0
        self._first: dict[tuple[str, tuple[object, ...]], str | None] = {}

    def note(self, job: Job, error_class: str | None) -> None:
        """Take in what came of `job`."""
        first = self._first.setdefault((job.code, job.tests), error_class)
        if first != error_class:
            self.changed += 1
            print(f"{first} became {error_class}:\n{job.code}", file=sys.stderr)


@dataclass(frozen=True)
class Process:
    """One of the processes below this one."""

    number: int
    parent: int
    user: int
    resident_mib: float


class Counted:
    """What is counted after each stretch.

    Args:
        scratch: the folder in which slots make theirs.
    """

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._users: set[int] = set()

    def measure(self) -> dict[str, float]:
        """Return every figure by its name, memory in MiB."""
        below = processes_below(os.getpid())
        self._users |= {one.user for one in below} - {os.geteuid()}
        return {
            "resident memory of the orchestrator": _resident_mib(os.getpid()),
            "resident memory of the largest process of a slot": max((one.resident_mib for one in below), default=0.0),
            "descriptors of the orchestrator": _entries(Path("/proc/self/fd")),
            "descriptors of its processes": sum(_entries(Path(f"/proc/{one.number}/fd")) for one in below),
            "processes": len(below),
            "mounts of the orchestrator": _lines(Path("/proc/self/mountinfo")),
            "mounts of its processes": sum(_lines(Path(f"/proc/{one.number}/mountinfo")) for one in below),
            "shared-memory segments": self._segments(),
            "scratch folders": _entries(self._scratch),
            "control groups": len(_groups()),
        }

    def _segments(self) -> int:
        """Return the candidates' own, of both kinds."""
        lines = Path("/proc/sysvipc/shm").read_text(encoding="ascii").splitlines()[1:]
        files = [entry.stat(follow_symlinks=False).st_uid for entry in os.scandir("/dev/shm")]
        return sum(user in self._users for user in (*(int(line.split()[7]) for line in lines), *files))


def processes_below(number: int) -> list[Process]:
    """Return the living descendants of a process."""
    everyone = {one.number: one for one in _processes()}
    found: list[Process] = []
    parents = {number}
    while level := [one for one in everyone.values() if one.parent in parents]:
        found += level
        parents = {one.number for one in level}
    return found


def _processes() -> Iterator[Process]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
                yield Process(int(entry.name), int(fields[1]), entry.stat().st_uid, int(fields[21]) * _PAGE_MIB)


def _resident_mib(number: int) -> float:
    return int(Path(f"/proc/{number}/statm").read_text(encoding="ascii").split()[1]) * _PAGE_MIB


def _entries(folder: Path) -> int:
    try:
        return len(os.listdir(folder))
    except OSError:  # it has ended, or is somebody else's
        return 0


def _lines(file: Path) -> int:
    try:
        return file.read_text().count("\n")
    except OSError:
        return 0


def _groups() -> set[Path]:
    roots = find_roots()
    folders = (folder for root in (roots.memory, roots.pids) if root for folder in root.iterdir())
    return {folder for folder in folders if folder.name.startswith(f"refine-sandbox-{os.getpid()}-")}


async def soak(scratch: Path, tell: Callable[[int, dict[str, float]], None]) -> tuple[list[dict[str, float]], int]:
    """Run it all; return what was counted after each stretch and, last, after the end; and the changed verdicts."""
    control_process(CHILD_SUBREAPER, 1)
    counted, verdicts = Counted(scratch), Verdicts()
    figures: list[dict[str, float]] = []
    async with ProcessSandbox(WORKERS, scratch_folder=scratch) as sandbox:
        await sandbox.check()
        done = 0
        while done < RUNS:
            jobs = stretch()
            await _run_all(sandbox, jobs, verdicts)
            done += len(jobs)
            figures.append(counted.measure())
            tell(done, figures[-1])
    return [*figures, counted.measure()], verdicts.changed


async def _run_all(sandbox: ProcessSandbox, jobs: list[Job], verdicts: Verdicts) -> None:
    places = count()

    async def keep_busy() -> None:
        while (place := next(places)) < len(jobs):
            verdicts.note(jobs[place], (await sandbox.run(jobs[place])).error_class)

    async with trio.open_nursery() as nursery:
        for _ in range(2 * WORKERS):
            nursery.start_soon(keep_busy)


def rows_of(figures: list[dict[str, float]]) -> list[Row]:
    """Return what was counted, ten rows for each figure."""
    return [
        row("ours", f"{name}, after {(at + 1) * STRETCH} runs on", "MiB" if "memory of" in name else "", values)
        for name in figures[0]
        for at in range(0, len(figures), STRETCHES_IN_ROW)
        if (values := [one[name] for one in figures[at : at + STRETCHES_IN_ROW]])
    ]


def targets_of(figures: list[dict[str, float]], left: dict[str, float], changed: int) -> list[Goal]:
    """Compare the last tenth of the run with its second, the first being for warming up; and see what is left."""
    early, late = figures[STRETCHES_IN_ROW : 2 * STRETCHES_IN_ROW] or figures[:1], figures[-STRETCHES_IN_ROW:]
    growth = {name: max(one[name] for one in late) - max(one[name] for one in early) for name in left}
    return [
        *(
            at_most(f"growth of {name}", ALLOWED_MIB if "memory of" in name else 0, more)
            for name, more in growth.items()
        ),
        *(
            at_most(f"{name} left at the end", 0, left[name])
            for name in ("processes", "shared-memory segments", "scratch folders", "control groups")
        ),
        at_most("verdicts unlike the first one of the same program", 0, changed),
    ]


def main() -> None:
    on = machine()

    def tell(done: int, figures: dict[str, float]) -> None:
        print(f"{done:>7} runs: " + ", ".join(f"{value:.4g} {name}" for name, value in figures.items()), flush=True)

    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        os.chmod(folder, 0o755)
        (*figures, left), changed = trio.run(soak, Path(folder), tell)
    settings = {"runs": len(figures) * len(stretch()), "workers": WORKERS, "endless_cpu_s": _ENDLESS.cpu_s}
    goals = targets_of(figures, left, changed)
    publish("soak", on=on, with_versions={}, settings=settings, rows=rows_of(figures), targets=goals)
