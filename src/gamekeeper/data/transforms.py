"""Images shifted by whole pixels: the transformed inputs that attacks and learners share."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

Images = Float[Tensor, "n c h w"]


def moved(
    x: Images, down: Int[Tensor, " n"], right: Int[Tensor, " n"], mirror: Int[Tensor, " n"] | None = None
) -> Images:
    """Each image shifted by its own number of pixels, padded by repeating its edge; then, where `mirror` is 1, flipped
    left to right."""
    n, c, h, w = x.shape
    rows = (torch.arange(h) - down[:, None]).clamp(0, h - 1)
    columns = (torch.arange(w) - right[:, None]).clamp(0, w - 1)
    if mirror is not None:
        columns = torch.where(mirror[:, None] == 1, columns.flip(1), columns)
    x = x.gather(2, rows[:, None, :, None].expand(n, c, h, w))
    return x.gather(3, columns[:, None, None, :].expand(n, c, h, w))
