# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (torch and PEFT carry no complete types)
"""What a job makes of rendered examples, in a folder that nobody sees yet: an adapter, or a whole model."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from protocols.ports import TrainingJob, TrainingProgress
from protocols.records import Probe
from trainer.adapter import MERGED, hash_of_weights, write_adapter, write_whole_model
from trainer.base_model import BaseModel
from trainer.checkpoint import Done
from trainer.low_rank import attached, exchanged, merged_weights
from trainer.probing import probe_texts
from trainer.rendering import Rendered
from trainer.step import LossError
from trainer.whole_weights import rounded, whole_weights

Learn = Callable[
    [
        BaseModel,
        Sequence[torch.nn.Parameter],
        Sequence[Rendered],
        TrainingJob,
        Callable[[TrainingProgress], None],
    ],
    Done,
]
"""What trains parameters that are on the base model: `trainer.training.fit`, or what stands for it."""


@dataclass(frozen=True)
class Outcome:
    """What was trained and written."""

    done: Done
    content_hash: str
    """SHA-256 of the written weights."""
    probes: tuple[Probe, ...]


@dataclass(frozen=True)
class Observer:
    """Who is told how a job goes."""

    progress: Callable[[TrainingProgress], None]
    note: Callable[[str], None]


def make_adapter(
    base: BaseModel, job: TrainingJob, rendered: Sequence[Rendered], folder: Path, observer: Observer, learn: Learn
) -> Outcome:
    """Train an adapter and write it into `folder`, with the merged weights in `MERGED` if the job wants them.

    Raises:
        TrainingError, OSError: as `trainer.job.run_job`.
    """
    with attached(base, job) as model:
        model.train()
        adapters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        done = learn(base, adapters, rendered, job, observer.progress)
        model.eval()
        observer.note("writing the adapter")
        content_hash = write_adapter(model, folder)
        probes = _finite(probe_texts(base, job.probe_texts))
        merged = merged_weights(model) if job.write_merged else {}
    if job.write_merged:
        observer.note("writing the merged weights")
        probes = _write_whole(base, merged, folder / MERGED, job.probe_texts)
    return Outcome(done, content_hash, probes)


def make_whole_model(
    base: BaseModel, job: TrainingJob, rendered: Sequence[Rendered], folder: Path, observer: Observer, learn: Learn
) -> Outcome:
    """Train all weights and write the whole model into `folder`.

    Raises:
        TrainingError, OSError: as `trainer.job.run_job`.
    """
    with whole_weights(base, Path(job.start_weights) if job.start_weights else None) as masters:
        base.model.train()
        done = learn(base, list(masters.values()), rendered, job, observer.progress)
        trained = rounded(masters)
    observer.note("writing the whole model")
    probes = _write_whole(base, trained, folder, job.probe_texts)
    return Outcome(done, hash_of_weights(folder), probes)


def _write_whole(
    base: BaseModel, weights: dict[str, torch.Tensor], folder: Path, texts: tuple[str, ...]
) -> tuple[Probe, ...]:
    with exchanged(base, weights):
        write_whole_model(base, folder)
        return _finite(probe_texts(base, texts))


def _finite(probes: tuple[Probe, ...]) -> tuple[Probe, ...]:
    """Refuse numbers that burst in the last step, after which no loss tells of it."""
    if not all(math.isfinite(number) for probe in probes for number in probe.log_probabilities):
        raise LossError("the trained model answers with numbers that are not finite: a lower learning rate may help")
    return probes
