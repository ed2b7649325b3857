# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (torch and transformers carry no complete types)
"""The optimisation loop of one job.

Given seed, threads, machine and size of micro-batches, two runs are equal to the bit on a CPU. The size is that of the
recipe, unless memory is short (`trainer.memory`).
"""

import time
from collections.abc import Callable, Sequence

import torch

from protocols.ports import TrainingJob, TrainingProgress
from trainer.base_model import BaseModel
from trainer.batching import job_batches
from trainer.checkpoint import Done, checkpoints_of
from trainer.gradient_checkpointing import checkpointed_layers
from trainer.lanes import lanes_for
from trainer.lean_layers import lean_layers
from trainer.memory import affordable_tokens
from trainer.peak_memory import peak_bytes
from trainer.rendering import Rendered
from trainer.schedule import rate_share
from trainer.step import Stepper


def fit(
    base: BaseModel,
    adapters: Sequence[torch.nn.Parameter],
    rendered: Sequence[Rendered],
    job: TrainingJob,
    progress: Callable[[TrainingProgress], None],
) -> Done:
    """Train `adapters`, which are attached to `base`, on `rendered`; tell `progress` after each step.

    A job that has a checkpoint goes on from there.

    Raises:
        LossError: a loss or gradient is not finite; the adapters are worthless then.
        OSError: a checkpoint could not be written.
    """
    steps = job_batches(len(rendered), job.recipe)
    optimiser = torch.optim.AdamW(
        adapters, lr=job.recipe.learning_rate, weight_decay=job.recipe.weight_decay, fused=True
    )
    checkpoints = checkpoints_of(base, job)
    done = checkpoints.restore(adapters, optimiser)
    lanes = lanes_for(base, job.recipe)
    with lean_layers(base.model):
        tokens = affordable_tokens(base, job.recipe, lanes)
    with lean_layers(base.model), checkpointed_layers(base.model, job.recipe):
        stepper = Stepper(base, adapters, optimiser, job.recipe, tokens, lanes)
        for step, indices in list(enumerate(steps))[len(done.losses) :]:
            started = time.perf_counter()
            rate = job.recipe.learning_rate * rate_share(step, len(steps), job.recipe.warmup_share)
            outcome = stepper.take([rendered[index] for index in indices], rate)
            done.losses.append(outcome.loss)
            done.tokens += outcome.tokens
            done.loss_tokens += outcome.loss_tokens
            checkpoints.keep(adapters, optimiser, done, len(steps))
            progress(
                TrainingProgress(
                    step=step + 1,
                    steps=len(steps),
                    loss=outcome.loss,
                    learning_rate=rate,
                    tokens_per_s=outcome.tokens / (time.perf_counter() - started),
                    peak_bytes=peak_bytes(base.device),
                )
            )
    return done
