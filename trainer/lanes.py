# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (torch carries no complete types)
"""Micro-batches side by side, each on its share of a CPU's cores.

The layers of a narrow model are too small to keep several cores busy: two micro-batches at once take three quarters of
the time that they take one after the other (docs/decisions/0004-training-speed.md). Each makes its gradients apart, and
these are summed in the order of the micro-batches, so nothing depends on which is done first.
"""

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import torch

from protocols.ports import TrainingRecipe
from trainer.base_model import BaseModel
from trainer.packing import MicroBatch

LANES = 2
NARROW = 768
"""A model's hidden states are narrow below that: at 576 two lanes were measured to pay, at 896 not."""
LEAST_TOKENS = 640
"""Of a lane's micro-batch where one of all tokens could go instead: smaller ones take longer than that."""


def lanes_for(base: BaseModel, recipe: TrainingRecipe) -> int:
    """Return how many micro-batches of a job go side by side; 1 where that does not pay, or would change the outcome.

    Dropout draws from one generator, in an order that threads would not keep. Whole gradients, and jobs that compute
    layers twice to save memory, would need too much of it.

    Args:
        base: the model, with what is trained on it attached.
        recipe: of the job.
    """
    pays = base.device.type == "cpu" and torch.get_num_threads() >= LANES and base.head.in_features < NARROW
    may = recipe.weights == "adapter" and not (recipe.gradient_checkpointing or _draws(base.model))
    return LANES if pays and may else 1


def accumulate_side_by_side(
    batches: Sequence[MicroBatch],
    loss_of: Callable[[MicroBatch], torch.Tensor],
    parameters: Sequence[torch.nn.Parameter],
    lanes: int,
) -> float:
    """Add the gradients of each loss to those of `parameters`, in order; return the sum of the losses.

    Args:
        batches: each has a loss of its own.
        loss_of: makes the graph of one; called in several threads at once.
        parameters: what the gradients are made for.
        lanes: micro-batches at a time.

    Raises:
        Exception: what the first one that failed has raised, once no other is being worked on.
    """

    def gradients_of(batch: MicroBatch) -> tuple[float, tuple[torch.Tensor | None, ...]]:
        loss = loss_of(batch)
        return loss.item(), torch.autograd.grad(loss, parameters, allow_unused=True)

    total = 0.0
    with _threads(max(1, torch.get_num_threads() // lanes)), ThreadPoolExecutor(lanes) as pool:
        for loss, gradients in pool.map(gradients_of, batches):
            total += loss
            for parameter, gradient in zip(parameters, gradients, strict=True):
                _add(parameter, gradient)
    return total


def _draws(model: Any) -> bool:
    """Whether a layer of `model` has dropout: as a module, or as attention layers of transformers name it."""
    return any(
        (isinstance(layer, torch.nn.Dropout) and layer.p > 0.0) or getattr(layer, "attention_dropout", 0.0) > 0.0
        for layer in model.modules()
    )


def _add(parameter: torch.nn.Parameter, gradient: torch.Tensor | None) -> None:
    if gradient is None:
        return
    if parameter.grad is None:
        parameter.grad = torch.zeros_like(parameter)  # in the parameter's own layout: a fused optimiser counts on it
    parameter.grad += gradient


@contextmanager
def _threads(count: int) -> Generator[None]:
    """Let threads that are started within compute on `count` cores each."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
