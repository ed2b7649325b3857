"""The Trainer: each batch becomes an adapter once, or a version that is recorded as failed."""

from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
import trio
import trio.testing

from actors.messages import RoundClosed
from actors.trainer import Trainer, TrainerOutput, TrainingRule
from ledger.memory import MemoryLedger
from method.examples import answer_example
from protocols.errors import TrainingError
from protocols.identity import derive
from protocols.ports import TrainingRecipe
from protocols.records import Batch, PolicyVersion, Quarantined, TrainingReport
from tests.actors.parts import (
    BrittleLedger,
    Fault,
    WritingTrainer,
    good,
    make_report,
    make_task,
    make_version,
    raise_error,
)

RULE = TrainingRule(
    model="base-model",
    output_folder="adapters",
    continues=False,
    write_merged=True,
    probe_texts=("a probe",),
    recipe=TrainingRecipe(
        rank=16,
        alpha=32.0,
        dropout=0.0,
        learning_rate=1e-4,
        warmup_share=0.1,
        epochs=2,
        batch_examples=16,
        micro_batch_tokens=2048,
        max_tokens=1024,
        weight_decay=0.0,
        max_gradient_norm=1.0,
        seed=3,
    ),
)
EXAMPLES = tuple(answer_example(make_task(n), good(n), origin="self", round=0, version=0) for n in (1, 2, 3))


def make_batch(number: int) -> Batch:
    return Batch(
        id=derive("batch", number),
        number=number,
        round=0,
        version=0,
        example_ids=tuple(example.id for example in reversed(EXAMPLES)),
        replayed=0,
    )


class Bench:
    def __init__(
        self,
        folder: Path,
        ledger: MemoryLedger | None = None,
        failures: Sequence[Exception] = (),
        *,
        continues: bool = False,
        takes_s: float = 0.0,
    ) -> None:
        self.ledger = ledger or MemoryLedger()
        self.worker = WritingTrainer(folder, failures, takes_s=takes_s)
        self.into, inbox = trio.open_memory_channel[Batch | RoundClosed](10)
        outbox, self.out = trio.open_memory_channel[TrainerOutput](10)
        self.trainer = Trainer(
            self.worker, self.ledger, inbox, outbox, msgspec.structs.replace(RULE, continues=continues)
        )

    async def train(self, *items: Batch | RoundClosed) -> list[TrainerOutput]:
        await self.ledger.append(*EXAMPLES)
        for item in items:
            await self.into.send(item)
        self.into.close()
        await self.trainer.run()
        return [sent async for sent in self.out]


async def test_a_batch_becomes_a_report_that_is_on_record(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    (report,) = await bench.train(make_batch(1))
    assert isinstance(report, TrainingReport)
    assert await bench.ledger.get(TrainingReport, make_batch(1).id) == report
    (job,) = bench.worker.jobs
    assert job.examples == tuple(reversed(EXAMPLES))
    assert (job.id, job.version, job.model, job.start_adapter, job.write_merged) == (
        make_batch(1).id,
        1,
        "base-model",
        None,
        True,
    )
    assert bench.trainer.statistics().jobs == 1


async def test_the_end_of_a_round_is_passed_on_behind_its_batches(tmp_path: Path) -> None:
    sent = await Bench(tmp_path).train(make_batch(1), RoundClosed(round=0))
    assert [type(one) for one in sent] == [TrainingReport, RoundClosed]


async def test_a_job_on_record_is_not_done_again(tmp_path: Path) -> None:
    ledger = MemoryLedger()
    first = await Bench(tmp_path, ledger).train(make_batch(1))
    bench = Bench(tmp_path, ledger)
    assert await bench.train(make_batch(1)) == first
    assert bench.worker.jobs == []


async def test_a_job_whose_adapter_is_gone_is_done_again(tmp_path: Path) -> None:
    ledger = MemoryLedger()
    await ledger.append(make_report(1, str(tmp_path / "gone")))
    bench = Bench(tmp_path, ledger)
    (report,) = await bench.train(make_batch(1))
    assert isinstance(report, TrainingReport)
    assert await trio.Path(report.adapter).is_dir()
    assert len(bench.worker.jobs) == 1


async def test_a_batch_whose_version_is_on_record_is_done_with(tmp_path: Path) -> None:
    ledger = MemoryLedger()
    await ledger.append(make_version(1, state="rejected"))
    bench = Bench(tmp_path, ledger)
    assert await bench.train(make_batch(1), RoundClosed(round=0)) == [RoundClosed(round=0)]
    assert bench.worker.jobs == []


async def test_a_job_that_fails_is_tried_once_more(tmp_path: Path) -> None:
    bench = Bench(tmp_path, failures=[TrainingError("killed")])
    (report,) = await bench.train(make_batch(1))
    assert isinstance(report, TrainingReport)
    assert len(bench.worker.jobs) == 2
    assert await bench.ledger.find(PolicyVersion) == ()


async def test_a_job_that_fails_twice_is_a_failed_version_and_the_run_goes_on(tmp_path: Path) -> None:
    bench = Bench(tmp_path, failures=[TrainingError("killed"), TrainingError("out of memory")])
    sent = await bench.train(make_batch(1), RoundClosed(round=0), make_batch(2))
    assert [type(one) for one in sent] == [RoundClosed, TrainingReport]
    (version,) = await bench.ledger.find(PolicyVersion)
    assert (version.number, version.state, version.batch_id) == (1, "failed", make_batch(1).id)
    assert "out of memory" in version.reason
    (record,) = await bench.ledger.find(Quarantined)
    assert (record.stage, record.subject_id) == ("trainer", make_batch(1).id)


async def test_continuing_starts_from_the_last_promoted_adapter(tmp_path: Path) -> None:
    ledger = MemoryLedger()
    await ledger.append(make_version(1), make_version(2), make_version(3, state="rejected"))
    bench = Bench(tmp_path, ledger, continues=True)
    await bench.train(make_batch(4))
    assert bench.worker.jobs[0].start_adapter == make_version(2).adapter


async def test_continuing_starts_from_the_base_model_when_nothing_was_promoted(tmp_path: Path) -> None:
    bench = Bench(tmp_path, continues=True)
    await bench.train(make_batch(1))
    assert bench.worker.jobs[0].start_adapter is None


async def test_started_again_it_goes_on_with_what_it_had_in_hand(tmp_path: Path) -> None:
    ledger = BrittleLedger(at=2, act=raise_error(Fault("disk")))  # the first append holds the examples
    bench = Bench(tmp_path, ledger)
    with pytest.raises(Fault):
        await bench.train(make_batch(1))
    await bench.trainer.run()
    assert [type(sent) async for sent in bench.out] == [TrainingReport]


async def test_statistics_tell_what_is_trained_and_how_far_it_is(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    bench = Bench(tmp_path, takes_s=5.0)
    await bench.ledger.append(*EXAMPLES)
    await bench.into.send(make_batch(7))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.trainer.run)
        await trio.sleep(1)
        seen = bench.trainer.statistics()
        await trio.sleep(10)
        after = bench.trainer.statistics()
        nursery.cancel_scope.cancel()
    assert seen.training == 7
    assert seen.progress is not None
    assert (seen.progress.step, seen.progress.steps) == (1, 2)
    assert (after.training, after.jobs) == (None, 1)
