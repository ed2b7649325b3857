"""Which examples make an optimiser step, and which of them go through the model together.

Pure rules: the order depends on the seed and the epoch alone.
"""

import random
from collections.abc import Sequence

MICRO_BATCH_COST_TOKENS = 48
"""What one more forward and backward pass costs besides its tokens, in tokens: an estimate for a two-core CPU."""


def optimiser_batches(count: int, size: int, seed: int, epoch: int) -> list[list[int]]:
    """Return the indices 0..count-1, shuffled, in as few batches of at most `size` as possible.

    The batches differ by at most one example in size, so that no small remainder gets a full step of its own.
    """
    order = list(range(count))
    random.Random(f"{seed}:{epoch}").shuffle(order)
    batches = -(-count // size)
    return [order[count * k // batches : count * (k + 1) // batches] for k in range(batches)]


def micro_batches(lengths: Sequence[int], max_padded_tokens: int) -> list[list[int]]:
    """Return the indices of `lengths` in groups of similar length that cost least in padding and passes.

    Args:
        lengths: tokens of each example.
        max_padded_tokens: of one group (its longest example times its size); a single longer example stands alone.
    """
    order = sorted(range(len(lengths)), key=lambda index: (lengths[index], index))
    cheapest, begins = [0], [0]
    for end in range(1, len(order) + 1):
        begin, cost = _cheapest_begin(lengths[order[end - 1]], end, cheapest, max_padded_tokens)
        cheapest.append(cost)
        begins.append(begin)
    return _walk_back(order, begins)


def _cheapest_begin(longest: int, end: int, cheapest: Sequence[int], max_padded_tokens: int) -> tuple[int, int]:
    """Return where the group that ends before `end` begins best, and what everything up to `end` then costs."""
    widest = max(1, max_padded_tokens // longest)
    choices = range(max(0, end - widest), end)
    costs = {begin: cheapest[begin] + (end - begin) * longest + MICRO_BATCH_COST_TOKENS for begin in choices}
    best = min(costs, key=lambda begin: (costs[begin], begin))
    return best, costs[best]


def _walk_back(order: Sequence[int], begins: Sequence[int]) -> list[list[int]]:
    groups: list[list[int]] = []
    end = len(order)
    while end > 0:
        groups.append(list(order[begins[end] : end]))
        end = begins[end]
    return groups[::-1]
