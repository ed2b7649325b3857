"""Curation once more: the run's own settings give the run's own outcome, and others what they would have given."""

from collections import defaultdict
from pathlib import Path
from typing import Any

import msgspec
import pytest

from evals.recuration import Recuration, Work, read_work, recurate
from evals.recuration_sheets import SHOWN, recuration_json, recuration_sheets
from ledger.memory import MemoryLedger
from ledger.queries import Entry
from method.overlap import overlap_index
from protocols.records import Batch, Example, FilterCount, LedgerRecord, PolicyVersion, Quarantined, RoundSettled
from tests.actors.whole import CURATION, GATE, HELD_OUT, NARROW, ROUNDS, TRAIN, start

OVERLAP = overlap_index((*GATE, *HELD_OUT))


class RecordingLedger(MemoryLedger):
    """A ledger that remembers in which order records came."""

    def __init__(self) -> None:
        super().__init__()
        self.records: dict[tuple[str, str], LedgerRecord] = {}

    async def append(self, *records: LedgerRecord) -> None:
        await super().append(*records)
        for record in records:
            self.records.setdefault((type(record).__name__, record.id), record)

    def entries(self) -> list[Entry[LedgerRecord]]:
        return [Entry(number, 100.0 + number, record) for number, record in enumerate(self.records.values())]

    def of(self, kind: type[LedgerRecord]) -> list[Any]:
        return [record for record in self.records.values() if isinstance(record, kind)]


@pytest.fixture
async def ledger(tmp_path: Path) -> RecordingLedger:
    ledger = RecordingLedger()
    await ledger.append(*TRAIN)
    run = await start(ledger, tmp_path, NARROW)
    await run.pipeline.run()
    assert len(await ledger.find(RoundSettled)) == ROUNDS
    return ledger


@pytest.fixture
def work(ledger: RecordingLedger) -> Work:
    return read_work(ledger.entries())


def again(work: Work, **changes: Any) -> Recuration:
    return recurate(work, msgspec.structs.replace(CURATION, **changes), OVERLAP)


def answers(outcome: Recuration) -> int:
    return sum(example.kind == "answer" for example in outcome.kept)


async def test_the_runs_own_settings_give_the_runs_own_examples_refusals_and_batches(
    ledger: RecordingLedger, work: Work
) -> None:
    outcome = again(work)
    assert list(outcome.kept) == ledger.of(Example)
    assert [(one.example.task_id, one.reason) for one in outcome.refused] == [
        (one.task_id, one.reason) for one in ledger.of(FilterCount)
    ]
    assert [(b.number, b.round, tuple(e.id for e in b.examples), b.replayed) for b in outcome.batches] == [
        (b.number, b.round, b.example_ids, b.replayed) for b in ledger.of(Batch)
    ]
    assert outcome.kept
    assert outcome.batches


async def test_a_cap_of_one_example_a_task_refuses_the_others(work: Work) -> None:
    outcome = again(work, per_task=1, pattern_share=1.0)
    assert {one.reason for one in outcome.refused} >= {"task_cap"}
    for batch in outcome.batches:
        new = [one.task_id for one in batch.examples[: len(batch.examples) - batch.replayed]]
        assert len(set(new)) == len(new)


async def test_every_correct_candidate_is_an_answer_under_rejection_sampling(work: Work) -> None:
    outcome = again(work, answers="correct_only")
    assert answers(outcome) == len(outcome.kept) > 0
    assert {example.origin for example in outcome.kept} == {"self"}


async def test_references_that_are_taught_are_examples_more(work: Work) -> None:
    assert any(one.origin == "reference" and one.kind == "answer" for one in again(work, references="train").kept)
    assert not any(one.origin == "reference" and one.kind == "answer" for one in again(work).kept)


async def test_a_smaller_batch_is_cut_earlier(work: Work) -> None:
    assert len(again(work, size=3).batches) > len(again(work).batches)


async def test_without_replay_a_batch_that_continues_holds_new_examples_alone(work: Work) -> None:
    assert [batch.replayed for batch in again(work, mode="continue", replay=0.0).batches] == [0] * ROUNDS


async def test_of_a_tasks_critiques_those_of_the_latest_version_can_be_taken_alone(work: Work) -> None:
    def criticised_by(outcome: Recuration) -> dict[str, set[int]]:
        versions: dict[str, set[int]] = defaultdict(set)
        for example in outcome.batches[-1].examples:
            if example.kind == "critique":
                versions[example.task_id].add(example.version)
        return versions

    everything, latest = criticised_by(again(work)), criticised_by(again(work, critiques="latest"))
    assert any(len(versions) > 1 for versions in everything.values())
    assert latest == {task: {max(versions)} for task, versions in everything.items()}


async def test_what_must_not_be_trained_on_is_refused_with_what_it_is_like(work: Work) -> None:
    outcome = recurate(work, CURATION, overlap_index(TRAIN))
    assert outcome.kept == ()
    assert {one.resembles for one in outcome.refused if one.reason == "evaluation_overlap"} <= {t.id for t in TRAIN}


async def test_a_batch_whose_version_was_refused_is_taken_back(ledger: RecordingLedger) -> None:
    refused = [
        msgspec.structs.replace(record, state="rejected")
        if isinstance(record, PolicyVersion) and record.number == 1
        else record
        for record in ledger.records.values()
    ]
    work = read_work([Entry(number, 0.0, record) for number, record in enumerate(refused)])
    first, second = again(work).batches
    assert not {one.id for one in first.examples} & {one.id for one in second.examples}


async def test_a_round_that_was_cut_short_ends_no_batch(ledger: RecordingLedger) -> None:
    entries = ledger.entries()
    last = max(number for number, entry in enumerate(entries) if type(entry.record).__name__ == "Decision")
    work = read_work(entries[:last])
    assert [batch.round for batch in again(work).batches] == [0]


async def test_a_task_that_came_to_grief_is_left_out_and_its_round_ends_all_the_same(ledger: RecordingLedger) -> None:
    lost = Quarantined(id="q", stage="curator", subject_id="", task_id="task0", round=0, reason="", traceback="")
    whole, without = read_work(ledger.entries()), read_work([*ledger.entries(), Entry(10_000, 0.0, lost)])
    assert len(without.turns) == len(whole.turns) - 1
    assert [turn.ends_round for turn in without.turns].count(True) == ROUNDS


async def test_the_sheets_show_counts_beside_each_other_and_samples(work: Work) -> None:
    counts, batches, refused, changes = recuration_sheets(work, again(work, per_task=1))
    figures = {row[0]: row[1:] for row in counts.rows}
    assert int(figures["kept"][0]) > int(figures["kept"][1])
    assert figures["refused: task_cap"][0] == "0"
    assert len(batches.rows) == ROUNDS
    reasons = [row[0] for row in refused.rows]
    assert max(map(reasons.count, reasons)) <= SHOWN
    assert {row[0] for row in changes.rows} <= {"kept now", "kept then"}


async def test_its_json_names_what_changes(work: Work) -> None:
    data = recuration_json(work, again(work, per_task=1))
    assert data["run"]["kept"] - data["again"]["kept"] == len(data["kept_only_then"]) - len(data["kept_only_now"])
    assert msgspec.json.decode(msgspec.json.encode(data)) == data


def test_an_empty_journal_leaves_nothing() -> None:
    assert again(read_work([])) == Recuration(kept=(), refused=(), batches=())
