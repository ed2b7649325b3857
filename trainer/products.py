# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (torch carries no complete types)
"""Matrix products of many rows, in parts where torch's own would leave a CPU's other cores idle.

Measured with torch 2.13 (oneDNN) in bfloat16 on two cores with AMX: a product whose result has at least as many rows as
columns runs at half the speed of one that has fewer, unless it is narrow (docs/decisions/0004-training-speed.md).
"""

import torch

ROWS = 448
"""Of a part."""


def linear(inputs: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """Return `inputs`, (rows, inputs), times the transpose of `weight`, (outputs, inputs), plus `bias`, if any."""
    if not _in_parts(inputs, len(weight)):
        return torch.nn.functional.linear(inputs, weight, bias)
    result = inputs.new_empty(len(inputs), len(weight))
    for rows, part in zip(result.split(ROWS), inputs.split(ROWS), strict=True):
        torch.mm(part, weight.t(), out=rows)
    return result if bias is None else result.add_(bias)


def add_product(total: torch.Tensor, left: torch.Tensor, right: torch.Tensor) -> None:
    """Add the product of `left` and `right` to `total`, in place."""
    size = ROWS if _in_parts(left, right.shape[1]) else len(left)
    for rows, part in zip(total.split(size), left.split(size), strict=True):
        rows.addmm_(part, right)


def _in_parts(left: torch.Tensor, columns: int) -> bool:
    return left.device.type == "cpu" and torch.get_num_threads() > 1 and ROWS < columns <= len(left)
