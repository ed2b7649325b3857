# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportIncompatibleMethodOverride=false, reportMissingParameterType=false, reportUnknownParameterType=false
# (torch's autograd functions are untyped by design)
"""Causal attention within the segments of a packed row, made of plain matrix products block by block.

On a CPU this is faster than torch's fused kernel where sequences are short (docs/decisions/0004-training-speed.md).
The probabilities are made again in the backward pass, so memory grows with tokens, not with their square. Queries and
keys can be turned by their positions on the way: that costs no pass of its own.
"""

from typing import Any, NamedTuple

import torch

from trainer.attention_blocks import Block, Runs, blocks_of, gather, rows_of
from trainer.token_tree import Segment


class Rotation(NamedTuple):
    """A rotary position embedding (RoFormer, arXiv 2104.09864) in the layout of transformers: halves, not pairs."""

    cosine: torch.Tensor
    """(tokens, size)."""
    sine: torch.Tensor


class PackedRow(NamedTuple):
    """A row of segments before attention."""

    query: torch.Tensor
    """(tokens, heads, size)."""
    key: torch.Tensor
    """(tokens, key heads, size)."""
    value: torch.Tensor
    """As `key`."""
    segments: tuple[Segment, ...]
    """Together they cover all tokens."""
    scale: float
    """Of the scores."""
    window: int | None
    """Tokens that are seen, the token itself among them; None: all."""


def attend_on_cpu(row: PackedRow, rotation: Rotation | None = None) -> torch.Tensor:
    """Return (tokens, heads, size), in the type of the values.

    Args:
        row: the tokens.
        rotation: of queries and keys; None: they are turned already.
    """
    return _Attention.apply(*row, *(rotation or (None, None)))


class _Attention(torch.autograd.Function):
    """Within, tensors are (key heads, heads of one key head, rows, size); keys and values have no second dimension."""

    @staticmethod
    def forward(
        ctx: Any,
        query: Any,
        key: Any,
        value: Any,
        segments: tuple[Segment, ...],
        scale: float,
        window: int | None,
        cosine: Any,
        sine: Any,
    ) -> torch.Tensor:
        key_heads, dtype = key.shape[1], value.dtype
        queries = _heads_first(query, key_heads, dtype, cosine, sine)
        keys = _heads_first(key, key_heads, dtype, cosine, sine)[:, 0].mul_(scale)
        values = _heads_first(value, key_heads, dtype)[:, 0]
        output = torch.empty(query.shape, dtype=dtype)
        for block in blocks_of(segments, window, dtype):
            probabilities = _probabilities(_part(queries, block), gather(keys, block.keys), block)
            mixed = torch.bmm(probabilities, gather(values, block.keys))
            _by_token(output, key_heads)[:, :, block.start : block.stop] = _by_query(mixed, block)
        ctx.save_for_backward(queries, keys, values, cosine, sine)
        ctx.plan = segments, scale, window
        return output

    @staticmethod
    def backward(ctx: Any, *outputs: Any) -> tuple[Any, ...]:
        queries, keys, values, cosine, sine = ctx.saved_tensors
        segments, scale, window = ctx.plan
        dtype, tokens = values.dtype, len(outputs[0])
        gradients = _heads_first(outputs[0], len(keys), dtype)
        for_queries = torch.empty_like(queries)
        for_keys, for_values = (torch.zeros(keys.shape, dtype=torch.float32) for _ in range(2))
        for block in blocks_of(segments, window, dtype):
            asked, gradient, seen = _part(queries, block), _part(gradients, block), gather(keys, block.keys)
            probabilities = _probabilities(asked, seen, block)
            _scatter(for_values, torch.bmm(probabilities.transpose(1, 2), gradient), block.keys)
            for_probabilities = torch.bmm(gradient, gather(values, block.keys).transpose(1, 2))
            for_scores = torch.ops.aten._softmax_backward_data(for_probabilities, probabilities, -1, dtype)
            for_queries[:, :, block.start : block.stop] = _by_query(torch.bmm(for_scores, seen), block)
            _scatter(for_keys, torch.bmm(for_scores.transpose(1, 2), asked), block.keys)
        for_query = _tokens_first(for_queries, tokens, dtype, cosine, sine)
        for_key = _tokens_first(for_keys.mul_(scale)[:, None], tokens, dtype, cosine, sine)
        return for_query, for_key, _tokens_first(for_values[:, None], tokens, dtype), *(None for _ in range(5))


def _heads_first(
    states: torch.Tensor, key_heads: int, dtype: torch.dtype, cosine: Any = None, sine: Any = None
) -> torch.Tensor:
    """Return (tokens, heads, size) as (key heads, heads of one key head, rows, size), turned forward if so asked."""
    tokens, heads, size = states.shape
    result = torch.empty(key_heads, heads // key_heads, rows_of(tokens), size, dtype=dtype)
    result[:, :, tokens:] = 0.0
    _turn(result[:, :, :tokens], _by_token(states, key_heads), cosine, sine)
    return result


def _tokens_first(
    states: torch.Tensor, tokens: int, dtype: torch.dtype, cosine: Any = None, sine: Any = None
) -> torch.Tensor:
    """Return what `_heads_first` made as (tokens, heads, size) again, turned back if so asked."""
    key_heads, group, _, size = states.shape
    result = torch.empty(tokens, key_heads * group, size, dtype=dtype)
    half = size // 2
    swapped = None if sine is None else torch.cat((sine[:, half:], sine[:, :half]), dim=-1).neg_()
    _turn(_by_token(result, key_heads), states[:, :, :tokens], cosine, swapped)
    return result


def _turn(result: torch.Tensor, states: torch.Tensor, cosine: Any, sine: Any) -> None:
    """Fill `result` with `states`, each pair of halves turned by its token's angle; (..., tokens, size).

    Both products are rounded before they are added, as transformers does it.
    """
    if cosine is None:
        result.copy_(states)
        return
    half = states.shape[-1] // 2
    torch.mul(states, cosine, out=result)
    result[..., :half] -= states[..., half:] * sine[:, :half]
    result[..., half:] += states[..., :half] * sine[:, half:]


def _by_token(states: torch.Tensor, key_heads: int) -> torch.Tensor:
    """Return a view of (tokens, heads, size) as (key heads, heads of one key head, tokens, size)."""
    tokens, heads, size = states.shape
    return states.view(tokens, key_heads, heads // key_heads, size).permute(1, 2, 0, 3)


def _part(states: torch.Tensor, block: Block) -> torch.Tensor:
    """Return a block's rows as (key heads, heads of one key head x queries, size)."""
    return states[:, :, block.start : block.stop].flatten(1, 2)


def _by_query(part: torch.Tensor, block: Block) -> torch.Tensor:
    """Return what `_part` made with its dimensions apart again."""
    return part.unflatten(1, (-1, block.stop - block.start))


def _scatter(total: torch.Tensor, part: torch.Tensor, runs: Runs) -> None:
    """Add `part`, shaped as `gather` gives it, to the rows in `runs`."""
    at = 0
    for start, stop in runs:
        total[:, start:stop] += part[:, at : at + stop - start]
        at += stop - start


def _probabilities(queries: torch.Tensor, keys: torch.Tensor, block: Block) -> torch.Tensor:
    """Return (key heads, heads of one key head x queries, keys)."""
    scores = torch.bmm(queries, keys.transpose(1, 2))
    _by_query(scores, block).add_(block.mask)
    return torch.softmax(scores, dim=-1)
