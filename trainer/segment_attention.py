# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportIncompatibleMethodOverride=false, reportMissingParameterType=false, reportUnknownParameterType=false
# (torch's autograd functions are untyped by design; transformers carries no complete types)
"""Causal attention within the segments of a packed row, as an attention function of transformers.

A token sees its segment's context and what stands before it in its own segment, and nothing else: no mask over the
whole row, no padding. On a CPU the products are made segment by segment with plain matrix products: torch's fused
kernel took 1.6 to 6 times longer on sequences of 100 to 300 tokens (docs/decisions/0004-training-speed.md). The
probabilities are made again in the backward pass, so memory grows with tokens, not with their square. On other devices,
and with attention dropout, torch's own kernel is called for each segment. Not covered: attention with sinks or capped
scores, which is refused.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import torch

from protocols.errors import ModelError
from trainer.token_tree import Segment

NAME = "packed_segments"
QUERIES = 256
"""Queries whose scores are held at once, for each head."""


def attend_by_segments(model: Any) -> None:
    """Let a model of transformers attend by the `segments` that are passed to its forward; causally without them."""
    from transformers import AttentionInterface

    AttentionInterface.register(NAME, segment_attention)
    model.set_attn_implementation(NAME)


def segment_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    segments: Sequence[Segment] | None = None,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    **others: Any,
) -> tuple[torch.Tensor, None]:
    """Return what transformers expects of an attention function: outputs (1, tokens, heads, size), and no weights.

    Args:
        module: the attention layer; not used.
        query: (batch, heads, tokens, size); a batch of one, where there are segments.
        key: (batch, key heads, tokens, size).
        value: as `key`.
        attention_mask: None; the segments say what is seen.
        segments: of the row; together they cover all tokens. None: every sequence of the batch by itself, whole.
        scaling: of the scores; None: the usual one.
        dropout: of the probabilities.
        sliding_window: tokens that are seen, the token itself among them; None: all.
        others: what other kinds of attention need.

    Raises:
        ModelError: the model's attention is of a kind that is not covered.
    """
    strange = [name for name in ("s_aux", "softcap", "position_bias") if others.get(name) is not None]
    if strange or attention_mask is not None:
        raise ModelError(f"this model's attention cannot be packed: it asks for {', '.join(strange) or 'a mask'}")
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    whole = (Segment(0, query.shape[2]),)
    outputs: list[torch.Tensor] = []
    for row in zip(query, key, value, strict=True):
        queries, keys, values = (tensor.transpose(0, 1) for tensor in row)
        outputs.append(_attend(queries, keys, values, segments or whole, scale, dropout, sliding_window))
    return torch.stack(outputs), None


def _attend(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    segments: Sequence[Segment],
    scale: float,
    dropout: float,
    window: int | None,
) -> torch.Tensor:
    """Return (tokens, heads, size) from tensors of the same form; under autocast these can be of several types."""
    query, key = query.to(value.dtype), key.to(value.dtype)
    if query.device.type == "cpu" and dropout == 0.0:
        return _SegmentAttention.apply(query, key, value, segments, scale, window)
    return _by_library(query, key, value, segments, scale, dropout, window)


class _SegmentAttention(torch.autograd.Function):
    """Tensors are (tokens, heads, size)."""

    @staticmethod
    def forward(
        ctx: Any, query: Any, key: Any, value: Any, segments: Sequence[Segment], scale: float, window: int | None
    ) -> torch.Tensor:
        output = torch.empty(query.shape, dtype=query.dtype)
        for block, keys in _blocks(segments):
            queries = _by_key_head(query[slice(*block)], key.shape[1])
            probabilities = _probabilities(queries, _gather(key, keys), scale, block, window)
            mixed = torch.bmm(probabilities, _gather(value, keys))
            output[slice(*block)] = _by_token(mixed, block)
        ctx.save_for_backward(query, key, value)
        ctx.plan = segments, scale, window
        return output

    @staticmethod
    def backward(ctx: Any, *outputs: Any) -> tuple[Any, ...]:
        query, key, value = ctx.saved_tensors
        segments, scale, window = ctx.plan
        for_query = torch.empty(query.shape, dtype=query.dtype)
        for_key, for_value = (torch.zeros(key.shape, dtype=torch.float32) for _ in range(2))
        for block, keys in _blocks(segments):
            queries = _by_key_head(query[slice(*block)], key.shape[1])
            gradient = _by_key_head(outputs[0][slice(*block)], key.shape[1])
            seen = _gather(key, keys)
            probabilities = _probabilities(queries, seen, scale, block, window)
            _scatter(for_value, torch.bmm(probabilities.transpose(1, 2), gradient), keys)
            for_probabilities = torch.bmm(gradient, _gather(value, keys).transpose(1, 2))
            for_scores = torch.ops.aten._softmax_backward_data(for_probabilities, probabilities, -1, query.dtype)
            for_query[slice(*block)] = _by_token(torch.bmm(for_scores, seen), block)
            _scatter(for_key, torch.bmm(for_scores.transpose(1, 2), queries), keys)
        return for_query.mul_(scale), for_key.mul_(scale).to(key.dtype), for_value.to(value.dtype), None, None, None


def _blocks(segments: Sequence[Segment]) -> Iterator[tuple[tuple[int, int], tuple[tuple[int, int], ...]]]:
    """Yield the row in blocks of queries, from start to stop, and the runs of keys that each may see."""
    for segment in segments:
        for start in range(segment.start, segment.stop, QUERIES):
            stop = min(start + QUERIES, segment.stop)
            yield (start, stop), (*segment.context, (segment.start, stop))


def _gather(tensor: torch.Tensor, runs: Sequence[tuple[int, int]]) -> torch.Tensor:
    """Return (heads, tokens, size) of the tokens in `runs`."""
    parts = [tensor[start:stop] for start, stop in runs]
    return (parts[0] if len(parts) == 1 else torch.cat(parts)).transpose(0, 1)


def _scatter(total: torch.Tensor, part: torch.Tensor, runs: Sequence[tuple[int, int]]) -> None:
    """Add `part`, shaped as `_gather` gives it, to the tokens in `runs`."""
    by_token = part.transpose(0, 1)
    at = 0
    for start, stop in runs:
        total[start:stop] += by_token[at : at + stop - start]
        at += stop - start


def _by_key_head(block: torch.Tensor, key_heads: int) -> torch.Tensor:
    """Return (tokens, heads, size) as (key heads, heads of one key head x tokens, size)."""
    tokens, heads, size = block.shape
    return block.view(tokens, key_heads, heads // key_heads, size).permute(1, 2, 0, 3).reshape(key_heads, -1, size)


def _by_token(mixed: torch.Tensor, block: tuple[int, int]) -> torch.Tensor:
    """Return what `_by_key_head` makes as (tokens, heads, size) again."""
    key_heads, _, size = mixed.shape
    tokens = block[1] - block[0]
    return mixed.view(key_heads, -1, tokens, size).permute(2, 0, 1, 3).reshape(tokens, -1, size)


def _probabilities(
    queries: torch.Tensor, keys: torch.Tensor, scale: float, block: tuple[int, int], window: int | None
) -> torch.Tensor:
    """Return (key heads, heads of one key head x tokens, keys)."""
    tokens = block[1] - block[0]
    scores = torch.bmm(queries * scale, keys.transpose(1, 2))
    unseen = _unseen(tokens, keys.shape[1], window, scores.dtype)
    scores.view(len(keys), -1, tokens, keys.shape[1]).add_(unseen)
    return torch.softmax(scores, dim=-1)


@lru_cache(maxsize=64)
def _unseen(queries: int, keys: int, window: int | None, dtype: torch.dtype) -> torch.Tensor:
    """Return (queries, keys): minus infinity where a key is not seen, else nothing; the last query is the last key."""
    never = torch.ones(queries, keys, dtype=torch.bool).triu(keys - queries + 1)
    if window is not None:
        never |= torch.ones(queries, keys, dtype=torch.bool).tril(keys - queries - window)
    return torch.zeros(queries, keys, dtype=dtype).masked_fill_(never, float("-inf"))


def _by_library(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    segments: Sequence[Segment],
    scale: float,
    dropout: float,
    window: int | None,
) -> torch.Tensor:
    """Return (tokens, heads, size), made by torch's own kernel for one segment after the other."""
    outputs: list[torch.Tensor] = []
    for segment in segments:
        runs = (*segment.context, (segment.start, segment.stop))
        seen = _gather(key, runs)
        plain = not segment.context and window is None
        tokens = segment.stop - segment.start
        mask = None if plain else _unseen(tokens, seen.shape[1], window, query.dtype).to(query.device)
        mixed = torch.nn.functional.scaled_dot_product_attention(
            query[segment.start : segment.stop].transpose(0, 1)[None],
            seen[None],
            _gather(value, runs)[None],
            attn_mask=mask,
            dropout_p=dropout,
            is_causal=plain,
            scale=scale,
            enable_gqa=query.shape[1] != key.shape[1],
        )
        outputs.append(mixed[0].transpose(0, 1))
    return torch.cat(outputs)
