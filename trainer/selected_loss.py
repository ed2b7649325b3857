# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportIncompatibleMethodOverride=false, reportMissingParameterType=false, reportUnknownParameterType=false
# (torch's autograd functions are untyped by design)
"""Cross-entropy of the tokens that carry loss, without ever holding all their logits.

The projection is frozen, so the gradient with respect to the hidden states can be made in the forward pass, one chunk
of tokens at a time, and the logits are forgotten at once.
"""

from typing import Any

import torch

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
    logits = torch.nn.functional.linear(hidden.to(weight.dtype), weight, head.bias).float()
    logits -= logits.amax(dim=-1, keepdim=True)
    rows = torch.arange(len(targets), device=targets.device)
    at_target = logits[rows, targets].clone()
    normaliser = logits.exp_().sum(dim=-1, keepdim=True)
    loss = (normaliser.squeeze(-1).log() - at_target).sum()
    probabilities = logits.div_(normaliser)
    probabilities[rows, targets] -= 1.0
    return loss, (probabilities.to(weight.dtype) @ weight).to(hidden.dtype)


def summed_loss(hidden: torch.Tensor, head: torch.nn.Linear, targets: torch.Tensor) -> torch.Tensor:
    """Return the summed cross-entropy (natural logarithm, float32) of `targets` given their `hidden` states.

    Args:
        hidden: one row for each token that carries loss.
        head: the frozen projection to the vocabulary.
        targets: token ids, one for each row.
    """
    return _ChunkedCrossEntropy.apply(hidden, head, targets)  # type: ignore[return-value]
