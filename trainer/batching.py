"""Which examples make an optimiser step, and which of them go through the model together.

Pure rules: the order depends on the seed and the epoch alone.
"""

import random
from collections.abc import Sequence

from protocols.ports import TrainingRecipe


def optimiser_batches(count: int, size: int, seed: int, epoch: int) -> list[list[int]]:
    """Return the indices 0..count-1, shuffled, in as few batches of at most `size` as possible.

    The batches differ by at most one example in size, so that no small remainder gets a full step of its own.
    """
    order = list(range(count))
    random.Random(f"{seed}:{epoch}").shuffle(order)
    batches = -(-count // size)
    return [order[count * k // batches : count * (k + 1) // batches] for k in range(batches)]


def job_batches(count: int, recipe: TrainingRecipe) -> list[list[int]]:
    """Return the indices of each optimiser step of a whole job on `count` examples, epoch after epoch."""
    return [
        batch
        for epoch in range(recipe.epochs)
        for batch in optimiser_batches(count, recipe.batch_examples, recipe.seed, epoch)
    ]


def micro_batches(lengths: Sequence[int], max_tokens: int, lanes: int = 1) -> list[list[int]]:
    """Return the indices of `lengths` in as few groups as needed, about equal in tokens.

    Args:
        lengths: tokens of each example.
        max_tokens: of one group; a single longer example stands alone.
        lanes: the number of groups is a multiple of that, if there are enough examples.
    """
    order = sorted(range(len(lengths)), key=lambda index: (-lengths[index], index))
    count = lanes * max(1, -(-sum(lengths) // (max_tokens * lanes)))
    while (groups := _spread(order, lengths, count, max_tokens)) is None:
        count += lanes
    return [sorted(group) for group in groups if group]


def _spread(order: Sequence[int], lengths: Sequence[int], count: int, max_tokens: int) -> list[list[int]] | None:
    """Give each example, the longest first, to the emptiest of `count` groups; None if that fills one too full."""
    groups: list[list[int]] = [[] for _ in range(count)]
    tokens = [0] * count
    for index in order:
        emptiest = tokens.index(min(tokens))
        if groups[emptiest] and tokens[emptiest] + lengths[index] > max_tokens:
            return None
        groups[emptiest].append(index)
        tokens[emptiest] += lengths[index]
    return groups
