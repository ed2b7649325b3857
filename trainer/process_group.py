# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (torch carries no complete types)
"""The processes that do one job together: this worker, or as many as `torchrun` started.

Rank 0 alone speaks with the orchestrator; it hands each request on. Collectives have no deadline of their own that a
quiet day could pass: the orchestrator's deadline for each step ends a group that hangs.
"""

import ctypes
import os
import signal
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

_IDLE = timedelta(days=30)
_SET_DEATH_SIGNAL = 1
"""Linux's `PR_SET_PDEATHSIG`."""


class ProcessGroup:
    """One process among its peers."""

    def __init__(self) -> None:
        self.size = int(os.environ.get("WORLD_SIZE", "1"))
        self.rank = int(os.environ.get("RANK", "0"))
        if self.size > 1:
            _die_with_parent()
            backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
            dist.init_process_group(backend, timeout=_IDLE)

    @property
    def device(self) -> torch.device:
        """Where it computes: a GPU of its own where there are GPUs."""
        if not torch.cuda.is_available():
            return torch.device("cpu")
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
        return device

    def requests(self, lines: Iterator[bytes]) -> Iterator[bytes]:
        """Yield the lines that rank 0 reads, on every rank, until they end."""
        if self.size == 1:
            yield from lines
            return
        while True:
            line = next(lines, None) if self.rank == 0 else None
            shared: list[Any] = [line]
            dist.broadcast_object_list(shared, src=0, device=torch.device("cpu"))
            if shared[0] is None:
                dist.destroy_process_group()
                return
            yield shared[0]

    def total(self, *numbers: float) -> list[float]:
        """Return the sums over all ranks."""
        if self.size == 1:
            return list(numbers)
        sums = torch.tensor(numbers, dtype=torch.float64)
        dist.all_reduce(sums)
        return sums.tolist()


def _die_with_parent() -> None:
    """Have Linux kill this process when `torchrun` is killed, which cannot pass that on."""
    parent = os.getppid()
    ctypes.CDLL(None).prctl(_SET_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
