"""The whole pipeline on fakes: what a run leaves on record, and that a crash changes nothing of it.

No part of it takes time or sleeps, so the clock is the real one (the adapter's folder is looked up in a thread).
"""

from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest
import trio

from protocols.errors import EndpointBroken, RunPaused, UsageError
from protocols.records import (
    Batch,
    Candidate,
    Critique,
    Decision,
    Evaluation,
    Example,
    Execution,
    Generation,
    LedgerRecord,
    PolicyVersion,
    Quarantined,
    Round,
    RoundSettled,
    TrainingReport,
    Verdict,
)
from tests.actors.parts import raise_error
from tests.actors.whole import (
    CANDIDATES,
    NARROW,
    ROUNDS,
    TRAIN,
    WIDE,
    CrashingLedger,
    Run,
    Shape,
    contents,
    start,
    substance,
)

ALL = ROUNDS * len(TRAIN)
SETTLED_BY_RECORD = (Decision, Candidate, Execution, Critique, Batch, Example)
"""Kinds whose records must be the same after a crash in everything but the seconds that they took."""


async def run_whole(ledger: CrashingLedger, folder: Path, shape: Shape = WIDE) -> Run:
    """Run until the end, or until the ledger says that the command is killed."""
    run = await start(ledger, folder, shape)
    ledger.scope = trio.CancelScope()
    with trio.fail_after(60), ledger.scope:
        await run.pipeline.run()
    return run


async def test_two_rounds_end_settled_with_every_record_there(tmp_path: Path) -> None:
    ledger = CrashingLedger()
    run = await run_whole(ledger, tmp_path)
    counts = Counter({kind: len(ids) for kind, ids in (await contents(ledger)).items()})
    assert counts["Round"] == counts["RoundSettled"] == counts["Batch"] == counts["TrainingReport"] == ROUNDS
    assert counts["Generation"] == counts["Decision"] == ALL
    assert counts["PolicyVersion"] == 1 + ROUNDS
    assert counts["Evaluation"] == 2 * (1 + ROUNDS)
    assert counts["Quarantined"] == 0
    revisions = [one for one in await ledger.find(Critique) if one.revision is not None]
    assert counts["Execution"] == counts["Candidate"] + len(TRAIN) + len(revisions)
    assert run.pipeline.statistics().settled == ROUNDS
    assert [one.version for one in await ledger.find(RoundSettled)] == [1, 2]


async def test_the_second_round_is_answered_by_the_version_that_the_first_one_made(tmp_path: Path) -> None:
    ledger = CrashingLedger()
    await run_whole(ledger, tmp_path)
    assert {(one.round, one.version) for one in await ledger.find(Candidate)} == {(0, 0), (1, 1)}
    assert {(one.round, one.version) for one in await ledger.find(Generation)} == {(0, 0), (1, 1)}
    for generation in await ledger.find(Generation):
        assert generation.responses == CANDIDATES


async def test_every_record_is_explained_by_the_one_before_it(tmp_path: Path) -> None:
    ledger = CrashingLedger()
    await run_whole(ledger, tmp_path, NARROW)
    candidates = {one.id for one in await ledger.find(Candidate)}
    critiques = {one.id: one for one in await ledger.find(Critique)}
    decisions = {(one.task_id, one.round): one for one in await ledger.find(Decision)}
    assert {one.subject_id for one in await ledger.find(Execution)} <= {*candidates, *critiques, "reference"}
    assert await ledger.find(Verdict)
    for critique in critiques.values():
        assert critique.candidate_id in decisions[critique.task_id, critique.round].critique_ids
    per_task = Counter((one.task_id, one.round) for one in critiques.values())
    assert max(per_task.values()) == 2
    batched = {example_id for batch in await ledger.find(Batch) for example_id in batch.example_ids}
    assert batched <= {one.id for one in await ledger.find(Example)}
    assert {one.kind for one in await ledger.find(Example)} == {"answer", "critique"}


async def test_versions_are_measured_and_promoted_in_order(tmp_path: Path) -> None:
    ledger = CrashingLedger()
    run = await run_whole(ledger, tmp_path)
    assert [(one.number, one.state) for one in await ledger.find(PolicyVersion)] == [
        (0, "base"),
        (1, "promoted"),
        (2, "promoted"),
    ]
    assert run.policy.events == [("stage", 1), ("promote", 1), ("stage", 2), ("promote", 2)]
    assert {(one.version, one.purpose) for one in await ledger.find(Evaluation)} == {
        (version, purpose) for version in range(3) for purpose in ("gate", "held_out")
    }


async def test_a_finished_run_started_again_asks_nothing(tmp_path: Path) -> None:
    ledger = CrashingLedger()
    await run_whole(ledger, tmp_path)
    before = await contents(ledger)
    again = await run_whole(ledger, tmp_path)
    assert await contents(ledger) == before
    assert not +again.asked()


class Outcome(NamedTuple):
    """What a run leaves."""

    appends: int
    ids: dict[str, set[str]]
    records: list[dict[str, LedgerRecord]]


async def outcome(ledger: CrashingLedger) -> Outcome:
    records = [await substance(ledger, kind) for kind in SETTLED_BY_RECORD]
    return Outcome(ledger.appends, await contents(ledger), records)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[Shape, Outcome]:
    async def main(shape: Shape) -> Outcome:
        ledger = CrashingLedger()
        await run_whole(ledger, tmp_path_factory.mktemp("whole"), shape)
        return await outcome(ledger)

    return {shape: trio.run(main, shape) for shape in (NARROW, WIDE)}


@pytest.mark.parametrize("share", [step / 8 for step in range(9)])
@pytest.mark.parametrize("written", [False, True])
@pytest.mark.parametrize("shape", [NARROW, WIDE], ids=["narrow", "wide"])
async def test_a_run_that_was_killed_and_started_again_ends_like_one_that_was_not(
    share: float, written: bool, shape: Shape, uninterrupted: dict[Shape, Outcome], tmp_path: Path
) -> None:
    expected = uninterrupted[shape]
    ledger = CrashingLedger(at=2 + round(share * (expected.appends - 3)), written=written)
    await run_whole(ledger, tmp_path, shape)
    assert ledger.scope.cancelled_caught
    at_crash = await contents(ledger)
    ledger.at = None
    again = await run_whole(ledger, tmp_path, shape)
    _, ids, records = await outcome(ledger)
    assert ids == expected.ids
    assert shape is WIDE or records == expected.records
    _check_nothing_was_asked_twice(again, at_crash, ids)


def _check_nothing_was_asked_twice(again: Run, at_crash: dict[str, set[str]], at_end: dict[str, set[str]]) -> None:
    """Every answer became a record that was not there before."""
    asked = again.asked()
    for kind in ("Generation", "Verdict", "Critique", "TrainingReport"):
        assert asked[kind] == len(at_end[kind] - at_crash[kind]), kind
    assert asked["gate"] + asked["held_out"] == len(at_end["EvaluatedTask"] - at_crash["EvaluatedTask"])


async def test_killed_again_and_again_it_still_comes_to_the_same_end(
    uninterrupted: dict[Shape, Outcome], tmp_path: Path
) -> None:
    ledger = CrashingLedger()
    starts = 0
    while len(await ledger.find(RoundSettled)) < ROUNDS:
        starts += 1
        assert starts < 100
        ledger.at, ledger.appends = 37, 0
        await run_whole(ledger, tmp_path, NARROW)
    ledger.at = None
    await run_whole(ledger, tmp_path, NARROW)
    assert starts > 5
    assert (await outcome(ledger))[1:] == uninterrupted[NARROW][1:]


@pytest.mark.parametrize("every", [7, 11, 20])
@pytest.mark.parametrize("shape", [NARROW, WIDE], ids=["narrow", "wide"])
async def test_endpoints_that_fail_now_and_then_change_nothing(
    every: int, shape: Shape, uninterrupted: dict[Shape, Outcome], tmp_path: Path
) -> None:
    ledger = CrashingLedger()
    run = await start(ledger, tmp_path, shape)
    for chat in (*run.judges, run.critic, run.policy):
        _make_faulty(chat, every)
    with trio.fail_after(60):
        await run.pipeline.run()
    _, ids, records = await outcome(ledger)
    assert ids == uninterrupted[shape].ids
    assert shape is WIDE or records == uninterrupted[shape].records


def _make_faulty(chat: object, every: int) -> None:
    calls = 0
    sound = chat._script  # pyright: ignore

    def script(*arguments: object) -> object:
        nonlocal calls
        calls += 1
        if calls % every == 0:
            raise EndpointBroken("down for a moment")
        return sound(*arguments)  # pyright: ignore

    chat._script = script  # pyright: ignore


async def test_an_endpoint_that_stays_down_pauses_the_run_resumably(tmp_path: Path) -> None:
    ledger = CrashingLedger()
    run = await start(ledger, tmp_path)
    run.critic._script = raise_error(EndpointBroken("no route to critic"))  # pyright: ignore
    with pytest.raises(RunPaused, match=r"the critic failed .* no route to critic"):
        await run.pipeline.run()
    await run_whole(ledger, tmp_path)
    assert len(await ledger.find(RoundSettled)) == ROUNDS
    assert await ledger.find(Quarantined) == ()


async def test_what_no_restart_mends_leaves_the_run_as_itself(tmp_path: Path) -> None:
    ledger = CrashingLedger()
    run = await start(ledger, tmp_path)
    run.critic._script = raise_error(UsageError("no such model"))  # pyright: ignore
    with pytest.raises(UsageError, match="no such model"):
        await run.pipeline.run()


async def test_told_to_stop_it_ends_what_is_under_way_and_goes_on_later(tmp_path: Path) -> None:
    ledger = CrashingLedger()
    run = await start(ledger, tmp_path)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run.pipeline.run)
        await _until(run, 3)
        run.pipeline.stop()
    generated = len(await ledger.find(Generation))
    assert 3 <= generated < len(TRAIN)
    assert len(await ledger.find(Decision)) == generated
    assert await ledger.find(RoundSettled) == ()
    await run_whole(ledger, tmp_path)
    assert len(await ledger.find(RoundSettled)) == ROUNDS
    assert len(await ledger.find(Round)) == ROUNDS
    assert len(await ledger.find(TrainingReport)) == ROUNDS


async def _until(run: Run, generated: int) -> None:
    while len(await run.ledger.find(Generation)) < generated:
        await trio.lowlevel.checkpoint()
