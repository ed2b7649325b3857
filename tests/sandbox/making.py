"""Jobs and results, short to write."""

import os
from pathlib import Path

from protocols.ports import Job, JobResult, Limits
from protocols.records import AssertTest, StdioTest, TestOutcome
from sandbox.groups import find_roots
from sandbox.process import ProcessSandbox

QUICK = Limits(cpu_s=2.0, wall_s=6.0)


def function_job(code: str, *tests: str, entry_point: str | None = "f", setup: str = "", limits: Limits = QUICK) -> Job:
    return Job(
        code=code,
        tests=tuple(AssertTest(code=test) for test in tests),
        entry_point=entry_point,
        setup=setup,
        limits=limits,
    )


def program_job(code: str, *cases: tuple[str, str], limits: Limits = QUICK) -> Job:
    return Job(code=code, tests=tuple(StdioTest(stdin=given, stdout=wanted) for given, wanted in cases), limits=limits)


async def outcome_of(sandbox: ProcessSandbox, job: Job) -> TestOutcome:
    result = await sandbox.run(job)
    assert len(result.outcomes) == 1
    return result.outcomes[0]


def passed(result: JobResult) -> tuple[bool, ...]:
    return tuple(outcome.passed for outcome in result.outcomes)


def processes_with(marker: str) -> list[int]:
    """Numbers of the living processes that have `marker` in their environment."""
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                environment = (entry / "environ").read_bytes()
            except OSError:
                continue
            if marker.encode() in environment:
                found.append(int(entry.name))
    return found


def groups_of_this_process() -> set[Path]:
    """Control groups of this process's slots."""
    roots = find_roots()
    folders = {folder for root in (roots.memory, roots.pids) if root for folder in root.iterdir()}
    return {folder for folder in folders if folder.name.startswith(f"refine-sandbox-{os.getpid()}-")}
