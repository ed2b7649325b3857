# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (torch carries no complete types)
"""Passes over tensors a few rows at a time, so that what one pass has written is in the cache for the next."""

from collections.abc import Iterator

import torch

BYTES = 1 << 18
"""Of the first tensor's rows at a time: a few tensors of that size fit into a core's own cache."""


def cached_rows(*tensors: torch.Tensor) -> Iterator[tuple[torch.Tensor, ...]]:
    """Yield views of the same rows of all `tensors`, part after part. A GPU gets them whole: it has work for all."""
    first = tensors[0]
    if first.device.type != "cpu":
        return iter([tensors])
    rows = max(1, BYTES // (first.stride(0) * first.itemsize))
    return zip(*(tensor.split(rows) for tensor in tensors), strict=True)
