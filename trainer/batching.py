"""Which examples make an optimiser step, and which of them go through the model together.

Pure rules: the order depends on the seed and the epoch alone.
"""

import random
from collections.abc import Callable, Sequence

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


def micro_batches(lengths: Sequence[int], fits: Callable[[Sequence[int]], bool], lanes: int = 1) -> list[list[int]]:
    """Return the indices of `lengths` in as few groups as needed, about equal in tokens.

    Args:
        lengths: tokens of each example.
        fits: whether examples, by index, may be in one group; one alone always may.
        lanes: the number of groups is a multiple of that, if there are enough examples.
    """
    order = sorted(range(len(lengths)), key=lambda index: (-lengths[index], index))
    spreads = (_spread(order, lengths, count) for count in range(lanes, len(lengths) + lanes, lanes))
    return next(groups for groups in spreads if all(len(group) == 1 or fits(group) for group in groups))


def _spread(order: Sequence[int], lengths: Sequence[int], count: int) -> list[list[int]]:
    """Give each example, the longest first, to the emptiest of `count` groups; return those that have any."""
    groups: list[list[int]] = [[] for _ in range(count)]
    tokens = [0] * count
    for index in order:
        emptiest = tokens.index(min(tokens))
        groups[emptiest].append(index)
        tokens[emptiest] += lengths[index]
    return [sorted(group) for group in groups if group]
