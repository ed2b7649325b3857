# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (torch carries no complete types)
"""Passes over tensors a few rows at a time, so that what one pass has written is in the cache for the next."""

from collections.abc import Iterator

import torch

ROWS = 128


def cached_rows(*tensors: torch.Tensor) -> Iterator[tuple[torch.Tensor, ...]]:
    """Yield views of the same rows of all `tensors`, part after part. A GPU gets them whole: it has work for all."""
    if tensors[0].device.type != "cpu":
        return iter([tensors])
    return zip(*(tensor.split(ROWS) for tensor in tensors), strict=True)
