# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (torch and transformers carry no complete types)
"""The optimisation loop of one job.

Each step sums the loss of its micro-batches over tokens that carry loss and divides by their number in the whole step,
so the split into micro-batches changes nothing but speed. Given seed, threads and machine, two runs are equal to the
bit on a CPU.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from protocols.errors import TrainingError
from protocols.ports import TrainingJob, TrainingProgress
from trainer.base_model import BaseModel
from trainer.batching import micro_batches, optimiser_batches
from trainer.checkpoint import Done, checkpoints_of
from trainer.peak_memory import peak_bytes
from trainer.rendering import Rendered
from trainer.schedule import rate_share
from trainer.selected_loss import summed_loss
from trainer.whole_loss import summed_whole_loss


class LossError(TrainingError):
    """The loss or its gradient is not a finite number."""


@dataclass(frozen=True)
class MicroBatch:
    """Padded examples: what goes in, where loss lies, and what should come out there."""

    input_ids: torch.Tensor
    positions: torch.Tensor
    """Indices into the flattened input."""
    targets: torch.Tensor
    tokens: int
    """Without padding."""


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
    steps = [
        batch
        for epoch in range(job.recipe.epochs)
        for batch in optimiser_batches(len(rendered), job.recipe.batch_examples, job.recipe.seed, epoch)
    ]
    optimiser = torch.optim.AdamW(
        adapters, lr=job.recipe.learning_rate, weight_decay=job.recipe.weight_decay, foreach=True
    )
    checkpoints = checkpoints_of(base, job)
    done = checkpoints.restore(adapters, optimiser)
    for step, indices in list(enumerate(steps))[len(done.losses) :]:
        started = time.perf_counter()
        rate = job.recipe.learning_rate * rate_share(step, len(steps), job.recipe.warmup_share)
        batches = _collate([rendered[index] for index in indices], job.recipe.micro_batch_tokens, base.device)
        done.losses.append(_step(base, adapters, batches, optimiser, rate, job.recipe.max_gradient_norm))
        step_tokens = sum(batch.tokens for batch in batches)
        done.tokens += step_tokens
        done.loss_tokens += sum(len(batch.targets) for batch in batches)
        checkpoints.keep(adapters, optimiser, done, len(steps))
        progress(
            TrainingProgress(
                step=step + 1,
                steps=len(steps),
                loss=done.losses[-1],
                learning_rate=rate,
                tokens_per_s=step_tokens / (time.perf_counter() - started),
                peak_bytes=peak_bytes(base.device),
            )
        )
    return done


def batch_loss(base: BaseModel, batch: MicroBatch) -> torch.Tensor:
    """Return the summed loss of one micro-batch; only tokens that carry loss reach the projection."""
    with torch.autocast(base.device.type, torch.bfloat16, enabled=base.dtype == torch.bfloat16):
        hidden = base.hidden_states(batch.input_ids)
        selected = hidden.flatten(0, 1).index_select(0, batch.positions)
        if base.head.weight.requires_grad:
            return summed_whole_loss(selected, base.head, batch.targets)
    return summed_loss(selected, base.head, batch.targets)


def make_micro_batch(examples: Sequence[Rendered], device: torch.device) -> MicroBatch:
    """Pad `examples` on the right. An example's last token is only ever a target, so it is not fed."""
    width = max(len(example.ids) for example in examples) - 1
    inputs = torch.zeros((len(examples), width), dtype=torch.long)
    positions: list[int] = []
    targets: list[int] = []
    for row, example in enumerate(examples):
        inputs[row, : len(example.ids) - 1] = torch.tensor(example.ids[:-1])
        learnt = [at for at, is_learnt in enumerate(example.learnt) if is_learnt]
        positions += [row * width + at - 1 for at in learnt]
        targets += [example.ids[at] for at in learnt]
    tokens = sum(len(example.ids) - 1 for example in examples)
    return MicroBatch(
        inputs.to(device), torch.tensor(positions, device=device), torch.tensor(targets, device=device), tokens
    )


def _collate(examples: Sequence[Rendered], max_padded_tokens: int, device: torch.device) -> list[MicroBatch]:
    groups = micro_batches([len(example.ids) - 1 for example in examples], max_padded_tokens)
    return [make_micro_batch([examples[index] for index in group], device) for group in groups]


def _step(
    base: BaseModel,
    adapters: Sequence[torch.nn.Parameter],
    batches: Sequence[MicroBatch],
    optimiser: torch.optim.Optimizer,
    rate: float,
    max_gradient_norm: float,
) -> float:
    """Do one optimiser step; return its mean loss per loss-carrying token."""
    loss_tokens = sum(len(batch.targets) for batch in batches)
    total = 0.0
    for batch in batches:
        loss = batch_loss(base, batch) / loss_tokens
        loss.backward()
        total += loss.item()
    norm = float(torch.nn.utils.clip_grad_norm_(adapters, max_gradient_norm))
    if not (math.isfinite(total) and math.isfinite(norm)):
        raise LossError(f"loss is {total}, gradient norm {norm}: a lower learning rate may help")
    _set_rate(optimiser, rate)
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)
    return total


def _set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    group: dict[str, Any]
    for group in optimiser.param_groups:
        group["lr"] = rate
