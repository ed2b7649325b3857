# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (torch and transformers carry no complete types)
"""Causal attention within the segments of a packed row, as an attention function of transformers.

A token sees its segment's context and what stands before it in its own segment, and nothing else: no mask over the
whole row, no padding. On a CPU that is done by `trainer.cpu_attention`; on other devices, and with attention dropout,
torch's own kernel is called for each segment. Not covered: attention with sinks or capped scores, which is refused.
"""

from collections.abc import Sequence
from functools import lru_cache, partial
from typing import Any

import torch

from protocols.errors import ModelError
from trainer.attention_blocks import Runs, gather, mask_of
from trainer.cpu_attention import PackedRow, attend_on_cpu
from trainer.token_tree import Segment

NAME = "packed_segments"


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
    own_products = query.device.type == "cpu" and dropout == 0.0
    attend = attend_on_cpu if own_products else partial(_by_library, dropout=dropout)
    covering = tuple(segments or (Segment(0, query.shape[2]),))
    outputs: list[torch.Tensor] = []
    for row in zip(query, key, value, strict=True):
        queries, keys, values = (states.transpose(0, 1).to(value.dtype) for states in row)
        outputs.append(attend(PackedRow(queries, keys, values, covering, scale, sliding_window)))
    return torch.stack(outputs), None


def _by_library(row: PackedRow, dropout: float) -> torch.Tensor:
    """Return (tokens, heads, size), made by torch's own kernel for one segment after the other."""
    query, key, value = (states.transpose(0, 1) for states in (row.query, row.key, row.value))
    outputs: list[torch.Tensor] = []
    for segment, mask in zip(row.segments, _masks(row.segments, row.window, query.dtype, query.device), strict=True):
        runs = _seen(segment)
        mixed = torch.nn.functional.scaled_dot_product_attention(
            query[None, :, segment.start : segment.stop],
            gather(key, runs)[None],
            gather(value, runs)[None],
            attn_mask=mask,
            dropout_p=dropout,
            is_causal=mask is None,
            scale=row.scale,
            enable_gqa=len(query) != len(key),
        )
        outputs.append(mixed[0].transpose(0, 1))
    return torch.cat(outputs)


@lru_cache(maxsize=8)
def _masks(
    segments: tuple[Segment, ...], window: int | None, dtype: torch.dtype, device: torch.device
) -> tuple[torch.Tensor | None, ...]:
    """Return each segment's mask, None where it is plainly causal; every layer of a micro-batch asks for the same."""
    with torch.inference_mode(False):  # a pass that only looks may be the first to ask
        return tuple(
            mask_of(segment.stop - segment.start, _seen(segment), _seen(segment), window, dtype).to(device)
            if segment.context or window is not None
            else None
            for segment in segments
        )


def _seen(segment: Segment) -> Runs:
    return (*segment.context, (segment.start, segment.stop))
