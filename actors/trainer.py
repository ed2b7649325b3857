"""The Trainer: turns each batch into an adapter, once, however often the run is killed in between."""

import msgspec
import structlog
import trio

from actors.messages import RoundClosed
from protocols.errors import TrainingError
from protocols.identity import derive
from protocols.ports import AdapterTrainer, Ledger, TrainingJob, TrainingProgress, TrainingRecipe
from protocols.records import Batch, Example, PolicyVersion, Quarantined, TrainingReport

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

TrainerOutput = TrainingReport | RoundClosed


class TrainingRule(msgspec.Struct, frozen=True, kw_only=True):
    """Step 8, as far as it is the same for every batch."""

    model: str
    output_folder: str
    continues: bool
    """Whether a job goes on from the last promoted adapter instead of the base model."""
    write_merged: bool
    probe_texts: tuple[str, ...]
    recipe: TrainingRecipe


class TrainerStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """What the Trainer is doing."""

    waiting: int
    """Batches in its inbox."""
    training: int | None
    """Version that is being trained; None when idle."""
    progress: TrainingProgress | None
    """Of the job under way, or of the last one."""
    jobs: int


class Trainer:
    """Step 8 of the method.

    A job that fails is tried once more (a worker may have been killed for lack of memory by something else); then its
    version is recorded as failed, its batch is quarantined, and the run goes on with the version it has.
    """

    TRIES = 2

    def __init__(
        self,
        trainer: AdapterTrainer,
        ledger: Ledger,
        inbox: "trio.MemoryReceiveChannel[Batch | RoundClosed]",
        outbox: "trio.MemorySendChannel[TrainerOutput]",
        rule: TrainingRule,
    ) -> None:
        self._trainer = trainer
        self._ledger = ledger
        self._inbox = inbox
        self._outbox = outbox
        self._rule = rule
        self._in_hand: Batch | RoundClosed | None = None
        self._training: int | None = None
        self._progress: TrainingProgress | None = None
        self._jobs = 0

    def statistics(self) -> TrainerStatistics:
        """Return what the Trainer is doing now."""
        return TrainerStatistics(
            waiting=self._inbox.statistics().current_buffer_used,
            training=self._training,
            progress=self._progress,
            jobs=self._jobs,
        )

    async def run(self) -> None:
        """Train batch after batch until the inbox ends, then close the outbox."""
        while True:
            if self._in_hand is None:
                try:
                    self._in_hand = await self._inbox.receive()
                except trio.EndOfChannel:
                    break
            result = await self._handle(self._in_hand)
            if result is not None:
                await self._outbox.send(result)
            self._in_hand = None
        await self._outbox.aclose()

    async def _handle(self, item: Batch | RoundClosed) -> TrainerOutput | None:
        if isinstance(item, RoundClosed):
            return item
        if await self._ledger.get(PolicyVersion, derive("policy_version", item.number)) is not None:
            return None
        known = await self._ledger.get(TrainingReport, item.id)
        if known is not None and await trio.Path(known.folder).is_dir():
            return known
        return await self._train(item)

    async def _train(self, batch: Batch) -> TrainingReport | None:
        job = await self._job(batch)
        self._training = batch.number
        log.info("training_started", version=batch.number, examples=len(job.examples))
        try:
            for attempt in range(1, self.TRIES + 1):
                try:
                    report = await self._trainer.train(job, self._note)
                except TrainingError as error:
                    log.error("training_failed", version=batch.number, attempt=attempt, error=str(error))
                    failure = error
                else:
                    await self._ledger.append(report)
                    self._jobs += 1
                    log.info("training_ended", version=batch.number, steps=report.steps, seconds=round(report.seconds))
                    return report
            await self._give_up(batch, failure)  # pyright: ignore[reportPossiblyUnboundVariable]
            return None
        finally:
            self._training = None

    def _note(self, progress: TrainingProgress) -> None:
        self._progress = progress

    async def _job(self, batch: Batch) -> TrainingJob:
        examples = [await self._ledger.get(Example, id) for id in batch.example_ids]
        rule = self._rule
        last = await self._last_promoted() if rule.continues else None
        return TrainingJob(
            id=batch.id,
            round=batch.round,
            version=batch.number,
            examples=tuple(example for example in examples if example is not None),
            model=rule.model,
            start_adapter=last.adapter if last else None,
            start_weights=last.merged if last and rule.recipe.weights == "full" else None,
            output_folder=rule.output_folder,
            write_merged=rule.write_merged,
            probe_texts=rule.probe_texts,
            recipe=rule.recipe,
        )

    async def _last_promoted(self) -> PolicyVersion | None:
        promoted = [v for v in await self._ledger.find(PolicyVersion) if v.state == "promoted"]
        return max(promoted, key=lambda version: version.number, default=None)

    async def _give_up(self, batch: Batch, error: TrainingError) -> None:
        version = PolicyVersion(
            id=derive("policy_version", batch.number),
            number=batch.number,
            name=f"v{batch.number:04d}-failed",
            parent=batch.version,
            state="failed",
            reason=f"training failed: {error}"[:1000],
            adapter=None,
            merged=None,
            batch_id=batch.id,
            content_hash=None,
            probes=(),
            canary=None,
        )
        quarantined = Quarantined(
            id=derive("quarantined", "trainer", batch.id),
            stage="trainer",
            subject_id=batch.id,
            task_id=None,
            round=batch.round,
            reason=version.reason,
            traceback="",
        )
        await self._ledger.append(version, quarantined)
