"""How many tokens may have logits at a time: on a vocabulary of 152,000 these are what takes most memory."""

from collections.abc import Iterator

import torch

HELD_LOGITS = {"cpu": 10_000_000, "cuda": 100_000_000}
"""By device. A CPU is as fast with 64 tokens of a large vocabulary as with 256; a GPU wants more at a time."""


def chunks(tokens: int, head: torch.nn.Linear) -> Iterator[slice]:
    """Yield `tokens` tokens in parts that may each be projected by `head` at once; a part has one token at least."""
    size = max(1, HELD_LOGITS[head.weight.device.type] // head.out_features)
    for begin in range(0, tokens, size):
        yield slice(begin, begin + size)
