# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportIncompatibleMethodOverride=false, reportMissingParameterType=false, reportUnknownParameterType=false
# (torch's autograd functions are untyped by design; PEFT and transformers carry no complete types)
"""Layers of a model under adapters that compute the same with fewer passes over memory, and keep less for backward.

Four kinds are exchanged while a job trains: a linear layer under a plain low-rank adapter, a SiLU-gated MLP, a root
mean square norm, and on a CPU an attention layer with rotary positions. Every other layer under an adapter, such as one
with DoRA or dropout, runs as its library wrote it, under autocast.
"""

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch

from trainer.cpu_attention import PackedRow, Rotation, attend_on_cpu
from trainer.lean_linear import AdaptedLayer, adapted_linear, gated_down
from trainer.lean_norm import root_mean_square_norm
from trainer.low_rank import ADAPTER
from trainer.token_tree import Segment

_NORMS = ("LlamaRMSNorm", "Qwen2RMSNorm", "Qwen3RMSNorm", "MistralRMSNorm")
"""They compute as Llama's does; others (Gemma's adds one to its weight) have other names."""
_ATTENTIONS: dict[str, Callable[[Any], int | None]] = {
    "LlamaAttention": lambda layer: None,
    "Qwen2Attention": lambda layer: layer.sliding_window,
    "MistralAttention": lambda layer: layer.config.sliding_window,
}
"""They turn queries and keys as Llama's does, and do nothing else to them; with the window that each has, if any."""
_QKV = ("q_proj", "k_proj", "v_proj")
_MLP = ("gate_proj", "up_proj", "down_proj")


@contextmanager
def lean_layers(model: Any) -> Generator[None]:
    """Exchange the forward of every layer of `model` that is of a covered kind; put the old ones back in the end."""
    exchanged = {layer: forward for layer in model.modules() if (forward := _forward_of(layer)) is not None}
    for layer, forward in exchanged.items():
        layer.forward = forward
    try:
        yield
    finally:
        for layer in exchanged:
            del layer.forward


def _forward_of(layer: Any) -> Callable[..., Any] | None:
    """Return another forward of a layer; None leaves it as it is."""
    if _is_plain_adapter(layer):
        return partial(_linear, layer)
    if hasattr(layer, "lora_A"):
        return partial(_under_autocast, layer.forward)
    if _is_gated_mlp(layer):
        return partial(_gated_mlp, layer)
    if _is_frozen_norm(layer):
        return partial(_norm, layer)
    if _is_cpu_attention(layer):
        return partial(_attention, layer, layer.forward)
    return None


def _is_plain_adapter(layer: Any) -> bool:
    return (
        isinstance(getattr(layer, "base_layer", None), torch.nn.Linear)
        and not layer.base_layer.weight.requires_grad
        and list(getattr(layer, "lora_A", ())) == [ADAPTER]
        and isinstance(layer.lora_A[ADAPTER], torch.nn.Linear)
        and isinstance(layer.lora_dropout[ADAPTER], torch.nn.Identity)
        and ADAPTER not in layer.lora_variant
        and layer.lora_A[ADAPTER].bias is None
        and layer.lora_B[ADAPTER].bias is None
    )


def _is_gated_mlp(layer: Any) -> bool:
    names = {name for name, _ in layer.named_children()}
    return (
        names == {*_MLP, "act_fn"}
        and type(layer.act_fn).__name__ in ("SiLU", "SiLUActivation")
        and all(_is_plain_adapter(layer.get_submodule(name)) for name in _MLP)
    )


def _is_frozen_norm(layer: Any) -> bool:
    return type(layer).__name__ in _NORMS and not layer.weight.requires_grad


def _is_cpu_attention(layer: Any) -> bool:
    return (
        type(layer).__name__ in _ATTENTIONS
        and layer.attention_dropout == 0.0
        and all(_is_plain_adapter(layer.get_submodule(name)) for name in _QKV)
        and layer.q_proj.base_layer.weight.device.type == "cpu"
    )


def _adapted(layer: Any) -> AdaptedLayer:
    """Return what `layer` consists of now: where it is in shards, that is whole only while it computes."""
    base = layer.base_layer
    return AdaptedLayer(
        base.weight, base.bias, layer.lora_A[ADAPTER].weight, layer.lora_B[ADAPTER].weight, layer.scaling[ADAPTER]
    )


def _under_autocast(forward: Callable[..., torch.Tensor], inputs: torch.Tensor) -> torch.Tensor:
    with torch.autocast(inputs.device.type, torch.bfloat16, enabled=inputs.dtype == torch.bfloat16):
        return forward(inputs)


def _linear(layer: Any, inputs: torch.Tensor) -> torch.Tensor:
    (output,) = adapted_linear([_adapted(layer)], inputs)
    return output


def _gated_mlp(layer: Any, inputs: torch.Tensor) -> torch.Tensor:
    gate, raised = adapted_linear([_adapted(layer.gate_proj), _adapted(layer.up_proj)], inputs)
    return gated_down(_adapted(layer.down_proj), gate, raised)


def _attention(
    layer: Any,
    library: Callable[..., Any],
    hidden_states: torch.Tensor,
    position_embeddings: tuple[torch.Tensor, torch.Tensor],
    *others: Any,
    segments: Sequence[Segment] | None = None,
    **named: Any,
) -> tuple[torch.Tensor, None]:
    """Return what the layer's own forward, `library`, does for a row of segments; leave anything else to that."""
    cosine, sine = position_embeddings
    if segments is None or cosine.shape[-1] != layer.head_dim:
        return library(hidden_states, position_embeddings, *others, segments=segments, **named)
    layers = [_adapted(layer.get_submodule(name)) for name in _QKV]
    query, key, value = (
        output.flatten(0, 1).unflatten(-1, (-1, layer.head_dim)) for output in adapted_linear(layers, hidden_states)
    )
    window = _ATTENTIONS[type(layer).__name__](layer)
    rotation = Rotation(cosine.flatten(0, 1), sine.flatten(0, 1))
    mixed = attend_on_cpu(PackedRow(query, key, value, tuple(segments), layer.scaling, window), rotation)
    return layer.o_proj(mixed.flatten(1)[None]), None


def _norm(layer: Any, inputs: torch.Tensor) -> torch.Tensor:
    return root_mean_square_norm(inputs, layer.weight, layer.variance_epsilon)
