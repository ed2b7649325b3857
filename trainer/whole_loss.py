# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# (torch carries no complete types)
"""Cross-entropy where the projection is trained as well: logits are made again for the backward pass, chunk by chunk.

Not covered: a frozen projection, for which `selected_loss` is quicker.
"""

import torch
from torch.utils.checkpoint import checkpoint

from trainer.vocabulary_chunks import chunks


def summed_whole_loss(hidden: torch.Tensor, head: torch.nn.Linear, targets: torch.Tensor) -> torch.Tensor:
    """Return the summed cross-entropy (natural logarithm, float32) of `targets` given their `hidden` states.

    Gradients reach the hidden states and the projection; no more tokens have logits at a time than `chunks` allows.
    """
    total = torch.zeros((), dtype=torch.float32, device=hidden.device)
    for part in chunks(len(targets), head):
        loss = checkpoint(_chunk, hidden[part], head, targets[part], use_reentrant=False)
        assert isinstance(loss, torch.Tensor)
        total = total + loss
    return total


def _chunk(hidden: torch.Tensor, head: torch.nn.Linear, targets: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.cross_entropy(head(hidden).float(), targets, reduction="sum")
