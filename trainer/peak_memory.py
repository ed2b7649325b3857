# pyright: reportUnknownMemberType=false
# (torch carries no complete types)
"""The most memory that a job held at once: the GPU's if it uses one, else what of the process is resident."""

import resource
from contextlib import suppress
from pathlib import Path

import torch

_FORGET_PEAK = "5"
"""What Linux takes in `clear_refs` as the wish to count a process's peak anew."""


def begin_peak(device: torch.device) -> None:
    """Count from here on; where Linux does not allow it, the count goes on since the process's start."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text(_FORGET_PEAK, encoding="ascii")


def peak_bytes(device: torch.device) -> int:
    """Return the peak since `begin_peak`."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
