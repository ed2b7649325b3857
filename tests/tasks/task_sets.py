"""The project's own task sets as its loader gives them, and what the tests of this folder do with them."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import trio

from evals.datasets import load_tasks
from protocols.ports import Job, JobResult, Limits
from protocols.records import Task
from sandbox.process import ProcessSandbox

FOLDER = Path(__file__).parents[2] / "tasks"
SPLITS = ("train", "gate", "held_out")
_WORKERS = 2
_DEADLINE_S = 900.0
_WRONG_LIMITS = Limits(cpu_s=1.0)
"""Wrong answers may loop for ever: a fourth of what a right answer may take, and no more."""


@cache
def tasks_of(split: str) -> tuple[Task, ...]:
    return load_tasks(str(FOLDER / f"{split}.jsonl"))


def all_tasks() -> tuple[Task, ...]:
    return tuple(task for split in SPLITS for task in tasks_of(split))


def reference_of(task: Task) -> str:
    assert task.reference is not None
    return task.reference


async def run_references(tasks: Sequence[Task]) -> list[JobResult]:
    return await _run([_job(task, reference_of(task), Limits()) for task in tasks])


async def run_wrong_answers(answers: Sequence[tuple[Task, str]]) -> list[JobResult]:
    return await _run([_job(task, code, _WRONG_LIMITS) for task, code in answers])


def _job(task: Task, code: str, limits: Limits) -> Job:
    return Job(code=code, tests=task.tests, entry_point=task.entry_point, setup=task.setup, limits=limits)


async def _run(jobs: Sequence[Job]) -> list[JobResult]:
    results: dict[int, JobResult] = {}

    async def run_one(index: int, job: Job) -> None:
        results[index] = await sandbox.run(job)

    with trio.fail_after(_DEADLINE_S):
        async with ProcessSandbox(workers=_WORKERS) as sandbox, trio.open_nursery() as nursery:
            for index, job in enumerate(jobs):
                nursery.start_soon(run_one, index, job)
    return [results[index] for index in range(len(jobs))]
