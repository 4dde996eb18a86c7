"""Relevance-CAM: the channels of an activation, each weighted by the relevance that flows back to it from the class.

Source      Lee, Kim, Park, Eo, Hwang, "Relevance-CAM: your model already knows where to look" (CVPR 2021) and the authors' code;
            its rules: Bach et al., "On pixel-wise explanations" (2015), alpha = 1, beta = 0
Equations   R_t = 1 for the class explained, R_j = -1/K for the others (contrastive); then layer by layer down to A:
            linear and convolution  R_in = x+ (w+' s) + x- (w-' s),  s = R / Z,  Z = w+ x+ + w- x-
            pooling and sums        R_in = x * d(Z s)/dx,  Z their output: split in proportion to the parts
            activations, BatchNorm  R_in = R
            r_k = mean_ij R_k,ij at A, and the map is sum_k r_k A_k. No ReLU: it has both signs
Assumes     a network of these layers and the blocks of `architectures`. Raises Unsuited for any other layer
Deviations  the code writes -1/1000 for its 1,000 classes; here K is the network's own. Biases are left out of Z, so that
            relevance is conserved (1/K in all); the code has them inside Z for convolutions. The code's BatchNorm rule is
            R x w / (x w + 1e-9), which differs where x w = 0. Where Z = 0 nothing flows, as in the code
Keeps       no state
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from gamekeeper.architectures import BasicBlock, PreActivation
from gamekeeper.errors import Unsuited
from gamekeeper.explain.maps import Activation, Maps, evaluating, picture
from gamekeeper.types import Batch

Inner = Float[Tensor, "n ..."]

PASSING = (nn.ReLU, nn.LeakyReLU, nn.Softplus, nn.Dropout, nn.Identity, nn.BatchNorm2d)
POOLING = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d)


def relevance_cam(net: nn.Module, x: Batch, top: Int[Tensor, " n"], layer: int | None = None) -> Maps:
    """sum_k r_k A_k."""
    with evaluating(net):
        a, rest = picture(net, x, layer)
        return (relevance(rest, a, top).mean((2, 3), keepdim=True) * a).sum(1)


def relevance(rest: Sequence[nn.Module], a: Activation, top: Int[Tensor, " n"]) -> Activation:
    """R at the activation `a`, which needs a graph, from the classes `top` at the output of the layers `rest`."""
    entered, out = passed(rest, a)
    k = out.shape[1]
    return through(rest, entered, torch.full_like(out, -1 / k).scatter(1, top[:, None], 1.0))


def passed(modules: Sequence[nn.Module], x: Inner) -> tuple[list[Inner], Inner]:
    """The input of each module, and the output of the last."""
    entered: list[Inner] = []
    for module in modules:
        entered.append(x)
        x = module(x.clone() if getattr(module, "inplace", False) else x)
    return entered, x


def through(modules: Sequence[nn.Module], entered: Sequence[Inner], r: Inner) -> Inner:
    """R at the input of the first module, from R at the output of the last."""
    for module, x in zip(reversed(modules), reversed(entered), strict=True):
        r = back(module, x, r)
    return r


def back(module: nn.Module, x: Inner, r: Inner) -> Inner:
    """R at the input x of one module, from R at its output."""
    if isinstance(module, PASSING):
        return r
    if isinstance(module, nn.Flatten):
        return r.reshape(x.shape)
    if isinstance(module, nn.Linear | nn.Conv2d):
        return weighted(module, x, r)
    if isinstance(module, POOLING):
        return x * pulled(module, x, divided(r, module(x)))
    if isinstance(module, nn.Sequential):
        return through(list(module), passed(list(module), x)[0], r)
    if isinstance(module, BasicBlock):
        return back_through_basic(module, x, r)
    if isinstance(module, PreActivation):
        return back_through_pre_activation(module, x, r)
    raise Unsuited(
        f"Relevance-CAM has no rule for {type(module).__name__}. Use grad_cam, or name a layer after the last one of this kind."
    )


def weighted(module: nn.Linear | nn.Conv2d, x: Inner, r: Inner) -> Inner:
    """alpha = 1, beta = 0: only inputs that pushed the output up get a share."""
    above, below = x.clamp(min=0), x.clamp(max=0)
    up = partial(without_bias, module, module.weight.clamp(min=0))
    down = partial(without_bias, module, module.weight.clamp(max=0))
    s = divided(r, up(above) + down(below))
    return above * pulled(up, above, s) + below * pulled(down, below, s)


def pulled(f: Callable[[Inner], Inner], x: Inner, s: Inner) -> Inner:
    """d(f(x) s)/dx with s held fixed, with its graph."""
    own = x.clone()  # s depends on x as well, but not on this copy
    # not `grad_outputs=s`: torch would load sympy for it, which takes seconds
    return torch.autograd.grad((f(own) * s).sum(), own, create_graph=True)[0]


def without_bias(module: nn.Linear | nn.Conv2d, weight: Tensor, x: Inner) -> Inner:
    """The layer with another weight and no bias; a convolution pads with zeros. A weight may be (n, ...): one per row."""
    if weight.ndim > 2 and isinstance(module, nn.Linear):
        return (weight @ x[:, :, None])[:, :, 0]
    if weight.ndim > 4 and isinstance(module, nn.Conv2d):
        return own_convolution(module, weight, x)
    if isinstance(module, nn.Linear):
        return F.linear(x, weight)
    return F.conv2d(x, weight, None, module.stride, module.padding, module.dilation, module.groups)


def own_convolution(module: nn.Conv2d, weight: Float[Tensor, "n ..."], x: Activation) -> Float[Tensor, "n c2 h2 w2"]:
    """Every row convolved with its own filter, as one matrix product per row."""
    patches = F.unfold(x, module.kernel_size, module.dilation, module.padding, module.stride)  # pyright: ignore
    (up, _), (across, _), (down, _) = module.padding, module.dilation, module.stride
    height = (x.shape[2] + 2 * up - across * (module.kernel_size[0] - 1) - 1) // down + 1  # pyright: ignore
    return (weight.flatten(2) @ patches).unflatten(2, (height, -1))


def back_through_basic(block: BasicBlock, x: Activation, r: Inner) -> Activation:
    """relu(second(first(x)) + shortcut(x, every stride-th pixel))."""
    middle, near = block.first(x), x[:, :, :: block.stride, :: block.stride]
    r_far, r_near = shared(block.second(middle), block.shortcut(near), r)
    r_far = back(block.first, x, back(block.second, middle, r_far))
    spread = torch.zeros_like(x)
    spread[:, :, :: block.stride, :: block.stride] = back(block.shortcut, near, r_near)
    return r_far + spread


def back_through_pre_activation(block: PreActivation, x: Activation, r: Inner) -> Activation:
    """path(enter(x)) + x, or + shortcut(enter(x))."""
    entered = block.enter(x)
    near = x if block.shortcut is None else block.shortcut(entered)
    r_far, r_near = shared(block.path(entered), near, r)
    r_far = back(block.path, entered, r_far)
    if block.shortcut is None:
        return back(block.enter, x, r_far) + r_near
    return back(block.enter, x, r_far + back(block.shortcut, entered, r_near))


def shared(a: Inner, b: Inner, r: Inner) -> tuple[Inner, Inner]:
    """R of a sum, split in proportion to the summands."""
    s = divided(r, a + b)
    return a * s, b * s


def divided(r: Inner, z: Inner) -> Inner:
    """r / z, 0 where z is 0, with finite derivatives there."""
    nothing = z == 0
    return (r / z.masked_fill(nothing, 1.0)).masked_fill(nothing, 0.0)
