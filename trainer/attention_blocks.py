# pyright: reportUnknownMemberType=false
# (torch carries no complete types)
"""Which keys each block of queries of a packed row is multiplied with, and which of these it must not see.

Pure rules. Keys are taken in whole tiles of the row, so that products and softmax run over multiples of a processor's
vectors: a softmax over 160 keys takes half as long as one over 154 (docs/decisions/0004-training-speed.md). What a tile
has too much is masked.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

import torch

from trainer.token_tree import Segment

Runs = tuple[tuple[int, int], ...]
"""Of tokens of a row, each from start to stop."""
QUERIES = 192
"""Of a block, at most."""
TILE = 32


class Block(NamedTuple):
    """Queries that follow on each other, and the keys that they are multiplied with."""

    start: int
    stop: int
    """Queries are the tokens from start to stop."""
    keys: Runs
    """Whole tiles, each once."""
    mask: torch.Tensor
    """(queries, keys): minus infinity where a key is not seen, else nothing."""


def rows_of(tokens: int) -> int:
    """Return the tokens of a row that is filled up to whole tiles."""
    return -(-tokens // TILE) * TILE


@lru_cache(maxsize=8)
def blocks_of(segments: tuple[Segment, ...], window: int | None, dtype: torch.dtype) -> tuple[Block, ...]:
    """Return the blocks of a row; every layer of a micro-batch asks for the same.

    Args:
        segments: together they cover the row.
        window: tokens that are seen, the token itself among them; None: all.
        dtype: of the masks.
    """
    return tuple(_blocks(segments, window, dtype))


def _blocks(segments: Sequence[Segment], window: int | None, dtype: torch.dtype) -> Iterator[Block]:
    for segment in _joined(segments):
        for start in range(segment.start, segment.stop, QUERIES):
            stop = min(start + QUERIES, segment.stop)
            seen = (*segment.context, (segment.start, stop))
            keys = _whole_tiles(seen)
            yield Block(start, stop, keys, mask_of(stop - start, seen, keys, window, dtype))


def _joined(segments: Sequence[Segment]) -> list[Segment]:
    """Return `segments` with each that stands right behind its whole context, and goes on from it, joined to that."""
    joined: list[Segment] = []
    last = Segment(0, 0)
    for segment in segments:
        if joined and segment.context == (*last.context, (last.start, last.stop)):
            joined[-1] = joined[-1]._replace(stop=segment.stop)
        else:
            joined.append(segment)
        last = segment
    return joined


def _whole_tiles(seen: Runs) -> Runs:
    """Return the runs of tiles that hold the tokens of `seen`, which stand in the order of the row."""
    runs: list[tuple[int, int]] = []
    for start, stop in seen:
        begin, end = start // TILE * TILE, rows_of(stop)
        if runs and begin <= runs[-1][1]:
            runs[-1] = (runs[-1][0], end)
        else:
            runs.append((begin, end))
    return tuple(runs)


def gather(states: torch.Tensor, runs: Runs) -> torch.Tensor:
    """Return (heads, tokens of `runs`, size) of `states`, (heads, tokens, size); a view where there is one run."""
    parts = [states[:, start:stop] for start, stop in runs]
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


def mask_of(queries: int, seen: Runs, keys: Runs, window: int | None, dtype: torch.dtype) -> torch.Tensor:
    """Return (queries, keys): minus infinity where a key is not seen, else nothing.

    Args:
        queries: the last of the tokens in `seen`.
        seen: what the last query sees without a window, in the order of the text.
        keys: what the queries are multiplied with; all of `seen`, in its order, and more.
        window: tokens that are seen, the token itself among them; None: all.
        dtype: of the mask.
    """
    tokens, asked = (torch.cat([torch.arange(*run) for run in runs]) for runs in (seen, keys))
    place = torch.full((keys[-1][1],), -1).index_put_((tokens,), torch.arange(len(tokens)))[asked]
    own = torch.arange(len(tokens) - queries, len(tokens))[:, None]
    hidden = (place < 0) | (place > own)
    if window is not None:
        hidden |= place <= own - window
    return torch.zeros(hidden.shape, dtype=dtype).masked_fill_(hidden, float("-inf"))
