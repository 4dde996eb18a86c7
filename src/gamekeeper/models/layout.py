"""Memory layout and arithmetic precision, the same for training and inference."""

import torch
from torch import Tensor, nn


def bf16_pays() -> bool:
    """Whether this processor multiplies bf16 in hardware (others emulate it under autocast, slowly)."""
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())  # pyright: ignore


def autocast() -> torch.autocast:
    return torch.autocast("cpu", torch.bfloat16, enabled=bf16_pays())


def image_memory(x: Tensor) -> Tensor:
    """channels_last for image batches, unchanged otherwise."""
    return x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x


def network_memory(net: nn.Module) -> nn.Module:
    """channels_last for convolutional networks, unchanged otherwise. The layout affects the last bits of answers."""
    if any(isinstance(layer, nn.Conv2d) for layer in net.modules()):
        return net.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    return net
