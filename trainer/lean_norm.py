# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportIncompatibleMethodOverride=false, reportMissingParameterType=false, reportUnknownParameterType=false
# (torch's autograd functions are untyped by design)
"""A root mean square norm (arXiv 1910.07467) with a frozen weight; it keeps one number a row for the backward pass.

Its output need not be kept either: a linear layer that it goes into finds its gradients from what it was made of.
"""

from typing import Any, NamedTuple

import torch

from trainer.cached_rows import cached_rows


class Origin(NamedTuple):
    """What a norm's output, `inputs` x `inverse` x `weight`, was made of."""

    inputs: torch.Tensor
    """(rows, size)."""
    inverse: torch.Tensor
    """(rows, 1), float32: one over the root mean square of each row."""
    weight: torch.Tensor
    """(size)."""


def root_mean_square_norm(inputs: torch.Tensor, weight: torch.Tensor, epsilon: float) -> torch.Tensor:
    """Return `weight` times the last dimension's rows of `inputs`, each over its root mean square.

    As in transformers, the quotient is made in float32 and rounded before it is multiplied. What is returned carries
    its origin (`origin_of`).
    """
    rows = inputs.flatten(0, -2)
    output, inverse = _Norm.apply(rows, weight, epsilon)
    result: Any = output.view(inputs.shape)
    result.origin = Origin(rows.detach(), inverse, weight)
    return result


def origin_of(states: torch.Tensor) -> Origin | None:
    """Return what `states` were made of, if they are a norm's output as it was returned; a view of it has none."""
    return getattr(states, "origin", None)


class _Norm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: Any, weight: Any, epsilon: float) -> tuple[torch.Tensor, torch.Tensor]:
        output = torch.empty_like(inputs)
        inverse = torch.empty(len(inputs), 1, dtype=torch.float32, device=inputs.device)
        for rows, normed, over in cached_rows(inputs, output, inverse):
            wide = rows.float()
            over.copy_(torch.linalg.vector_norm(wide, dim=-1, keepdim=True))
            over.square_().div_(inputs.shape[-1]).add_(epsilon).rsqrt_()
            normed.copy_(wide * over).mul_(weight)
        ctx.save_for_backward(inputs, weight, inverse)
        ctx.mark_non_differentiable(inverse)
        return output, inverse

    @staticmethod
    def backward(ctx: Any, *outputs: Any) -> tuple[Any, ...]:
        inputs, weight, inverse = ctx.saved_tensors
        for_inputs = torch.empty_like(inputs)
        for rows, over, gradient, result in cached_rows(inputs, inverse, outputs[0], for_inputs):
            normed = rows.float() * over
            for_normed = (gradient * weight).float()
            along = torch.linalg.vecdot(normed, for_normed).unsqueeze(-1).div_(-inputs.shape[-1])
            result.copy_(for_normed.addcmul_(normed, along).mul_(over))
        return for_inputs, None, None
