"""Curves of a run as it goes: what its trainer tells of each step, and the evaluations that reach its ledger.

Trainer and ledger are wrapped, so no actor knows of it. Invariants: nothing of the run waits for a tracker, and no
tracker's failure reaches the run: it is told once and that tracker is left alone from then on. What comes faster than
trackers take it is dropped beyond `WAITING` points, and counted.
"""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

import msgspec
import structlog
import trio

from dashboard.trackers import Axis, Tracker
from protocols.ports import AdapterTrainer, Ledger, RecordType, TrainingJob, TrainingProgress
from protocols.records import Evaluation, LedgerRecord, Probe, TrainingReport

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

WAITING = 10_000
"""Points that may wait for trackers: hours of steps."""
CLOSING_S = 20.0


class _Point(msgspec.Struct, frozen=True):
    values: Mapping[str, float]
    axis: Axis
    at: int


class Curves:
    """Takes points from the run, without waiting, for `serve` to hand on.

    Args:
        trackers: where the points go.
        steps: optimiser steps of the run before now.
    """

    def __init__(self, trackers: Sequence[Tracker], steps: int = 0) -> None:
        self._trackers = list(trackers)
        self._steps = steps
        self._dropped = 0
        self._into, self._out = trio.open_memory_channel[_Point](WAITING)

    def step(self, progress: TrainingProgress) -> None:
        """Add one optimiser step of the job under way."""
        values = {
            "train/loss": progress.loss,
            "train/learning_rate": progress.learning_rate,
            "train/tokens_per_s": progress.tokens_per_s,
            "train/peak_bytes": float(progress.peak_bytes),
        }
        self._put(_Point(values, "step", self._steps + progress.step))

    def trained(self, report: TrainingReport) -> None:
        """Count a job's steps: the next job's come after them."""
        self._steps += report.steps

    def evaluated(self, evaluation: Evaluation) -> None:
        """Add one evaluation of a version."""
        shares = {1: evaluation.pass_at_1, **evaluation.pass_at_k}
        values = {f"{evaluation.purpose}/pass_at_{k}": share for k, share in shares.items()}
        self._put(_Point(values, "version", evaluation.version))

    async def serve(self) -> None:
        """Hand points on until `end` was called and all are handed on; then close the trackers."""
        async for point in self._out:
            await self._on_each(lambda tracker, point=point: tracker.log(point.values, point.axis, point.at))
        await self._on_each(lambda tracker: tracker.close())
        if self._dropped:
            log.warning("points_dropped", points=self._dropped)

    def end(self) -> None:
        """Take no more points."""
        self._into.close()

    def _put(self, point: _Point) -> None:
        try:
            self._into.send_nowait(point)
        except trio.WouldBlock:
            self._dropped += 1

    async def _on_each(self, act: Callable[[Tracker], None]) -> None:
        for tracker in tuple(self._trackers):
            try:
                await trio.to_thread.run_sync(act, tracker, abandon_on_cancel=True)
            except Exception as error:  # a client may fail in any way of its own; the run goes on without it
                self._trackers.remove(tracker)
                log.warning("tracker_failed", tracker=type(tracker).__name__, error=f"{type(error).__name__}: {error}")


@asynccontextmanager
async def open_curves(trackers: Sequence[Tracker], steps: int = 0) -> AsyncGenerator[Curves]:
    """Yield curves that are handed on beside the block, and for at most `CLOSING_S` after it."""
    curves = Curves(trackers, steps)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(curves.serve)
        try:
            yield curves
        finally:
            curves.end()
            nursery.cancel_scope.deadline = trio.current_time() + CLOSING_S


class TrackedTrainer:
    """The port `AdapterTrainer`, with each step added to the curves."""

    def __init__(self, trainer: AdapterTrainer, curves: Curves) -> None:
        self._trainer = trainer
        self._curves = curves

    async def train(self, job: TrainingJob, progress: Callable[[TrainingProgress], None]) -> TrainingReport:
        """Train. Errors as `AdapterTrainer.train`."""

        def tell(done: TrainingProgress) -> None:
            progress(done)
            self._curves.step(done)

        return await self._trainer.train(job, tell)

    async def probe(self, model: str, texts: Sequence[str]) -> tuple[Probe, ...]:
        """Probe. Errors as `AdapterTrainer.probe`."""
        return await self._trainer.probe(model, texts)


class TrackedLedger:
    """The port `Ledger`, with evaluations added to the curves once they are on disk."""

    def __init__(self, ledger: Ledger, curves: Curves) -> None:
        self._ledger = ledger
        self._curves = curves

    async def append(self, *records: LedgerRecord) -> None:
        """Append. Errors as `Ledger.append`."""
        await self._ledger.append(*records)
        for record in records:
            if isinstance(record, Evaluation):
                self._curves.evaluated(record)
            elif isinstance(record, TrainingReport):
                self._curves.trained(record)

    async def get(self, kind: type[RecordType], id: str) -> RecordType | None:
        """Get one record."""
        return await self._ledger.get(kind, id)

    async def find(
        self,
        kind: type[RecordType],
        *,
        task_id: str | None = None,
        round: int | None = None,
        version: int | None = None,
    ) -> tuple[RecordType, ...]:
        """Find records."""
        return await self._ledger.find(kind, task_id=task_id, round=round, version=version)
