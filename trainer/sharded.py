# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (torch and transformers carry no complete types)
"""One job on several processes: FSDP2 shards the transformer's layers, each process takes its share of every step.

Invariants: a step sums the loss over all its examples and divides by all its loss tokens, as in one process; every
process makes equally many passes (a short one repeats a group at no weight), since each pass is a collective. The
embedding, the last norm and the projection are whole on every process, and their gradients are summed.

The base model cannot be taken out of its shards again: it is loaded anew for writing and for the next job. Not covered:
checkpoints (a killed job begins anew), and machines beyond one.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from protocols.ports import TrainingJob, TrainingProgress
from trainer.base_model import BaseModel
from trainer.batching import job_batches
from trainer.checkpoint import Done
from trainer.gradient_checkpointing import checkpointed_layers
from trainer.lean_layers import lean_layers
from trainer.packing import make_micro_batch, packed
from trainer.peak_memory import peak_bytes
from trainer.process_group import ProcessGroup
from trainer.rendering import Rendered
from trainer.schedule import rate_share
from trainer.step import batch_loss, check_finite, move


@dataclass(frozen=True)
class Trained:
    """What the processes came to together."""

    parameters: list[torch.Tensor]
    """Whole, in the order of the model's trainable parameters; empty on all ranks but 0."""
    done: Done


def fit_sharded(
    base: BaseModel,
    rendered: Sequence[Rendered],
    job: TrainingJob,
    progress: Callable[[TrainingProgress], None],
    group: ProcessGroup,
) -> Trained:
    """Shard `base`, whose trainable parameters are set up, and train them; every rank calls this.

    Raises:
        LossError: on every rank, when the loss or its gradient is not finite.
    """
    mesh = init_device_mesh(base.device.type, (group.size,))
    for layer in base.model.base_model.layers:
        fully_shard(layer, mesh=mesh)
    parameters = [one for one in base.model.parameters() if one.requires_grad]
    optimiser = torch.optim.AdamW(
        parameters, lr=job.recipe.learning_rate, weight_decay=job.recipe.weight_decay, foreach=False
    )
    steps = job_batches(len(rendered), job.recipe)
    done = Done()
    with lean_layers(base.model), checkpointed_layers(base.model, job.recipe):
        for step, indices in enumerate(steps):
            started = time.perf_counter()
            rate = job.recipe.learning_rate * rate_share(step, len(steps), job.recipe.warmup_share)
            examples = [rendered[index] for index in indices]
            loss = _step(base, parameters, examples, job, optimiser, rate, group)
            tokens = sum(len(example.ids) - 1 for example in examples)
            done.losses.append(loss)
            done.tokens += tokens
            done.loss_tokens += _loss_tokens(examples)
            progress(
                TrainingProgress(
                    step=step + 1,
                    steps=len(steps),
                    loss=loss,
                    learning_rate=rate,
                    tokens_per_s=tokens / (time.perf_counter() - started),
                    peak_bytes=peak_bytes(base.device),
                )
            )
    whole = [_whole(parameter) for parameter in parameters]
    return Trained(whole if group.rank == 0 else [], done)


def _step(
    base: BaseModel,
    parameters: Sequence[torch.nn.Parameter],
    examples: Sequence[Rendered],
    job: TrainingJob,
    optimiser: torch.optim.Optimizer,
    rate: float,
    group: ProcessGroup,
) -> float:
    """Do one optimiser step; return its mean loss per loss-carrying token, the same on every rank."""
    loss_tokens = _loss_tokens(examples)
    total = 0.0
    for weight, share in _shares(examples, job.recipe.micro_batch_tokens, group):
        loss = batch_loss(base, make_micro_batch(share, base.device)) / loss_tokens * weight
        (loss * group.size).backward()  # FSDP takes the mean over ranks, and a sum is wanted
        total += loss.item()
    norm = _sum_and_norm(parameters, group)
    [mean] = group.total(total)
    check_finite(mean, norm)
    _clip(parameters, norm, job.recipe.max_gradient_norm)
    move(optimiser, rate)
    return mean


def _shares(examples: Sequence[Rendered], max_tokens: int, group: ProcessGroup) -> list[tuple[float, list[Rendered]]]:
    """Return this rank's groups of examples with their weights, equally many on every rank."""
    groups = packed(examples, max_tokens)
    passes = -(-len(groups) // group.size)
    mine = [groups[at] for at in range(group.rank, len(groups), group.size)]
    weighted = [(1.0, one) for one in mine] + [(0.0, groups[0])] * (passes - len(mine))
    return [(weight, [examples[index] for index in indices]) for weight, indices in weighted]


def _sum_and_norm(parameters: Sequence[torch.nn.Parameter], group: ProcessGroup) -> float:
    """Sum the gradients of what is not sharded; return the norm of all gradients together."""
    sharded = whole = 0.0
    for parameter in parameters:
        gradient = parameter.grad
        if isinstance(gradient, DTensor):
            sharded += float(gradient.to_local().float().pow(2).sum())
        elif gradient is not None:
            dist.all_reduce(gradient)
            gradient /= group.size  # each rank's loss was multiplied for FSDP's mean
            whole += float(gradient.float().pow(2).sum())
    return math.sqrt(group.total(sharded)[0] + whole)


def _clip(parameters: Sequence[torch.nn.Parameter], norm: float, most: float) -> None:
    share = most / (norm + 1e-6)
    if share < 1.0:
        for parameter in parameters:
            if parameter.grad is not None:
                parameter.grad *= share


def _whole(parameter: torch.nn.Parameter) -> torch.Tensor:
    tensor = parameter.detach()
    return (tensor.full_tensor() if isinstance(tensor, DTensor) else tensor).cpu()


def _loss_tokens(examples: Sequence[Rendered]) -> int:
    return sum(sum(example.learnt) for example in examples)
