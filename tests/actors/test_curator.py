"""The Curator: which examples a round leaves, when they become a batch, and when a round is closed."""

from collections.abc import Sequence
from typing import Any, Literal

import msgspec
import pytest
import trio
import trio.testing

from actors.curator import CurationRule, Curator
from actors.messages import Criticised, Ended, Item, RoundClosed
from ledger.memory import MemoryLedger
from method.curation import Critiques
from method.overlap import overlap_index
from protocols.identity import derive
from protocols.records import (
    Batch,
    Candidate,
    Critique,
    Example,
    FilterCount,
    Incumbent,
    LedgerRecord,
    Quarantined,
    Round,
    Task,
)
from tests.actors.parts import (
    BrittleLedger,
    Fault,
    fenced,
    good,
    half,
    make_candidate,
    make_decision,
    make_execution,
    make_task,
    make_version,
    raise_error,
    reference_of,
    wrong,
)

References = Literal["train", "anchor", "hidden"]
RULE = CurationRule(
    size=100,
    min_size=1,
    max_age_s=1000.0,
    replay=0.25,
    duplicate_similarity=0.99,
    max_example_tokens=1000,
    per_task=4,
    pattern_share=1.0,
    mode="restart",
    references="anchor",
    seed=1,
)


class Bench:
    def __init__(
        self, ledger: MemoryLedger | None = None, *, evaluation_tasks: Sequence[Task] = (), **changes: Any
    ) -> None:
        self.ledger = ledger or MemoryLedger()
        self.into, inbox = trio.open_memory_channel[Item](100)
        outbox, self.out = trio.open_memory_channel[Batch | RoundClosed](100)
        self.curator = Curator(
            self.ledger,
            inbox,
            outbox,
            overlap_index(evaluation_tasks),
            msgspec.structs.replace(RULE, **changes),
        )

    async def plan(self, *numbers: int, round: int = 0) -> None:
        task_ids = tuple(f"task{number}" for number in numbers)
        await self.ledger.append(Round(id=derive("round", round), number=round, task_ids=task_ids))

    async def curate(self, *items: Item) -> list[Batch | RoundClosed]:
        """Run over `items` and return what was sent."""
        for item in items:
            await self.into.send(item)
        self.into.close()
        await self.curator.run()
        return [sent async for sent in self.out]

    async def examples(self) -> list[tuple[str, str]]:
        return [(example.kind, example.origin) for example in await self.ledger.find(Example)]


def answered(
    number: int,
    code: str | None = None,
    *,
    round: int = 0,
    task: Task | None = None,
    incumbent: Incumbent | None = None,
    finish_reason: str = "stop",
    text: str = "",
) -> Criticised:
    """A task whose first candidate became its answer."""
    task = task or make_task(number)
    candidate = make_candidate(task, 0, code or good(number), round=round, finish_reason=finish_reason, text=text)
    after = incumbent or Incumbent(subject_id=candidate.id, origin="self", code=candidate.code or "")
    return _item(task, (candidate,), (), after, candidate.id, round)


def criticised(
    number: int,
    *revisions: tuple[str | None, bool],
    round: int = 0,
    version: int = 0,
    incumbent: Incumbent | None = None,
    text: str = "Bad.",
) -> Criticised:
    """A task with one critique for each (revision, whether it is verified)."""
    task = make_task(number)
    codes = [f"{wrong(number)}{version}{index}" for index in range(len(revisions))]
    candidates = tuple(make_candidate(task, i, code, round=round, version=version) for i, code in enumerate(codes))
    critiques = tuple(
        Critique(
            id=derive("critique", candidate.id),
            task_id=task.id,
            round=round,
            candidate_id=candidate.id,
            critic="critic",
            pattern=f"wrong_answer@{index}",
            text=text,
            revision=revision,
            verified=verified,
            prompt_tokens=1,
            completion_tokens=1,
            seconds=0.0,
        )
        for index, (candidate, (revision, verified)) in enumerate(zip(candidates, revisions, strict=True))
    )
    return _item(task, candidates, critiques, incumbent, None, round)


def _item(
    task: Task,
    candidates: tuple[Candidate, ...],
    critiques: tuple[Critique, ...],
    incumbent: Incumbent | None,
    answer_id: str | None,
    round: int,
) -> Criticised:
    return Criticised(
        task=task,
        round=round,
        candidates=candidates,
        executions={one.id: make_execution(task, one.id, (False, False)) for one in candidates},
        decision=make_decision(task, ("skip",), incumbent=incumbent, answer_id=answer_id, round=round),
        critiques=critiques,
    )


def ended(number: int, round: int = 0) -> Ended:
    return Ended(task=make_task(number), round=round)


# Which examples


async def test_the_candidate_that_was_decided_for_becomes_an_answer_example() -> None:
    bench = Bench()
    await bench.plan(1)
    await bench.curate(answered(1))
    (example,) = await bench.ledger.find(Example)
    assert (example.kind, example.origin, example.code) == ("answer", "self", good(1))
    assert [message.loss for message in example.messages] == [False, True]


async def test_a_verified_revision_ends_its_critique_example_and_the_incumbent_any_other() -> None:
    bench = Bench()
    await bench.plan(2)
    await bench.curate(criticised(2, (good(2), True), (half(2), False), incumbent=reference_of(make_task(2))))
    examples = await bench.ledger.find(Example)
    assert [(one.kind, one.origin, one.code) for one in examples] == [
        ("critique", "critic", good(2)),
        ("critique", "reference", good(2)),
    ]
    for example in examples:
        assert [message.loss for message in example.messages] == [False, False, False, True]
        assert example.messages[-1].content.startswith("Bad.")


async def test_without_incumbent_and_verified_revision_there_is_no_example() -> None:
    bench = Bench()
    await bench.plan(2)
    sent = await bench.curate(criticised(2, (half(2), False)))
    assert await bench.examples() == []
    assert sent == [RoundClosed(round=0)]


async def test_a_critique_without_words_teaches_nothing() -> None:
    bench = Bench()
    await bench.plan(2)
    await bench.curate(criticised(2, (good(2), True), text=""))
    assert await bench.examples() == []


@pytest.mark.parametrize(
    ("references", "expected"),
    [("train", [("answer", "reference")]), ("anchor", []), ("hidden", [])],
)
async def test_a_reference_is_an_answer_example_only_when_references_are_to_be_trained_on(
    references: References, expected: list[tuple[str, str]]
) -> None:
    bench = Bench(references=references)
    await bench.plan(1)
    item = criticised(1, incumbent=reference_of(make_task(1)))
    await bench.curate(item)
    assert await bench.examples() == expected


async def test_the_same_reference_is_taught_once_and_counted_as_a_duplicate_after_that() -> None:
    bench = Bench(references="train")
    for round in (0, 1):
        await bench.plan(1, round=round)
    incumbent = reference_of(make_task(1))
    await bench.curate(criticised(1, incumbent=incumbent), criticised(1, incumbent=incumbent, round=1))
    assert await bench.examples() == [("answer", "reference")]
    (count,) = await bench.ledger.find(FilterCount)
    assert (count.reason, count.round) == ("exact_duplicate", 1)


async def test_rejection_sampling_teaches_every_correct_candidate_and_keeps_them_side_by_side() -> None:
    bench = Bench(answers="correct_only")
    await bench.plan(1)
    task = make_task(1)
    codes = (good(1), f"{good(1)} + 0", wrong(1))
    candidates = tuple(make_candidate(task, index, code) for index, code in enumerate(codes))
    item = msgspec.structs.replace(
        _item(task, candidates, (), reference_of(task), None, 0),
        executions={one.id: make_execution(task, one.id, (one.code != wrong(1),) * 2) for one in candidates},
    )
    sent = await bench.curate(item)
    assert [one.code for one in await bench.ledger.find(Example)] == list(codes[:2])
    assert isinstance(sent[0], Batch)
    assert len(sent[0].example_ids) == 2


# Filters


async def test_what_overlaps_with_an_evaluation_task_is_refused_with_its_reason() -> None:
    held_out = make_task(7, instruction="Return the sum of the number given and seven, please.")
    task = make_task(1, instruction=held_out.instruction)
    bench = Bench(evaluation_tasks=[held_out])
    await bench.plan(1)
    sent = await bench.curate(answered(1, task=task))
    assert await bench.examples() == []
    (count,) = await bench.ledger.find(FilterCount)
    assert (count.reason, count.task_id, count.resembles) == ("evaluation_overlap", "task1", "task7")
    assert (count.kind, count.code) == ("answer", good(1))
    assert sent == [RoundClosed(round=0)]


@pytest.mark.parametrize(
    ("text", "refused"),
    [(f"```python\n{good(1)}", True), (good(1), True), (f"{fenced(good(1))}\nNow let me expl", False)],
)
async def test_code_that_the_endpoint_cut_off_is_refused_and_talk_cut_off_after_it_is_not(
    text: str, refused: bool
) -> None:
    bench = Bench()
    await bench.plan(1)
    await bench.curate(answered(1, finish_reason="length", text=text))
    assert [count.reason for count in await bench.ledger.find(FilterCount)] == (["truncated"] if refused else [])
    assert len(await bench.examples()) == (0 if refused else 1)


async def test_a_critique_that_was_cut_off_is_refused() -> None:
    bench = Bench()
    await bench.plan(2)
    item = criticised(2, (None, False), incumbent=reference_of(make_task(2)))
    cut = msgspec.structs.replace(item.critiques[0], truncated=True)
    await bench.curate(msgspec.structs.replace(item, critiques=(cut,)))
    assert [count.reason for count in await bench.ledger.find(FilterCount)] == ["truncated"]


async def test_caps_are_per_batch_and_not_per_run() -> None:
    bench = Bench(per_task=1)
    for round in range(3):
        await bench.plan(1, round=round)
    sent = await bench.curate(*(answered(1, f"{good(1)} + {round} * 0", round=round) for round in range(3)))
    assert len(await bench.examples()) == 3
    assert [batch.number for batch in sent if isinstance(batch, Batch)] == [1, 2, 3]


async def test_what_was_refused_before_a_crash_stays_refused() -> None:
    """The cap that refused it may have room again; the same work must have the same outcome."""
    ledger = MemoryLedger()
    bench = Bench(ledger, per_task=1, size=1)
    await bench.plan(2, 3)
    item = criticised(2, (good(2), True), (f"{good(2)} * 1", True))
    await bench.curate(item)
    assert [count.reason for count in await ledger.find(FilterCount)] == ["task_cap"]
    await Bench(ledger, per_task=1, size=1).curate(item, ended(3))
    assert len(await ledger.find(Example)) == 1
    assert len(await ledger.find(FilterCount)) == 1


# Batches


async def test_a_full_batch_is_cut_at_once() -> None:
    bench = Bench(size=2)
    await bench.plan(1, 2, 3, 4)
    sent = await bench.curate(answered(1), answered(2), answered(3))
    assert [batch.number for batch in sent if isinstance(batch, Batch)] == [1]
    assert bench.curator.statistics().pending == 1


async def test_an_old_batch_is_cut_when_its_time_has_come(autojump_clock: trio.testing.MockClock) -> None:
    bench = Bench(min_size=2, max_age_s=60.0)
    await bench.plan(1, 2, 3, 4)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.curator.run)
        await bench.into.send(answered(1))
        await trio.sleep(100)  # one is not enough, however old
        await bench.into.send(answered(2))
        with trio.fail_after(1):
            batch = await bench.out.receive()
        await bench.into.send(answered(3))
        await trio.sleep(30)
        await bench.into.send(answered(4))
        began = trio.current_time()
        await bench.out.receive()
        nursery.cancel_scope.cancel()
    assert isinstance(batch, Batch)
    assert len(batch.example_ids) == 2
    assert trio.current_time() - began == pytest.approx(0)  # the round ended before its age did


async def test_age_counts_from_the_oldest_pending_example(autojump_clock: trio.testing.MockClock) -> None:
    bench = Bench(min_size=2, max_age_s=60.0)
    await bench.plan(1, 2, 3)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.curator.run)
        began = trio.current_time()
        await bench.into.send(answered(1))
        await trio.sleep(20)
        await bench.into.send(answered(2))
        await bench.out.receive()
        assert trio.current_time() - began == pytest.approx(60)
        nursery.cancel_scope.cancel()


async def test_a_round_that_ends_cuts_what_it_leaves_unless_that_is_too_little() -> None:
    for min_size, batches in ((2, 1), (3, 0)):
        bench = Bench(min_size=min_size)
        await bench.plan(1, 2)
        sent = await bench.curate(answered(1), answered(2))
        assert len([one for one in sent if isinstance(one, Batch)]) == batches
        assert sent[-1] == RoundClosed(round=0)


async def test_what_one_round_left_over_goes_into_the_next_ones_batch() -> None:
    bench = Bench(min_size=2)
    await bench.plan(1, round=0)
    await bench.plan(2, round=1)
    sent = await bench.curate(answered(1), answered(2, round=1))
    assert [type(one) for one in sent] == [RoundClosed, Batch, RoundClosed]
    batch = sent[1]
    assert isinstance(batch, Batch)
    assert len(batch.example_ids) == 2


async def test_a_round_is_closed_once_after_its_last_batch_whatever_became_of_its_tasks() -> None:
    bench = Bench()
    await bench.plan(1, 2, 3)
    sent = await bench.curate(answered(3), ended(1), criticised(2, (half(2), False)))
    assert [type(one) for one in sent] == [Batch, RoundClosed]


async def test_rounds_that_overlap_are_closed_each_by_itself() -> None:
    bench = Bench()
    await bench.plan(1, 2, round=0)
    await bench.plan(1, 2, round=1)
    sent = await bench.curate(ended(1, 0), ended(1, 1), ended(2, 1), ended(2, 0))
    assert sent == [RoundClosed(round=1), RoundClosed(round=0)]


async def test_examples_of_a_refused_batch_are_not_used_again_and_their_work_may_be() -> None:
    ledger = MemoryLedger()
    bench = Bench(ledger)
    await bench.plan(1, round=0)
    await bench.plan(1, 2, round=1)
    first, _ = await bench.curate(answered(1))
    assert isinstance(first, Batch)
    await ledger.append(make_version(1, state="rejected", batch_id=first.id))
    sent = await Bench(ledger).curate(answered(1, round=1), answered(2, round=1))
    batch = sent[0]
    assert isinstance(batch, Batch)
    assert batch.number == 2
    assert not set(first.example_ids) & set(batch.example_ids)
    assert len(batch.example_ids) == 2
    assert await ledger.find(FilterCount) == ()


async def test_a_refusal_is_seen_by_the_curator_that_is_at_work() -> None:
    ledger = MemoryLedger()
    bench = Bench(ledger)
    await bench.plan(1, round=0)
    await bench.plan(1, round=1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.curator.run)
        await bench.into.send(answered(1))
        first = await bench.out.receive()
        assert isinstance(first, Batch)
        await ledger.append(make_version(1, state="failed", batch_id=first.id))
        await bench.out.receive()
        await bench.into.send(answered(1, round=1))
        second = await bench.out.receive()
        nursery.cancel_scope.cancel()
    assert isinstance(second, Batch)
    assert not set(first.example_ids) & set(second.example_ids)


async def test_earlier_examples_are_part_of_every_batch_that_starts_from_the_base_model() -> None:
    bench = Bench(mode="restart")
    for round in (0, 1):
        await bench.plan(round + 1, round=round)
    sent = await bench.curate(answered(1), answered(2, round=1))
    first, _, second, _ = sent
    assert isinstance(first, Batch)
    assert isinstance(second, Batch)
    assert second.replayed == 1
    assert second.example_ids[-1:] == first.example_ids


@pytest.mark.parametrize(("critiques", "replayed"), [("all", 1), ("latest", 0)])
async def test_earlier_critiques_of_a_task_stay_beside_those_of_a_later_version_where_all_count(
    critiques: Critiques, replayed: int
) -> None:
    bench = Bench(critiques=critiques)
    for round in (0, 1):
        await bench.plan(1, round=round)
    today = criticised(1, (good(1), True), round=1, version=1, text="Worse.")
    _, _, second, _ = await bench.curate(criticised(1, (good(1), True)), today)
    assert isinstance(second, Batch)
    assert (len(second.example_ids), second.replayed) == (1 + replayed, replayed)


# After a crash


async def test_after_a_restart_batches_without_a_version_are_sent_again_as_they_were() -> None:
    ledger = MemoryLedger()
    bench = Bench(ledger, size=1)
    await bench.plan(1, 2, 3)
    sent = await bench.curate(answered(1), answered(2))
    batches = [one for one in sent if isinstance(one, Batch)]
    await ledger.append(make_version(1, batch_id=batches[0].id))
    again = await Bench(ledger, size=1).curate(answered(1), answered(2), ended(3))
    assert again == [batches[1], RoundClosed(round=0)]
    assert len(await ledger.find(Batch)) == 2


async def test_after_a_restart_pending_examples_are_pending_still_and_grow_old(
    autojump_clock: trio.testing.MockClock,
) -> None:
    ledger = MemoryLedger()
    first = Bench(ledger, min_size=2)
    await first.plan(1, 2)
    await first.curate(answered(1))
    bench = Bench(ledger, min_size=1, max_age_s=60.0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.curator.run)
        began = trio.current_time()
        assert isinstance(await bench.out.receive(), Batch)
        assert trio.current_time() - began == pytest.approx(60)
        nursery.cancel_scope.cancel()


async def test_after_a_restart_an_answer_that_a_later_one_replaced_is_not_pending() -> None:
    ledger = MemoryLedger()
    bench = Bench(ledger, min_size=2)
    await bench.plan(1, round=0)
    await bench.plan(1, 2, round=1)
    await bench.curate(answered(1), answered(1, f"{good(1)} + 0", round=1), answered(2, round=1))
    (batch,) = await ledger.find(Batch)
    assert len(batch.example_ids) == 2
    assert len(await ledger.find(Example)) == 3
    again = Bench(ledger)
    await again.curate()
    assert again.curator.statistics().pending == 0


@pytest.mark.parametrize("at", range(1, 8))
async def test_whatever_append_fails_the_outcome_is_the_same(at: int) -> None:
    """The supervisor starts the same Curator again: nothing is lost, kept twice or closed twice."""
    expected = await _outcome(BrittleLedger())
    assert await _outcome(BrittleLedger(at=at, act=raise_error(Fault("disk")))) == expected


async def _outcome(ledger: BrittleLedger) -> tuple[list[LedgerRecord], list[Batch | RoundClosed]]:
    bench = Bench(ledger, size=2, references="train")
    fails_at, ledger.at = ledger.at, None
    await bench.plan(1, 2, 3)
    ledger.at, ledger.appends = fails_at, 0
    task = make_task(1)
    items: list[Item] = [answered(1, incumbent=reference_of(task)), criticised(2, (good(2), True)), ended(3)]
    for item in items:
        await bench.into.send(item)
    bench.into.close()
    try:
        await bench.curator.run()
    except Fault:
        await bench.curator.run()
    records: list[LedgerRecord] = [
        *await ledger.find(Example),
        *await ledger.find(FilterCount),
        *await ledger.find(Batch),
    ]
    return records, [sent async for sent in bench.out]


async def test_a_task_that_the_rules_cannot_digest_is_quarantined_and_its_round_goes_on() -> None:
    bench = Bench()
    await bench.plan(1, 2)
    item = criticised(1, (good(1), True))
    broken = msgspec.structs.replace(item, executions={})
    sent = await bench.curate(broken, answered(2))
    assert [type(one) for one in sent] == [Batch, RoundClosed]
    (record,) = await bench.ledger.find(Quarantined)
    assert (record.stage, record.task_id) == ("curator", "task1")


async def test_versions_are_numbered_on_and_never_reused() -> None:
    ledger = MemoryLedger()
    bench = Bench(ledger)
    for round in range(2):
        await bench.plan(round, round=round)
    await bench.curate(answered(0))
    await ledger.append(make_version(1, state="rejected", batch_id=derive("batch", 1)))
    sent = await Bench(ledger).curate(answered(1, round=1))
    assert [one.number for one in sent if isinstance(one, Batch)] == [2]
