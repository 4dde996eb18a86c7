"""The Gram matrix of the gradients of a network's logits in all weights, without storing a Jacobian.

Source      Orekondy, Schiele, Fritz, "Prediction Poisoning" (ICLR 2020), equation (5), whose G is over all
            weights; layer-wise norms without gradients: Goodfellow, "Efficient per-example gradient computations"
            (2015); for convolutions Bu, Mao, Xu, "Scalable and efficient training of large convolutional neural
            networks with differential privacy" (NeurIPS 2022)
Equations   Q_jk = <dz_j/dw, dz_k/dw>, the sum over layers of <B_j, A A^T B_k> with A a layer's inputs (patches) and
            B_k = dz_k/d(its output); G G^T = (I - 1 p^T) Q (I - p 1^T)
Assumes     evaluation mode; linear layers, convolutions and batch normalisation have formulas, the Jacobian of other
            weights is computed by torch.func, input by input
Deviations  none: equal to the product of the explicit Jacobian
Keeps       the network: its weights, buffers and gradients are not changed

Cost: one forward pass, k backward passes to the layers' outputs, and the products.
"""

import threading
from collections import Counter
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call, jacrev

from gamekeeper.types import Batch

NUMBERS = 2**25
"""Gradients with respect to layer outputs in memory at a time: 128 MB in float32."""

Gram = Float[Tensor, "n k k"]


@dataclass(frozen=True, eq=False)
class Call:
    """One use of a layer in a forward pass."""

    layer: nn.Module
    x: Tensor
    out: Tensor


def gram(net: nn.Module, x: Batch) -> Gram:
    """Q for each input, in the network's dtype. Leaves the network in evaluation mode."""
    net.eval()
    z, calls = traced(net, x[:1])
    rows = max(1, NUMBERS // (z.shape[1] * sum(call.out.numel() for call in calls) + 1))
    return torch.cat([gram_at_once(net, part) for part in x.split(rows)])


def gram_at_once(net: nn.Module, x: Batch) -> Gram:
    """The same, for a batch whose gradients fit into memory together."""
    z, calls = traced(net, x)
    n, k = z.shape
    q = torch.zeros(n, k, k, dtype=z.dtype)
    last = next((call for call in calls if call.out is z and isinstance(call.layer, nn.Linear)), None)
    if last is not None:  # here B_k = e_k
        q += torch.diag_embed((last.x.square().sum(1) + has_bias(last.layer))[:, None].expand(n, k))
    before = [call for call in calls if call is not last]
    if before:
        vertices = torch.eye(k, dtype=z.dtype)[:, None].expand(k, n, k)
        outs = [call.out for call in before]
        grads = torch.autograd.grad(z, outs, vertices, is_grads_batched=True, allow_unused=True)
        for call, b in zip(before, grads, strict=True):
            if b is not None:  # pyright: ignore[reportUnnecessaryComparison]
                q += of_layer(call.layer, call.x, b)
    mine = {id(weight) for call in calls for weight in call.layer.parameters()}
    others = {name: weight.detach() for name, weight in net.named_parameters() if id(weight) not in mine}
    return q + by_jacobian(net, x, others) if others else q


def traced(net: nn.Module, x: Batch) -> tuple[Float[Tensor, "n k"], list[Call]]:
    """Logits, and the calls of all layers that have a formula, are used once and share no weights."""
    calls: list[Call] = []
    mine = threading.get_ident()

    def note(layer: nn.Module, inputs: tuple[Tensor, ...], out: Tensor) -> None:
        if threading.get_ident() == mine:  # a service may be answering somebody else with the same network
            calls.append(Call(layer, inputs[0].detach(), out))

    holders = Counter(id(weight) for module in net.modules() for weight in module._parameters.values())
    layers = [m for m in net.modules() if has_formula(m) and all(holders[id(w)] == 1 for w in m.parameters())]
    hooks = [layer.register_forward_hook(note) for layer in layers]
    try:
        with torch.enable_grad():
            z = net(x.detach().requires_grad_())
    finally:
        for hook in hooks:
            hook.remove()
    times = Counter(call.layer for call in calls)
    return z, [call for call in calls if times[call.layer] == 1]


def has_formula(layer: nn.Module) -> bool:
    """Whether `of_layer` has a formula for it; not for grouped convolutions or other padding than zeros."""
    if isinstance(layer, nn.Conv2d):
        return layer.groups == 1 and layer.padding_mode == "zeros" and not isinstance(layer.padding, str)
    normalises = isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d)
    return isinstance(layer, nn.Linear) or (normalises and layer.affine and layer.running_mean is not None)


def has_bias(layer: nn.Module) -> bool:
    return "bias" in dict(layer.named_parameters(recurse=False))


def of_layer(layer: nn.Module, x: Float[Tensor, "n ..."], b: Float[Tensor, "k n ..."]) -> Gram:
    """One layer's part of Q; x its input, b the logits' gradients with respect to its output."""
    n, k = len(x), len(b)
    if isinstance(layer, nn.Linear):
        return of_patches(x.reshape(n, -1, x.shape[-1]), b.reshape(k, n, -1, b.shape[-1]), has_bias(layer))
    if isinstance(layer, nn.Conv2d):
        patches = F.unfold(x, layer.kernel_size, layer.dilation, layer.padding, layer.stride).transpose(1, 2)  # pyright: ignore
        return of_patches(patches, b.flatten(3).transpose(2, 3), has_bias(layer))
    plain = F.batch_norm(x, layer.running_mean, layer.running_var, eps=layer.eps)  # pyright: ignore
    by_scale, by_shift = (b * plain).reshape(k, n, x.shape[1], -1).sum(3), b.reshape(k, n, x.shape[1], -1).sum(3)
    return rows_of(by_scale.transpose(0, 1)) + rows_of(by_shift.transpose(0, 1))


def of_patches(a: Float[Tensor, "n t d"], b: Float[Tensor, "k n t c"], bias: bool) -> Gram:
    """The part of weights shared by t patches, by the weights' gradients or the patches' Gram matrix, as is cheaper."""
    if bias:
        a = torch.cat([a, torch.ones_like(a[..., :1])], 2)
    n, t, d = a.shape
    k, c = len(b), b.shape[3]
    b = b.permute(1, 0, 3, 2).reshape(n, k * c, t)
    if k * t * c * d + k * k * c * d < t * t * (d + k * c) + k * k * t * c:
        return rows_of((b @ a).reshape(n, k, c * d))
    through = b @ (a @ a.transpose(1, 2))
    return through.reshape(n, k, c * t) @ b.reshape(n, k, c * t).transpose(1, 2)


def rows_of(j: Float[Tensor, "n k d"]) -> Gram:
    return j @ j.transpose(1, 2)


def by_jacobian(net: nn.Module, x: Batch, weights: dict[str, Tensor]) -> Gram:
    """The part of the named weights, by their explicit Jacobian, one input at a time."""

    def logits(moved: dict[str, Tensor], row: Tensor) -> Tensor:
        return functional_call(net, moved, (row,))[0]

    parts: list[Tensor] = []
    for row in x.split(1):
        jacobian: dict[str, Tensor] = jacrev(logits)(weights, row)  # pyright: ignore
        parts.append(rows_of(torch.cat([entry.flatten(1) for entry in jacobian.values()], 1)[None]))
    return torch.cat(parts)
