"""Images shifted, turned and warped: the transformed inputs that attacks, learners and shifts share."""

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


def shifted_by(x: Images, by: Float[Tensor, "n 2"]) -> Images:
    """Each image moved by (x, y) pixels, also by parts of one: bilinear, zeros move in. Moves a centre of mass exactly."""
    return sampled(x, *(grid - by[:, k, None, None] for k, grid in enumerate(pixels(x))))


def warped(x: Images, matrix: Float[Tensor, "n 2 2"], by: Float[Tensor, "n 2"], outside: float = 0.0) -> Images:
    """Each image seen through p -> matrix (p - middle) + middle + by: where a pixel of the result is taken from, bilinear."""
    middle = ((x.shape[3] - 1) / 2, (x.shape[2] - 1) / 2)
    right, down = (grid - middle[k] for k, grid in enumerate(pixels(x)))
    places = [
        matrix[:, k, 0, None, None] * right + matrix[:, k, 1, None, None] * down + middle[k] + by[:, k, None, None]
        for k in (0, 1)
    ]
    return sampled(x - outside, places[0], places[1]) + outside


def pixels(x: Images) -> tuple[Float[Tensor, "h w"], Float[Tensor, "h w"]]:
    """The column and the row of every pixel."""
    across, down = torch.meshgrid(torch.arange(x.shape[3]), torch.arange(x.shape[2]), indexing="xy")
    return across.float(), down.float()


def sampled(x: Images, right: Float[Tensor, "n h w"], down: Float[Tensor, "n h w"]) -> Images:
    """The images at these columns and rows, bilinear; zero outside. At whole numbers exactly the pixel."""
    n, c, h, w = x.shape
    left, top = right.floor(), down.floor()
    total = torch.zeros_like(x)
    for step_right in (0, 1):
        for step_down in (0, 1):
            column, row = left + step_right, top + step_down
            share = (1 - (right - column).abs()) * (1 - (down - row).abs())
            inside = (column >= 0) & (column < w) & (row >= 0) & (row < h)
            place = (row.clamp(0, h - 1) * w + column.clamp(0, w - 1)).long().flatten(1)[:, None].expand(n, c, h * w)
            values = x.flatten(2).gather(2, place).view(n, c, *right.shape[1:])
            total = total + values * (share * inside)[:, None]
    return total
