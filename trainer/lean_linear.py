# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportIncompatibleMethodOverride=false, reportMissingParameterType=false, reportUnknownParameterType=false
# (torch's autograd functions are untyped by design)
"""Frozen linear layers with low-rank adapters: no copies of their input in float32, no gradients of frozen weights.

Layers that have their input in common are one function: what it gets in the backward pass is summed inside the matrix
products, and the adapters' small products are made at once. Adapters are float32, products of the weights' own type.
An input that a norm has made is not kept until then: its gradients are found from what the norm itself keeps.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from trainer.cached_rows import cached_rows
from trainer.lean_norm import Origin, origin_of
from trainer.products import add_product, linear

silu = torch.nn.functional.silu


class AdaptedLayer(NamedTuple):
    """A frozen linear layer and its low-rank adapter."""

    weight: torch.Tensor
    bias: torch.Tensor | None
    down: torch.Tensor
    """(rank, inputs), float32."""
    up: torch.Tensor
    """(outputs, rank), float32."""
    scale: float


def adapted_linear(layers: Sequence[AdaptedLayer], inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Return the output of each layer, (..., outputs), for the same `inputs`, (..., inputs)."""
    flat = _AdaptedLinear.apply(inputs.flatten(0, -2), layers, origin_of(inputs), *_matrices(layers))
    return tuple(output.unflatten(0, inputs.shape[:-1]) for output in flat)


def gated_down(layer: AdaptedLayer, gate: torch.Tensor, raised: torch.Tensor) -> torch.Tensor:
    """Return what the last layer of an MLP makes of silu(gate) x raised; that product is made again going backward."""
    output = _GatedDown.apply(gate.flatten(0, -2), raised.flatten(0, -2), layer, *_matrices([layer]))
    return output.unflatten(0, gate.shape[:-1])


def _matrices(layers: Sequence[AdaptedLayer]) -> list[torch.Tensor]:
    """Return what is trained, as autograd must see it: all `down`, then all `up`."""
    return [layer.down for layer in layers] + [layer.up for layer in layers]


class _Cast(NamedTuple):
    """The adapters of several layers in the type of their weights."""

    down: torch.Tensor
    """(all ranks, inputs)."""
    ups: list[torch.Tensor]
    """Each (outputs, rank), scaled."""


def _cast(layers: Sequence[AdaptedLayer]) -> _Cast:
    dtype = layers[0].weight.dtype
    downs = [layer.down.to(dtype) for layer in layers]
    down = downs[0] if len(downs) == 1 else torch.cat(downs)
    return _Cast(down, [(layer.up * layer.scale).to(dtype) for layer in layers])


def _outputs(
    layers: Sequence[AdaptedLayer], inputs: torch.Tensor, inner: torch.Tensor, cast: _Cast
) -> list[torch.Tensor]:
    parts = inner.split([up.shape[1] for up in cast.ups], dim=1)
    return [
        linear(inputs, layer.weight, layer.bias).addmm_(part, up.t())
        for layer, part, up in zip(layers, parts, cast.ups, strict=True)
    ]


def _for_inner(gradients: Sequence[torch.Tensor], cast: _Cast) -> torch.Tensor:
    parts = [gradient @ up for gradient, up in zip(gradients, cast.ups, strict=True)]
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


def _for_inputs(
    layers: Sequence[AdaptedLayer], gradients: Sequence[torch.Tensor], for_inner: torch.Tensor, cast: _Cast
) -> torch.Tensor:
    result = linear(gradients[0], layers[0].weight.t())
    for layer, gradient in zip(layers[1:], gradients[1:], strict=True):
        add_product(result, gradient, layer.weight)
    return result.addmm_(for_inner, cast.down)


def _for_down(for_inner: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
    """Return the gradient of all `down` together, (all ranks, inputs), in float32."""
    return (for_inner.t().contiguous() @ inputs).float()


def _for_down_of_norm(for_inner: torch.Tensor, origin: Origin) -> torch.Tensor:
    """Return what `_for_down` gives for a norm's output: a factor of its rows may as well be one of `for_inner`'s."""
    by_row = (for_inner * origin.inverse).to(for_inner.dtype)
    return _for_down(by_row, origin.inputs).mul_(origin.weight)


def _for_matrices(
    layers: Sequence[AdaptedLayer], gradients: Sequence[torch.Tensor], inner: torch.Tensor, for_down: torch.Tensor
) -> list[torch.Tensor]:
    """Return the gradients of what `_matrices` gives, in float32."""
    ranks = [len(layer.down) for layer in layers]
    downs = for_down.split(ranks)
    rows = inner.t().contiguous().split(ranks)
    ups = [
        (row @ gradient).float().mul_(layer.scale).t()
        for layer, gradient, row in zip(layers, gradients, rows, strict=True)
    ]
    return [*downs, *ups]


class _AdaptedLinear(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, inputs: Any, layers: Sequence[AdaptedLayer], origin: Origin | None, *_: Any
    ) -> tuple[torch.Tensor, ...]:
        cast = _cast(layers)
        inner = inputs @ cast.down.t()
        ctx.save_for_backward(inner, *(origin or [inputs]))
        ctx.layers, ctx.cast = layers, cast
        return tuple(_outputs(layers, inputs, inner, cast))

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Any, ...]:
        inner, *source = ctx.saved_tensors
        for_inner = _for_inner(gradients, ctx.cast)
        for_inputs = _for_inputs(ctx.layers, gradients, for_inner, ctx.cast) if ctx.needs_input_grad[0] else None
        is_of_norm = len(source) == len(Origin._fields)
        for_down = _for_down_of_norm(for_inner, Origin(*source)) if is_of_norm else _for_down(for_inner, *source)
        return for_inputs, None, None, *_for_matrices(ctx.layers, gradients, inner, for_down)


def _open_backward(
    gate: torch.Tensor, raised: torch.Tensor, gradient: torch.Tensor, product: torch.Tensor, for_gate: torch.Tensor
) -> None:
    """Fill `product` with silu(gate) x raised and `for_gate`; turn `gradient`, the product's, into that of `raised`."""
    opened = silu(gate)
    torch.mul(opened, raised, out=product)
    torch.ops.aten.silu_backward.grad_input(gradient * raised, gate, grad_input=for_gate)
    gradient.mul_(opened)


class _GatedDown(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gate: Any, raised: Any, layer: AdaptedLayer, *_: Any) -> torch.Tensor:
        cast = _cast([layer])
        product = torch.empty_like(gate)
        for opened, shut, factor in cached_rows(product, gate, raised):
            torch.mul(silu(shut), factor, out=opened)
        inner = product @ cast.down.t()
        ctx.save_for_backward(gate, raised, inner)
        ctx.layers, ctx.cast = [layer], cast
        (output,) = _outputs([layer], product, inner, cast)
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Any, ...]:
        gate, raised, inner = ctx.saved_tensors
        for_inner = _for_inner(gradients, ctx.cast)
        for_product = _for_inputs(ctx.layers, gradients, for_inner, ctx.cast)
        product, for_gate = torch.empty_like(gate), torch.empty_like(gate)
        for rows in cached_rows(gate, raised, for_product, product, for_gate):
            _open_backward(*rows)
        for_raised = for_product
        matrices = _for_matrices(ctx.layers, gradients, inner, _for_down(for_inner, product))
        return for_gate, for_raised, None, *matrices
