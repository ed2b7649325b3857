# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportIncompatibleMethodOverride=false, reportMissingParameterType=false, reportUnknownParameterType=false
# (torch's autograd functions are untyped by design)
"""A root mean square norm (arXiv 1910.07467) with a frozen weight; it keeps one number a row for the backward pass."""

from typing import Any

import torch

from trainer.cached_rows import cached_rows


def root_mean_square_norm(inputs: torch.Tensor, weight: torch.Tensor, epsilon: float) -> torch.Tensor:
    """Return `weight` times the rows of `inputs`, (rows, size), each over its root mean square.

    As in transformers, the quotient is made in float32 and rounded before it is multiplied.
    """
    return _Norm.apply(inputs, weight, epsilon)  # type: ignore[return-value]


class _Norm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: Any, weight: Any, epsilon: float) -> torch.Tensor:
        output = torch.empty_like(inputs)
        inverse = torch.empty(len(inputs), 1, dtype=torch.float32, device=inputs.device)
        for rows, normed, over in cached_rows(inputs, output, inverse):
            wide = rows.float()
            over.copy_(torch.linalg.vector_norm(wide, dim=-1, keepdim=True))
            over.square_().div_(inputs.shape[-1]).add_(epsilon).rsqrt_()
            normed.copy_(wide * over).mul_(weight)
        ctx.save_for_backward(inputs, weight, inverse)
        return output

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
