# pyright: reportUnknownMemberType=false
# (torch carries no complete types)
"""One training job from its examples to its report, inside the worker."""

import time
from collections.abc import Callable
from pathlib import Path

import torch

from protocols.ports import TrainingJob, TrainingProgress
from protocols.records import TrainingReport
from trainer.adapter import MERGED, publish_folder, staging_folder
from trainer.base_model import BaseModel
from trainer.checkpoint import remove_checkpoints
from trainer.outcome import Learn, Observer, Outcome, make_adapter, make_whole_model
from trainer.peak_memory import begin_peak, peak_bytes
from trainer.rendering import RenderingError, Selection, render_all
from trainer.step import LossError
from trainer.training import fit


def run_job(
    base: BaseModel,
    job: TrainingJob,
    progress: Callable[[TrainingProgress], None],
    note: Callable[[str], None],
    learn: Learn = fit,
) -> TrainingReport:
    """Train, write, probe, report; the base model is as before afterwards, whatever happens.

    Raises:
        TrainingError: an example cannot be used, none is left to train on, or the loss is not finite.
        OSError: the adapter could not be written.

    `learn` trains the parameters that it is given, which are on the base model.

    A job that failed leaves nothing but, unless its loss was at fault, its last checkpoint.
    """
    try:
        return _run(base, job, progress, note, learn)
    except LossError:
        remove_checkpoints(job)  # it would come to the same again
        raise


def _run(
    base: BaseModel,
    job: TrainingJob,
    progress: Callable[[TrainingProgress], None],
    note: Callable[[str], None],
    learn: Learn,
) -> TrainingReport:
    started = time.perf_counter()
    begin_peak(base.device)
    selection = select(base, job)
    torch.manual_seed(job.recipe.seed)
    make = make_whole_model if job.recipe.weights == "full" else make_adapter
    with staging_folder(Path(job.output_folder), job.version) as staged:
        outcome = make(base, job, selection.rendered, staged, Observer(progress, note), learn)
        folder = publish_folder(staged, job.version, outcome.content_hash)
    remove_checkpoints(job)
    done = outcome.done
    seconds = done.earlier_s + time.perf_counter() - started
    preparation_s = done.began_at - started
    return _report(job, selection, outcome, folder, seconds, preparation_s, peak_bytes(base.device))


def select(base: BaseModel, job: TrainingJob) -> Selection:
    """Return the examples that the job trains on.

    Raises:
        RenderingError: one cannot be used, or none is short enough.
    """
    selection = render_all(base.tokenizer, job.examples, job.recipe.max_tokens)
    if not selection.rendered:
        raise RenderingError(f"none of {len(job.examples)} examples fits into {job.recipe.max_tokens} tokens")
    return selection


def _report(
    job: TrainingJob,
    selection: Selection,
    outcome: Outcome,
    folder: Path,
    seconds: float,
    preparation_s: float,
    peak: int,
) -> TrainingReport:
    whole = job.recipe.weights == "full"
    merged = str(folder / MERGED) if job.write_merged else None
    return TrainingReport(
        id=job.id,
        round=job.round,
        version=job.version,
        adapter=None if whole else str(folder),
        merged=str(folder) if whole else merged,
        content_hash=outcome.content_hash,
        losses=tuple(outcome.done.losses),
        examples=len(selection.rendered),
        dropped=selection.dropped,
        steps=len(outcome.done.losses),
        tokens=outcome.done.tokens,
        loss_tokens=outcome.done.loss_tokens,
        seconds=seconds,
        peak_bytes=peak,
        probes=outcome.probes,
        preparation_s=preparation_s,
    )
