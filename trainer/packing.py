# pyright: reportUnknownMemberType=false
# (torch carries no complete types)
"""A micro-batch: several examples in one row of tokens, without padding, each seeing only itself."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from trainer.attention_blocks import rows_of
from trainer.batching import micro_batches
from trainer.rendering import Rendered
from trainer.token_tree import LEAST_SHARED_TOKENS, Segment, lay_out


@dataclass(frozen=True)
class MicroBatch:
    """What goes in, where loss lies, and what should come out there."""

    input_ids: torch.Tensor
    """(1, tokens in the row): beginnings that examples have in common are there once; the end may be filled up."""
    position_ids: torch.Tensor
    """As `input_ids`: the place of each token in its own example."""
    segments: tuple[Segment, ...]
    positions: torch.Tensor
    """Places in the row where loss lies; one place may have several targets."""
    targets: torch.Tensor
    tokens: int
    """Of all examples, each counted on its own."""


def make_micro_batch(
    examples: Sequence[Rendered], device: torch.device, least_shared: int = LEAST_SHARED_TOKENS
) -> MicroBatch:
    """Lay `examples` out in one row. An example's last token is only ever a target, so it is not fed.

    On a CPU the row is filled up to whole tiles: oneDNN compiles every product for its shape, and rows of few different
    lengths take a tenth less time (docs/decisions/0004-training-speed.md). What fills it up goes on from its last
    segment: nothing that counts stands behind it, so nothing sees it.

    Args:
        examples: at least one, each of two tokens or more.
        device: where the tensors are to be.
        least_shared: tokens that examples must have in common at their beginning for these to be computed once.
    """
    tree = lay_out([example.ids[:-1] for example in examples], least_shared)
    learnt = [
        (places[at - 1], example.ids[at])
        for example, places in zip(examples, tree.places, strict=True)
        for at, is_learnt in enumerate(example.learnt)
        if is_learnt
    ]
    positions, targets = zip(*learnt, strict=True)
    filling = rows_of(len(tree.ids)) - len(tree.ids) if device.type == "cpu" else 0
    last = tree.segments[-1]
    return MicroBatch(
        torch.tensor([[*tree.ids, *tree.ids[-1:] * filling]], device=device),
        torch.tensor([[*tree.positions, *tree.positions[-1:] * filling]], device=device),
        (*tree.segments[:-1], last._replace(stop=last.stop + filling)),
        torch.tensor(positions, device=device),
        torch.tensor(targets, device=device),
        sum(len(places) for places in tree.places),
    )


def packed(examples: Sequence[Rendered], max_tokens: int, lanes: int = 1) -> list[list[int]]:
    """Return the indices of `examples` in as few groups as needed, each to be laid out in one row.

    Args:
        examples: of one step.
        max_tokens: of a row, what its examples have in common counted once; a single longer example goes alone.
        lanes: the number of groups is a multiple of that, if there are enough examples.
    """

    def fits(group: Sequence[int]) -> bool:
        return len(lay_out([examples[index].ids[:-1] for index in group]).ids) <= max_tokens

    return micro_batches([len(example.ids) - 1 for example in examples], fits, lanes)
