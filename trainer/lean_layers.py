# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportIncompatibleMethodOverride=false, reportMissingParameterType=false, reportUnknownParameterType=false
# (torch's autograd functions are untyped by design; PEFT and transformers carry no complete types)
"""Layers of a model under adapters that compute the same with fewer passes over memory, and keep less for backward.

Three kinds are exchanged while a job trains: a linear layer under a plain low-rank adapter (no copies of its input in
float32, products added in place, no gradient of frozen weights), a SiLU-gated MLP (its product is made again in the
backward pass), and a root mean square norm. Every other layer under an adapter, such as
one with DoRA or dropout, runs as its library wrote it, under autocast. Adapters stay float32; products are made in the
weights' own type.
"""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import torch

from trainer.low_rank import ADAPTER

silu = torch.nn.functional.silu


class _Pair(NamedTuple):
    """A frozen linear layer and its low-rank adapter."""

    weight: torch.Tensor
    bias: torch.Tensor | None
    down: torch.Tensor
    """(rank, inputs), float32."""
    up: torch.Tensor
    """(outputs, rank), float32."""
    scale: float


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


def _forward_of(layer: Any) -> Callable[..., torch.Tensor] | None:
    """Return another forward of a layer; None leaves it as it is."""
    if _is_plain_adapter(layer):
        return partial(_adapted_linear, _pair_of(layer))
    if hasattr(layer, "lora_A"):
        return partial(_under_autocast, layer.forward)
    if _is_gated_mlp(layer):
        return partial(_gated_mlp, layer, _pair_of(layer.down_proj))
    if _is_frozen_norm(layer):
        return partial(_norm, layer.weight, layer.variance_epsilon)
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
        names == {"gate_proj", "up_proj", "down_proj", "act_fn"}
        and type(layer.act_fn).__name__ in ("SiLU", "SiLUActivation")
        and _is_plain_adapter(layer.down_proj)
    )


def _is_frozen_norm(layer: Any) -> bool:
    """Tell a norm that computes as Llama's does; others (Gemma's adds one to its weight) have other names or fields."""
    return (
        type(layer).__name__ in ("LlamaRMSNorm", "Qwen2RMSNorm", "Qwen3RMSNorm", "MistralRMSNorm")
        and not layer.weight.requires_grad
    )


def _pair_of(layer: Any) -> _Pair:
    base = layer.base_layer
    return _Pair(
        base.weight, base.bias, layer.lora_A[ADAPTER].weight, layer.lora_B[ADAPTER].weight, layer.scaling[ADAPTER]
    )


def _under_autocast(forward: Callable[..., torch.Tensor], inputs: torch.Tensor) -> torch.Tensor:
    with torch.autocast(inputs.device.type, torch.bfloat16, enabled=inputs.dtype == torch.bfloat16):
        return forward(inputs)


def _adapted_linear(pair: _Pair, inputs: torch.Tensor) -> torch.Tensor:
    output = _AdaptedLinear.apply(inputs.flatten(0, -2), *pair)
    return output.unflatten(0, inputs.shape[:-1])


def _gated_mlp(mlp: Any, pair: _Pair, inputs: torch.Tensor) -> torch.Tensor:
    gate, up = mlp.gate_proj(inputs), mlp.up_proj(inputs)
    output = _GatedDown.apply(gate.flatten(0, -2), up.flatten(0, -2), *pair)
    return output.unflatten(0, inputs.shape[:-1])


def _norm(weight: torch.Tensor, epsilon: float, inputs: torch.Tensor) -> torch.Tensor:
    return _Norm.apply(inputs, weight, epsilon)


def _project(inputs: torch.Tensor, pair: _Pair) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return outputs, the adapter's inner values, and both its matrices in the weights' type, the scale in `up`."""
    dtype = pair.weight.dtype
    down, up = pair.down.to(dtype), (pair.up * pair.scale).to(dtype)
    inner = inputs @ down.t()
    output = torch.nn.functional.linear(inputs, pair.weight, pair.bias).addmm_(inner, up.t())
    return output, inner, down, up


def _gradients(
    gradient: torch.Tensor, inputs: torch.Tensor, inner: torch.Tensor, for_inner: torch.Tensor, scale: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the gradients of both matrices of an adapter, in float32."""
    return (for_inner.t() @ inputs).float(), (gradient.t() @ inner).float().mul_(scale)


class _AdaptedLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: Any, weight: Any, bias: Any, down: Any, up: Any, scale: float) -> torch.Tensor:
        output, *kept = _project(inputs, _Pair(weight, bias, down, up, scale))
        ctx.save_for_backward(inputs, weight, *kept)
        ctx.scale = scale
        return output

    @staticmethod
    def backward(ctx: Any, *outputs: Any) -> tuple[Any, ...]:
        (gradient,) = outputs
        inputs, weight, inner, down, up = ctx.saved_tensors
        for_inner = gradient @ up
        for_inputs = (gradient @ weight).addmm_(for_inner, down) if ctx.needs_input_grad[0] else None
        return for_inputs, None, None, *_gradients(gradient, inputs, inner, for_inner, ctx.scale), None


class _GatedDown(torch.autograd.Function):
    """The last layer of an MLP on silu(gate) x up."""

    @staticmethod
    def forward(
        ctx: Any, gate: Any, raised: Any, weight: Any, bias: Any, down: Any, up: Any, scale: float
    ) -> torch.Tensor:
        output, *kept = _project(silu(gate).mul_(raised), _Pair(weight, bias, down, up, scale))
        ctx.save_for_backward(gate, raised, weight, *kept)
        ctx.scale = scale
        return output

    @staticmethod
    def backward(ctx: Any, *outputs: Any) -> tuple[Any, ...]:
        (gradient,) = outputs
        gate, raised, weight, inner, down, up = ctx.saved_tensors
        for_inner = gradient @ up
        for_product = (gradient @ weight).addmm_(for_inner, down)
        opened = silu(gate)
        matrices = _gradients(gradient, opened * raised, inner, for_inner, ctx.scale)
        for_raised = opened.mul_(for_product)
        for_gate = torch.ops.aten.silu_backward(for_product.mul_(raised), gate)
        return for_gate, for_raised, None, None, *matrices, None


class _Norm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: Any, weight: Any, epsilon: float) -> torch.Tensor:
        wide = inputs.float()
        size = torch.linalg.vector_norm(wide, dim=-1, keepdim=True)
        inverse = size.square_().div_(inputs.shape[-1]).add_(epsilon).rsqrt_()
        ctx.save_for_backward(inputs, weight, inverse)
        return weight * (wide * inverse).to(inputs.dtype)

    @staticmethod
    def backward(ctx: Any, *outputs: Any) -> tuple[Any, ...]:
        inputs, weight, inverse = ctx.saved_tensors
        normed = inputs.float() * inverse
        for_normed = (outputs[0] * weight).float()
        along = torch.linalg.vecdot(normed, for_normed).unsqueeze(-1).div_(inputs.shape[-1])
        return for_normed.addcmul_(normed, along, value=-1).mul_(inverse).to(inputs.dtype), None, None
