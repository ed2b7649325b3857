# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (torch and PEFT carry no complete types)
"""One training job from its examples to its report, inside the worker."""

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from protocols.ports import TrainingJob, TrainingProgress
from protocols.records import Probe, TrainingReport
from trainer.adapter import MERGED, publish_folder, staging_folder, write_adapter, write_whole_model
from trainer.base_model import BaseModel
from trainer.checkpoint import Done, remove_checkpoints
from trainer.low_rank import attached, exchanged, merged_weights
from trainer.peak_memory import begin_peak, peak_bytes
from trainer.probing import probe_texts
from trainer.rendering import RenderingError, Selection, render_all
from trainer.training import LossError, fit


def run_job(
    base: BaseModel, job: TrainingJob, progress: Callable[[TrainingProgress], None], note: Callable[[str], None]
) -> TrainingReport:
    """Train, write, probe, report; the base model is as before afterwards, whatever happens.

    Raises:
        TrainingError: an example cannot be used, none is left to train on, or the loss is not finite.
        OSError: the adapter could not be written.

    A job that failed leaves nothing but, unless its loss was at fault, its last checkpoint.
    """
    try:
        return _run(base, job, progress, note)
    except LossError:
        remove_checkpoints(job)  # it would come to the same again
        raise


def _run(
    base: BaseModel, job: TrainingJob, progress: Callable[[TrainingProgress], None], note: Callable[[str], None]
) -> TrainingReport:
    started = time.perf_counter()
    begin_peak(base.device)
    selection = _select(base, job)
    torch.manual_seed(job.recipe.seed)
    with staging_folder(Path(job.output_folder), job.version) as staged:
        with attached(base, job) as model:
            preparation_s = time.perf_counter() - started
            done = _fit(model, base, selection, job, progress)
            note("writing the adapter")
            content_hash = write_adapter(model, staged)
            probes = _finite(probe_texts(base, job.probe_texts))
            merged = merged_weights(model) if job.write_merged else {}
        if job.write_merged:
            note("writing the merged weights")
            probes = _write_merged(base, merged, staged / MERGED, job.probe_texts)
        folder = publish_folder(staged, job.version, content_hash)
    remove_checkpoints(job)
    seconds = done.earlier_s + time.perf_counter() - started
    return _report(base, job, selection, done, folder, content_hash, probes, seconds, preparation_s)


def _select(base: BaseModel, job: TrainingJob) -> Selection:
    selection = render_all(base.tokenizer, job.examples, job.recipe.max_tokens)
    if not selection.rendered:
        raise RenderingError(f"none of {len(job.examples)} examples fits into {job.recipe.max_tokens} tokens")
    return selection


def _fit(
    model: Any,
    base: BaseModel,
    selection: Selection,
    job: TrainingJob,
    progress: Callable[[TrainingProgress], None],
) -> Done:
    model.train()
    adapters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    done = fit(base, adapters, selection.rendered, job, progress)
    model.eval()
    return done


def _finite(probes: tuple[Probe, ...]) -> tuple[Probe, ...]:
    """Refuse numbers that burst in the last step, after which no loss tells of it."""
    if not all(math.isfinite(number) for probe in probes for number in probe.log_probabilities):
        raise LossError("the trained model answers with numbers that are not finite: a lower learning rate may help")
    return probes


def _write_merged(
    base: BaseModel, merged: dict[str, torch.Tensor], folder: Path, texts: tuple[str, ...]
) -> tuple[Probe, ...]:
    with exchanged(base, merged):
        write_whole_model(base, folder)
        return probe_texts(base, texts)


def _report(
    base: BaseModel,
    job: TrainingJob,
    selection: Selection,
    done: Done,
    folder: Path,
    content_hash: str,
    probes: tuple[Probe, ...],
    seconds: float,
    preparation_s: float,
) -> TrainingReport:
    return TrainingReport(
        id=job.id,
        round=job.round,
        version=job.version,
        adapter=str(folder),
        merged=str(folder / MERGED) if job.write_merged else None,
        content_hash=content_hash,
        losses=tuple(done.losses),
        examples=len(selection.rendered),
        dropped=selection.dropped,
        steps=len(done.losses),
        tokens=done.tokens,
        loss_tokens=done.loss_tokens,
        seconds=seconds,
        peak_bytes=peak_bytes(base.device),
        probes=probes,
        preparation_s=preparation_s,
    )
