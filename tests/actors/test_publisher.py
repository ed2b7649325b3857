"""The Publisher fails closed: whatever goes wrong before the promotion, the version before is served again."""

import math
from collections.abc import Callable, Sequence
from functools import partial

import msgspec
import pytest
import trio

from actors.board import RoundBoard
from actors.evaluator import Evaluator
from actors.executor import Executor
from actors.failures import first
from actors.fake import ScriptedPolicy, log_probabilities_of
from actors.messages import RoundClosed
from actors.publisher import Publisher, PublishingRule
from actors.trainer import TrainerOutput
from evals.evaluation import make_evaluation
from evals.gate import gate
from ledger.memory import MemoryLedger
from protocols.errors import EndpointBroken, EndpointError, PublishError, RunPaused
from protocols.ports import ChatRequest
from protocols.records import (
    Evaluation,
    LedgerRecord,
    PolicyVersion,
    Probe,
    Quarantined,
    RoundSettled,
    TaskResult,
    TrainingReport,
)
from tests.actors.parts import (
    LIMITS,
    BrittleLedger,
    Fault,
    base_version,
    fenced,
    good,
    half,
    honest_sandbox,
    make_report,
    make_task,
    make_version,
    number_in,
    raise_error,
)

GATE = tuple(make_task(number) for number in range(10, 14))
HELD_OUT = tuple(make_task(number) for number in range(20, 22))
RULE = PublishingRule(
    canary_tolerance=0.05,
    gate_samples=2,
    gate_temperature=0.2,
    rejections=3,
    held_out_samples=2,
    held_out_temperature=0.2,
)
Numbers = Callable[[int, Sequence[int]], tuple[float, ...]]


def improving(request: ChatRequest, version: int) -> list[str]:
    number = number_in(request)
    return [fenced(good(number))] if version > 0 else [fenced(good(number)), fenced(half(number))]


def worsening(request: ChatRequest, version: int) -> list[str]:
    number = number_in(request)
    return [fenced(half(number) if version > 0 else good(number))]


class Bench:
    """A Publisher with an `in_place` policy: asked for the current version during a trial, it would hang."""

    def __init__(
        self,
        script: Callable[[ChatRequest, int], Sequence[str]] = improving,
        ledger: MemoryLedger | None = None,
        *,
        numbers: Numbers = log_probabilities_of,
        current: PolicyVersion | None = None,
    ) -> None:
        self.ledger = ledger or MemoryLedger()
        self.policy = ScriptedPolicy(script, current or base_version(), in_place=True, numbers=numbers)
        self.board = RoundBoard()
        self.into, inbox = trio.open_memory_channel[TrainerOutput](10)
        executor = Executor(honest_sandbox(), self.ledger, limits=LIMITS, references="anchor")
        assess = partial(make_evaluation, ks=(1,), seed=0)
        evaluator = Evaluator(
            self.policy, executor, self.ledger, assess, top_p=0.9, max_tokens=9, concurrency=2, seed=0
        )
        self.publisher = Publisher(
            self.policy,
            evaluator,
            partial(gate, tolerance=0.05, confidence=0.95, seed=0),
            self.ledger,
            self.board,
            inbox,
            GATE,
            HELD_OUT,
            RULE,
        )

    async def publish(self, *items: TrainerOutput) -> None:
        await self.feed(*items)
        await self.run()

    async def feed(self, *items: TrainerOutput) -> None:
        for item in items:
            await self.into.send(item)
        self.into.close()

    async def run(self) -> None:
        with trio.fail_after(30):
            await self.publisher.run()

    async def version(self, number: int = 1) -> PolicyVersion:
        (found,) = [version for version in await self.ledger.find(PolicyVersion) if version.number == number]
        return found

    def served_as_before(self) -> bool:
        return self.policy.current.number == 0 and self.policy.staged is None


async def refused(bench: Bench, report: TrainingReport | None = None) -> PolicyVersion:
    """Publish, and return the version, which must have been refused and taken back."""
    report = report or make_report(1)
    await bench.publish(report, RoundClosed(round=0))
    assert bench.served_as_before()
    (record,) = await bench.ledger.find(Quarantined)
    version = await bench.version()
    assert (record.stage, record.subject_id, record.reason) == ("publisher", report.id, version.reason)
    (settled,) = await bench.ledger.find(RoundSettled)
    assert settled.version == 0
    return version


async def test_a_good_version_is_promoted() -> None:
    bench = Bench()
    await bench.publish(make_report(1))
    version = await bench.version()
    assert (version.state, version.parent, version.name) == ("promoted", 0, "v0001-abc")
    assert version.canary == 0.0
    assert "gate pass@1 0.500 -> 1.000" in version.reason
    assert bench.policy.events == [("stage", 1), ("promote", 1)]
    assert bench.policy.current == version
    assert await bench.ledger.find(Quarantined) == ()


async def test_base_and_promoted_versions_are_measured_on_gate_and_held_out_tasks() -> None:
    bench = Bench()
    await bench.publish(make_report(1))
    found = {(one.version, one.purpose): one.pass_at_1 for one in await bench.ledger.find(Evaluation)}
    assert found == {(0, "gate"): 0.5, (0, "held_out"): 0.5, (1, "gate"): 1.0, (1, "held_out"): 1.0}
    assert bench.publisher.statistics().pass_at_1 == 1.0
    assert bench.publisher.statistics().version == 1


async def test_the_ledger_knows_of_a_promotion_before_the_pointer_moves() -> None:
    bench = Bench()
    bench.policy.failures["promote"].append(PublishError("server gone"))
    await bench.feed(make_report(1))
    with pytest.raises(PublishError):
        await bench.run()
    assert (await bench.version()).state == "promoted"
    assert bench.served_as_before()
    asked = len(bench.policy.requests)
    await bench.run()  # as the supervisor does
    assert bench.policy.current.number == 1
    assert await bench.ledger.find(Quarantined) == ()
    assert len(bench.policy.requests) == asked + len(HELD_OUT)


async def test_a_replica_that_does_not_take_it_fails_the_version() -> None:
    bench = Bench()
    bench.policy.failures["stage"].append(PublishError("replica b is out of memory"))
    version = await refused(bench)
    assert (version.state, version.reason) == ("failed", "replica b is out of memory")
    assert bench.policy.events == []


async def test_the_canary_refuses_numbers_that_are_not_the_trained_ones() -> None:
    def off(version: int, tokens: Sequence[int]) -> tuple[float, ...]:
        return tuple(n - 0.3 * version for n in log_probabilities_of(version, tokens))

    version = await refused(Bench(numbers=off))
    assert version.state == "failed"
    assert version.reason.startswith("canary: ")
    assert version.canary == pytest.approx(0.3)


async def test_the_canary_refuses_numbers_that_are_none() -> None:
    def broken(version: int, tokens: Sequence[int]) -> tuple[float, ...]:
        return tuple(math.nan if version else n for n in log_probabilities_of(version, tokens))

    assert (await refused(Bench(numbers=broken))).state == "failed"


async def test_the_canary_refuses_weights_that_are_still_the_old_ones() -> None:
    bench = Bench(numbers=lambda version, tokens: log_probabilities_of(0, tokens))
    near = tuple(
        Probe(token_ids=probe.token_ids, log_probabilities=tuple(n - 0.01 for n in probe.log_probabilities))
        for probe in base_version().probes
    )
    report = msgspec.structs.replace(make_report(1), probes=near)
    version = await refused(bench, report)
    assert "not in use" in version.reason


async def test_a_version_that_the_canary_refuses_never_answers_a_gate_task() -> None:
    bench = Bench(numbers=lambda version, tokens: log_probabilities_of(0, tokens))
    await bench.publish(make_report(1))
    assert {version for version, _ in bench.policy.requests} == {0}


async def test_the_gate_rejects_a_version_that_got_worse() -> None:
    bench = Bench(worsening)
    version = await refused(bench)
    assert version.state == "rejected"
    assert "it fell by more than" in version.reason
    assert bench.policy.events == [("stage", 1), ("roll_back", 1)]


async def test_the_gate_rejects_a_version_that_fell_below_the_first_step_by_step() -> None:
    ledger = MemoryLedger()
    solved = [TaskResult(task_id=task.id, samples=2, correct=2) for task in GATE]
    figures = {"executable_share": 1.0, "prompt_tokens": 0, "completion_tokens": 0, "seconds": 0.0}
    await ledger.append(make_evaluation(purpose="gate", version=0, round=0, results=solved, ks=(1,), seed=0, **figures))
    bench = Bench(lambda request, _: improving(request, 0), ledger, current=make_version(3))
    await bench.publish(make_report(4))
    version = await bench.version(4)
    assert version.state == "rejected"
    assert "0.500 -> 0.500" in version.reason
    assert "surely below version 0, by -0.500" in version.reason


async def test_a_failure_during_the_trial_takes_the_version_back_and_it_is_tried_again() -> None:
    failing = [True]

    def script(request: ChatRequest, version: int) -> list[str]:
        if version and failing:
            failing.pop()
            raise EndpointBroken("down")
        return improving(request, version)

    bench = Bench(script)
    await bench.feed(make_report(1))
    with pytest.raises(ExceptionGroup) as caught:
        await bench.run()
    assert caught.group_contains(EndpointError)
    assert bench.served_as_before()
    assert bench.policy.events == [("stage", 1), ("roll_back", 1)]
    assert [one.number for one in await bench.ledger.find(PolicyVersion)] == []
    await bench.run()
    assert bench.policy.current.number == 1


async def test_cancelled_during_the_trial_it_takes_the_version_back_first() -> None:
    scope = trio.CancelScope()

    def script(request: ChatRequest, version: int) -> list[str]:
        if version:
            scope.cancel()
        return improving(request, version)

    bench = Bench(script)
    with scope:
        await bench.publish(make_report(1))
    assert scope.cancelled_caught
    assert bench.served_as_before()
    assert bench.policy.events == [("stage", 1), ("roll_back", 1)]


async def test_a_version_that_cannot_be_taken_back_is_loud() -> None:
    bench = Bench(worsening)
    bench.policy.failures["roll_back"].append(PublishError("the current version could not be put back"))
    await bench.feed(make_report(1))
    with pytest.raises(PublishError, match="could not be put back"):
        await bench.run()
    assert bench.policy.current.number == 0
    assert await bench.ledger.find(PolicyVersion) == ()


async def test_a_round_is_settled_before_its_version_is_measured_so_that_the_next_begins_meanwhile() -> None:
    bench = Bench()
    settled_at_held_out: list[int] = []

    def script(request: ChatRequest, version: int) -> list[str]:
        if version and number_in(request) in (20, 21):
            settled_at_held_out.append(bench.board.settled)
        return improving(request, version)

    bench = Bench(script)
    await bench.publish(make_report(1), RoundClosed(round=0))
    assert settled_at_held_out == [1] * len(HELD_OUT)


async def test_every_version_of_a_round_is_measured() -> None:
    bench = Bench()
    await bench.publish(make_report(1), make_report(2), RoundClosed(round=0))
    measured = [one.version for one in await bench.ledger.find(Evaluation) if one.purpose == "held_out"]
    assert measured == [0, 1, 2]


async def test_a_held_out_evaluation_that_fails_does_not_undo_a_promotion() -> None:
    failing = [True]

    def script(request: ChatRequest, version: int) -> list[str]:
        if version and number_in(request) in (20, 21) and failing:
            failing.clear()
            raise EndpointBroken("down")
        return improving(request, version)

    bench = Bench(script)
    await bench.feed(make_report(1))
    with pytest.raises(ExceptionGroup):
        await bench.run()
    await bench.run()
    assert bench.policy.events == [("stage", 1), ("promote", 1)]
    assert (await bench.version()).state == "promoted"
    assert await bench.ledger.find(Quarantined) == ()
    assert bench.publisher.statistics().pass_at_1 == 1.0


async def test_three_refusals_in_a_row_pause_the_run_and_say_why() -> None:
    bench = Bench(worsening)
    await bench.feed(*(make_report(number) for number in (1, 2, 3)))
    with pytest.raises(RunPaused, match=r"last 3 versions were refused.*it fell by more than.*stays at version 0"):
        await bench.run()
    assert [one.state for one in await bench.ledger.find(PolicyVersion)] == ["rejected"] * 3
    assert bench.served_as_before()


async def test_a_promotion_in_between_starts_the_count_anew() -> None:
    def script(request: ChatRequest, version: int) -> list[str]:
        return worsening(request, 0 if version == 2 else version)

    bench = Bench(script)
    await bench.publish(*(make_report(number) for number in (1, 2, 3, 4)))
    assert [one.state for one in await bench.ledger.find(PolicyVersion)] == [
        "rejected",
        "promoted",
        "rejected",
        "rejected",
    ]
    assert bench.policy.current.number == 2


async def test_rounds_are_settled_on_record_before_the_planner_hears_of_it() -> None:
    ledger = BrittleLedger(at=1, act=raise_error(Fault("disk")))
    bench = Bench(ledger=ledger)
    await bench.feed(RoundClosed(round=0))
    with pytest.raises(Fault):
        await bench.run()
    assert bench.board.settled == 0
    await bench.run()
    assert bench.board.settled == 1
    (settled,) = await ledger.find(RoundSettled)
    assert (settled.number, settled.version) == (0, 0)


APPENDS = 2 * (len(GATE) + 1 + len(HELD_OUT) + 1) + 2
"""Two versions on the gate and on the held-out tasks, each task and each evaluation; the version; the round."""


async def test_the_appends_that_may_fail_are_all_tried() -> None:
    ledger = BrittleLedger()
    await _outcome(ledger)
    assert ledger.appends == APPENDS


@pytest.mark.parametrize("at", range(1, APPENDS + 1))
async def test_whatever_append_fails_the_outcome_is_the_same(at: int) -> None:
    assert await _outcome(BrittleLedger(at=at, act=raise_error(Fault("disk")))) == await _outcome(BrittleLedger())


async def _outcome(ledger: BrittleLedger) -> list[LedgerRecord]:
    bench = Bench(ledger=ledger)
    await bench.feed(make_report(1), RoundClosed(round=0))
    try:
        await bench.run()
    except (Fault, ExceptionGroup) as error:
        if not isinstance(first(error), Fault):
            raise
        assert bench.policy.staged is None
        await bench.run()
    assert bench.policy.current.number == 1
    versions, evaluations = await ledger.find(PolicyVersion), await ledger.find(Evaluation)
    settled = await ledger.find(RoundSettled)
    return [*versions, *(msgspec.structs.replace(one, seconds=0.0) for one in (*evaluations, *settled))]


async def test_after_a_restart_the_current_version_is_measured_as_of_the_round_that_made_it() -> None:
    ledger = MemoryLedger()
    report = make_report(1, round=4)
    await ledger.append(report)
    bench = Bench(ledger=ledger, current=make_version(1, batch_id=report.id))
    await bench.publish()
    assert {(one.version, one.round) for one in await ledger.find(Evaluation)} == {(1, 4)}
