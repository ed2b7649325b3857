# pyright: reportUnknownMemberType=false
# (torch carries no complete types)
"""One training job done by several processes: all of them train, then rank 0 alone writes, probes and reports."""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from protocols.ports import TrainingJob, TrainingProgress
from protocols.records import TrainingReport
from trainer.base_model import BaseModel
from trainer.checkpoint import Done
from trainer.job import run_job, select
from trainer.low_rank import attached
from trainer.process_group import ProcessGroup
from trainer.sharded import Trained, fit_sharded
from trainer.whole_weights import whole_weights


def train_together(
    base: BaseModel, job: TrainingJob, progress: Callable[[TrainingProgress], None], group: ProcessGroup
) -> Trained:
    """Train on every rank; `base` is in shards afterwards, and of no more use.

    Raises:
        TrainingError: as `run_job`, on every rank.
    """
    selection = select(base, job)
    torch.manual_seed(job.recipe.seed)
    if job.recipe.weights == "full":
        with whole_weights(base, Path(job.start_weights) if job.start_weights else None):
            base.model.train()
            return fit_sharded(base, selection.rendered, job, progress, group)
    with attached(base, job) as model:
        model.train()
        return fit_sharded(base, selection.rendered, job, progress, group)


def write_alone(base: BaseModel, job: TrainingJob, trained: Trained, note: Callable[[str], None]) -> TrainingReport:
    """Write, probe and report what was trained together, on a base model that was loaded anew.

    Raises:
        TrainingError, OSError: as `run_job`.
    """

    def put_in(_: BaseModel, parameters: Sequence[torch.nn.Parameter], *others: object) -> Done:
        with torch.no_grad():
            for parameter, whole in zip(parameters, trained.parameters, strict=True):
                parameter.copy_(whole)
        return trained.done

    return run_job(base, job, lambda _: None, note, learn=put_in)
