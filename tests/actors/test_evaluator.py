"""The evaluator: the same draws for every version, and one evaluation for each version and purpose."""

from functools import partial
from typing import Any

import pytest
import trio

from actors.evaluator import Evaluator, Sample
from actors.executor import Executor
from actors.fake import ScriptedPolicy
from evals.evaluation import make_evaluation
from ledger.memory import MemoryLedger
from protocols.errors import EndpointBroken
from protocols.records import EvaluatedTask, Evaluation, Execution, Task
from tests.actors.parts import (
    LIMITS,
    base_version,
    fenced,
    good,
    half,
    honest_sandbox,
    make_task,
    make_version,
    raise_error,
    scripted_policy,
    wrong,
)

TASKS = tuple(make_task(number) for number in (1, 2, 3))


def make_evaluator(policy: ScriptedPolicy, ledger: MemoryLedger, concurrency: int = 2, **others: Any) -> Evaluator:
    executor = Executor(honest_sandbox(), ledger, limits=LIMITS, references="anchor")
    assess = partial(make_evaluation, ks=(1, 2), seed=0)
    return Evaluator(
        policy, executor, ledger, assess, top_p=0.9, max_tokens=99, concurrency=concurrency, seed=5, **others
    )


async def evaluate(evaluator: Evaluator, **changes: Any) -> Evaluation:
    arguments: dict[str, Any] = {
        "version": base_version(),
        "tasks": TASKS,
        "purpose": "gate",
        "round": 0,
        "samples": 4,
        "temperature": 0.2,
        "staged": False,
    }
    arguments |= changes
    return await evaluator.evaluate(arguments.pop("version"), arguments.pop("tasks"), **arguments)


def mixed(number: int, version: int) -> list[str]:
    return {
        1: [fenced(good(1))],
        2: [fenced(good(2)), fenced(half(2)), "no code", fenced("def f2(:")],
        3: [fenced(wrong(3))],
    }[number]


async def test_it_counts_what_passes_and_what_could_be_run() -> None:
    ledger = MemoryLedger()
    evaluation = await evaluate(make_evaluator(scripted_policy(mixed), ledger))
    assert [(one.task_id, one.samples, one.correct) for one in evaluation.results] == [
        ("task1", 4, 4),
        ("task2", 4, 1),
        ("task3", 4, 0),
    ]
    assert evaluation.pass_at_1 == pytest.approx((1 + 0.25 + 0) / 3)
    assert evaluation.executable_share == pytest.approx(10 / 12)
    assert await ledger.find(Evaluation) == (evaluation,)
    assert await ledger.find(Execution) == ()


async def test_each_tasks_record_tells_how_its_answers_failed() -> None:
    ledger = MemoryLedger()
    await evaluate(make_evaluator(scripted_policy(mixed), ledger))
    records = {record.task_id: record for record in await ledger.find(EvaluatedTask)}
    assert records["task1"].mistakes == {}
    assert sum(records["task2"].mistakes.values()) == 3
    assert records["task2"].mistakes["missing_entry_point"] == 1
    assert sum(records["task3"].mistakes.values()) == 4


async def test_what_is_measured_is_what_was_read_and_every_task_is_shown_once() -> None:
    seen: dict[str, list[bool]] = {}

    def observe(task: Task, samples: tuple[Sample, ...]) -> None:
        assert task.id not in seen
        seen[task.id] = [sample.solved for sample in samples]

    evaluator = make_evaluator(
        scripted_policy(mixed),
        MemoryLedger(),
        read=lambda text, task: good(int(task.id.removeprefix("task"))) if "```" in text else None,
        observe=observe,
    )
    assert (await evaluate(evaluator)).pass_at_1 == pytest.approx((1 + 0.75 + 1) / 3)
    assert seen == {"task1": [True] * 4, "task2": [True, True, False, True], "task3": [True] * 4}


async def test_what_is_on_record_is_not_asked_for_again() -> None:
    ledger = MemoryLedger()
    first = await evaluate(make_evaluator(scripted_policy(mixed), ledger))
    silent = make_evaluator(ScriptedPolicy(raise_error(AssertionError("asked")), base_version()), ledger)
    assert await evaluate(silent) == first
    assert await evaluate(silent, round=5) == first


async def test_purposes_and_versions_are_evaluated_each_by_itself() -> None:
    ledger = MemoryLedger()
    policy = scripted_policy(mixed)
    evaluator = make_evaluator(policy, ledger)
    await evaluate(evaluator)
    await evaluate(evaluator, purpose="held_out")
    await evaluate(evaluator, version=make_version(1))
    assert len({record.id for record in await ledger.find(Evaluation)}) == 3


async def test_a_staged_version_is_asked_as_such() -> None:
    policy = scripted_policy(mixed, in_place=True)
    trial = make_version(1)
    await policy.stage(trial)
    with trio.fail_after(5):
        evaluation = await evaluate(make_evaluator(policy, MemoryLedger()), version=trial, staged=True)
    assert evaluation.version == 1
    assert {version for version, _ in policy.requests} == {1}


async def test_every_version_gets_the_same_draws() -> None:
    policy = scripted_policy(mixed)
    evaluator = make_evaluator(policy, MemoryLedger())
    await evaluate(evaluator)
    await evaluate(evaluator, version=make_version(1))
    requests = [(request.messages, request.seed) for _, request in policy.requests]
    assert sorted(requests[:3], key=repr) == sorted(requests[3:], key=repr)
    assert len({seed for _, seed in requests}) == 3


async def test_a_temperature_of_zero_needs_one_answer() -> None:
    policy = scripted_policy(mixed)
    evaluation = await evaluate(make_evaluator(policy, MemoryLedger()), temperature=0.0)
    assert {(request.n, request.top_p) for _, request in policy.requests} == {(1, 1.0)}
    assert evaluation.pass_at_1 == pytest.approx(2 / 3)


async def test_it_tells_how_far_it_is() -> None:
    told: list[tuple[int, int]] = []
    evaluator = make_evaluator(scripted_policy(mixed), MemoryLedger())

    def tell(done: int, of: int) -> None:
        told.append((done, of))

    await evaluate(evaluator, progress=tell)
    assert told[-1] == (3, 3)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


async def test_an_endpoint_that_fails_leaves_no_evaluation() -> None:
    ledger = MemoryLedger()
    policy = ScriptedPolicy(raise_error(EndpointBroken("down")), base_version())
    with pytest.raises(ExceptionGroup):
        await evaluate(make_evaluator(policy, ledger))
    assert await ledger.find(Evaluation) == ()


async def test_an_evaluation_that_was_cut_off_asks_only_for_what_is_missing() -> None:
    ledger = MemoryLedger()
    whole = await evaluate(make_evaluator(scripted_policy(mixed), MemoryLedger()))
    answered: list[int] = []

    def failing_at_the_third(number: int, version: int) -> list[str]:
        if len(answered) == 2:
            raise EndpointBroken("down")
        answered.append(number)
        return mixed(number, version)

    with pytest.raises(ExceptionGroup):
        await evaluate(make_evaluator(scripted_policy(failing_at_the_third), ledger, concurrency=1))
    again = scripted_policy(mixed)
    evaluation = await evaluate(make_evaluator(again, ledger))
    assert len(again.requests) == 1
    assert evaluation.results == whole.results
    assert evaluation.prompt_tokens == whole.prompt_tokens
