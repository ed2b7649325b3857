# pyright: reportUnknownMemberType=false
# (torch carries no complete types)
"""Where torch's random numbers stand, to be put back: those of the CPU, and of the GPU that is computed on."""

from collections.abc import Sequence

import torch


def random_state(device: torch.device) -> list[torch.Tensor]:
    """Return where the generators stand that a job on `device` draws from."""
    states = [torch.get_rng_state()]
    return [*states, torch.cuda.get_rng_state(device)] if device.type == "cuda" else states


def set_random_state(states: Sequence[torch.Tensor], device: torch.device) -> None:
    """Put the generators back where `random_state` found them."""
    torch.set_rng_state(states[0])
    if device.type == "cuda":
        torch.cuda.set_rng_state(states[1], device)
