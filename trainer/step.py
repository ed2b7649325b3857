# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (torch and transformers carry no complete types)
"""One optimiser step: examples into packed micro-batches, their gradients summed, the parameters moved.

The loss of the micro-batches is summed over tokens that carry loss and divided by their number in the whole step, so
the split into micro-batches, and how many of them go side by side, changes nothing but speed. When memory runs out, the
step is begun again with micro-batches of half the size, and the size stays so.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from protocols.errors import TrainingError
from protocols.ports import TrainingRecipe
from trainer.base_model import BaseModel
from trainer.lanes import LEAST_TOKENS, accumulate_side_by_side
from trainer.memory import is_out_of_memory
from trainer.packing import MicroBatch, make_micro_batch, packed
from trainer.random_state import random_state, set_random_state
from trainer.rendering import Rendered
from trainer.selected_loss import summed_loss
from trainer.whole_loss import summed_whole_loss


class LossError(TrainingError):
    """The loss or its gradient is not a finite number."""


class StepOutcome(NamedTuple):
    """What one step did."""

    loss: float
    """Mean per loss-carrying token."""
    tokens: int
    loss_tokens: int


class Stepper:
    """Takes the steps of one job.

    Args:
        base: the model that `parameters` are part of.
        parameters: what is trained.
        optimiser: of `parameters`.
        recipe: for the gradient's greatest norm.
        micro_batch_tokens: of one pass through the model, at most; a longer example goes alone.
        lanes: micro-batches that go through the model at a time.
    """

    def __init__(
        self,
        base: BaseModel,
        parameters: Sequence[torch.nn.Parameter],
        optimiser: torch.optim.Optimizer,
        recipe: TrainingRecipe,
        micro_batch_tokens: int,
        lanes: int,
    ) -> None:
        self._base = base
        self._parameters = parameters
        self._optimiser = optimiser
        self._recipe = recipe
        self._micro_batch_tokens = micro_batch_tokens
        self._lanes = lanes

    @property
    def micro_batch_tokens(self) -> int:
        """Of one pass, at most, as things stand."""
        return self._micro_batch_tokens

    def take(self, examples: Sequence[Rendered], rate: float) -> StepOutcome:
        """Do one optimiser step on `examples` at the learning rate `rate`.

        Raises:
            LossError: the loss or its gradient is not finite.
            RuntimeError: memory runs out even with one example at a time.
        """
        batches, loss = self._accumulated(examples)
        norm = float(torch.nn.utils.clip_grad_norm_(self._parameters, self._recipe.max_gradient_norm))
        check_finite(loss, norm)
        move(self._optimiser, rate)
        return StepOutcome(loss, sum(batch.tokens for batch in batches), sum(len(batch.targets) for batch in batches))

    def _accumulated(self, examples: Sequence[Rendered]) -> tuple[list[MicroBatch], float]:
        """Fill the parameters' gradients; return the micro-batches it took, and the mean loss."""
        while True:
            batches = collate(examples, self._micro_batch_tokens, self._base.device, self._lanes)
            drawn = random_state(self._base.device)
            try:
                return batches, accumulate(self._base, batches, self._parameters, self._lanes)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error) or len(batches) == len(examples):
                    raise
            self._optimiser.zero_grad(set_to_none=True)
            set_random_state(drawn, self._base.device)
            self._micro_batch_tokens = max(1, self._micro_batch_tokens // 2)


def collate(examples: Sequence[Rendered], max_tokens: int, device: torch.device, lanes: int = 1) -> list[MicroBatch]:
    """Return `examples` in as few micro-batches of at most `max_tokens` tokens as possible, about equal in tokens.

    Their number is a multiple of `lanes`, unless there are too few examples, or one of all is no slower.
    """
    tokens = sum(len(example.ids) - 1 for example in examples)
    if tokens <= max_tokens and tokens < lanes * LEAST_TOKENS:
        lanes = 1
    groups = packed(examples, max_tokens, lanes)
    return [make_micro_batch([examples[index] for index in group], device) for group in groups]


def accumulate(
    base: BaseModel, batches: Sequence[MicroBatch], parameters: Sequence[torch.nn.Parameter], lanes: int = 1
) -> float:
    """Add the gradients of the mean loss of all `batches`, `lanes` at a time, to `parameters`'; return that loss."""
    loss_tokens = sum(len(batch.targets) for batch in batches)

    def share_of_loss(batch: MicroBatch) -> torch.Tensor:
        return batch_loss(base, batch) / loss_tokens

    if min(lanes, len(batches)) > 1:
        return accumulate_side_by_side(batches, share_of_loss, parameters, lanes)
    total = 0.0
    for batch in batches:
        loss = share_of_loss(batch)
        loss.backward()
        total += loss.item()
    return total


def batch_loss(base: BaseModel, batch: MicroBatch) -> torch.Tensor:
    """Return the summed loss of one micro-batch; only tokens that carry loss reach the projection."""
    is_wide = base.dtype == torch.bfloat16 and base.head.weight.dtype != torch.bfloat16
    with torch.autocast(base.device.type, torch.bfloat16, enabled=is_wide):
        hidden = base.packed_hidden_states(batch.input_ids, batch.position_ids, batch.segments)
        selected = hidden.index_select(0, batch.positions)
        if base.head.weight.requires_grad:
            return summed_whole_loss(selected, base.head, batch.targets)
    return summed_loss(selected, base.head, batch.targets)


def check_finite(loss: float, norm: float) -> None:
    """Return when a step's loss and the norm of its gradient are numbers to go on from.

    Raises:
        LossError: one is not.
    """
    if not (math.isfinite(loss) and math.isfinite(norm)):
        raise LossError(f"loss is {loss}, gradient norm {norm}: a lower learning rate may help")


def move(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Move the parameters along their gradients at the learning rate `rate`, and forget the gradients."""
    group: dict[str, Any]
    for group in optimiser.param_groups:
        group["lr"] = rate
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)
