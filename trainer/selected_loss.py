# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportIncompatibleMethodOverride=false, reportMissingParameterType=false, reportUnknownParameterType=false
# (torch's autograd functions are untyped by design)
"""Cross-entropy of the tokens that carry loss, without ever holding all their logits.

The projection is frozen, so the gradient with respect to the hidden states can be made in the forward pass, one chunk
of tokens at a time, and the logits are forgotten at once.
"""

from typing import Any

import torch

from trainer.cached_rows import cached_rows
from trainer.vocabulary_chunks import chunks


class _ChunkedCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: torch.Tensor, head: torch.nn.Linear, targets: torch.Tensor) -> torch.Tensor:
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        gradient = torch.empty_like(hidden)
        for part in chunks(len(targets), head):
            loss, gradient[part] = _chunk(hidden[part], head, targets[part])
            total += loss
        ctx.save_for_backward(gradient)
        return total

    @staticmethod
    def backward(ctx: Any, *outputs: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * outputs[0], None, None


def _chunk(hidden: torch.Tensor, head: torch.nn.Linear, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the summed loss of some tokens, and its gradient with respect to their hidden states."""
    weight = head.weight.detach()
    logits = torch.nn.functional.linear(hidden.to(weight.dtype), weight, head.bias)
    loss = torch.zeros((), dtype=torch.float32, device=hidden.device)
    for row, target in cached_rows(logits, targets[:, None]):
        loss += _loss(row, target)
    return loss, (logits @ weight).to(hidden.dtype)


def _loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the summed loss of some tokens; put its gradient where their `logits` were. `targets` is a column."""
    wide = logits.float()
    wide -= wide.amax(dim=-1, keepdim=True)
    at_target = wide.gather(1, targets)
    normaliser = wide.exp_().sum(dim=-1, keepdim=True)
    probabilities = wide.div_(normaliser)
    logits.copy_(probabilities.scatter_add_(1, targets, torch.full_like(at_target, -1.0)))
    return (normaliser.log() - at_target).sum()


def summed_loss(hidden: torch.Tensor, head: torch.nn.Linear, targets: torch.Tensor) -> torch.Tensor:
    """Return the summed cross-entropy (natural logarithm, float32) of `targets` given their `hidden` states.

    Args:
        hidden: one row for each token that carries loss.
        head: the frozen projection to the vocabulary.
        targets: token ids, one for each row.
    """
    return _ChunkedCrossEntropy.apply(hidden, head, targets)  # type: ignore[return-value]
