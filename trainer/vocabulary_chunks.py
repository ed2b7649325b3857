"""How many tokens may have logits at a time: on a vocabulary of 152,000 these are what takes most memory."""

from collections.abc import Iterator

import torch

HELD_LOGITS = {"cpu": 20_000_000, "cuda": 100_000_000}
"""By device. On a CPU 128 tokens of a large vocabulary take a quarter less time than two times 64; a GPU wants more."""


def chunks(tokens: int, head: torch.nn.Linear) -> Iterator[slice]:
    """Yield `tokens` tokens in as few parts as may each be projected by `head` at once, about equal in tokens.

    A part has one token at least.
    """
    most = max(1, HELD_LOGITS[head.weight.device.type] // head.out_features)
    parts = -(-tokens // most)
    for part in range(parts):
        yield slice(tokens * part // parts, tokens * (part + 1) // parts)
