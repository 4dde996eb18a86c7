"""Shadows: a few numbers of an input that tell which others may be near it.

Equations   a = the lowest cosine coefficients of x (DCT-II, orthonormal), a' = (|x|^2 - |a|^2)^1/2 what they leave over:
            |x - y|^2 >= |x|^2 + |y|^2 - 2 (a b + a' b')
Assumes     nothing: the bound holds for all inputs. It is close for images, whose energy is in low frequencies
Deviations  none: rounding is bounded, and makes the bound smaller

Of a few planes (grey or colour images) the 14 x 14 lowest coefficients each are taken, of anything else the 196 lowest of its
numbers in a row.
"""

import math
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from gamekeeper.detectors.nearby import PART, Rows, parts

SIDE, PLANES = 14, 4
SLACK = 8.0
"""Times the error of the coefficients. As a share of |x|^2 + |y|^2 this is more than all rounding amounts to: of the coefficients
(2 of the 8), of the product of two shadows (4 at most) and of the distance that it is compared with."""
Shadow = Float[np.ndarray, "n s"]
"""a, a' and |x|^2 less the slack of each input; NaN where |x|^2 overflows."""


def layout(shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Planes, rows and columns that inputs of this shape are seen as, and the most coefficients on an axis."""
    planes = math.prod(shape[:-2])
    if len(shape) >= 2 and planes <= PLANES:
        return planes, shape[-2], shape[-1], SIDE
    return 1, 1, math.prod(shape), SIDE**2


def width(shape: tuple[int, ...]) -> int:
    """How many numbers the shadow of an input of this shape has."""
    planes, rows, columns, most = layout(shape)
    return planes * min(rows, most) * min(columns, most) + 2


def cosines(n: int, most: int) -> Float[np.ndarray, "k n"]:
    """The lowest rows of the orthonormal DCT-II of n numbers, at most as many as given."""
    k = np.arange(min(n, most))[:, None]
    return np.cos(np.pi * (np.arange(n) + 0.5) * k / n) * np.sqrt(np.where(k == 0, 1, 2) / n)


class Lamp(NamedTuple):
    """What casts the shadows of inputs of one shape and precision.

    planes, down, across  inputs are this many planes; cosines along their columns and along their rows
    error                 of the coefficients, as a share of |x|
    most                  what |x|^2 must be below
    """

    planes: int
    down: Float[np.ndarray, "k rows"]
    across: Float[np.ndarray, "columns l"]
    error: float
    most: float


@lru_cache(maxsize=32)
def lamp(shape: tuple[int, ...], kind: np.dtype[Any]) -> Lamp:
    planes, rows, columns, most = layout(shape)
    down, across = cosines(rows, most), cosines(columns, most)
    limits = np.finfo(kind)
    error = float(limits.eps) * (rows + columns + 4) * math.sqrt(len(down) * len(across))
    return Lamp(planes, down.astype(kind), across.T.astype(kind), error, float(limits.max) / 8)


def shadows(x: Rows, shape: tuple[int, ...]) -> Shadow:
    """The shadow of each row, an input of this shape, in the precision of x."""
    planes, down, across, error, most = lamp(shape, x.dtype)
    n = len(x)
    a = (down @ x.reshape(n, planes, down.shape[1], across.shape[0]) @ across).reshape(n, -1)
    squares = lengths(x)
    out = np.empty((n, a.shape[1] + 2), x.dtype)
    out[:, :-2] = a
    out[:, -2] = np.sqrt(np.maximum(squares * (1 + 4 * error) - np.square(a).sum(1), 0))
    out[:, -1] = squares * (1 - SLACK * error)
    if not squares.max() < most:
        out[~(squares < most)] = np.nan
    return out


def lengths(x: Rows) -> Float[np.ndarray, " n"]:
    """|x|^2 of each row."""
    if x.size <= PART:
        return np.square(x).sum(1)
    return np.concatenate([np.square(x[part]).sum(1) for part in parts(*x.shape)])


def at_least(a: Shadow, b: Float[np.ndarray, "m s"]) -> Float[np.ndarray, "n m"]:
    """A lower bound of the squared distance of each two inputs, from their shadows; NaN if it is not known."""
    turned = a * -2
    turned[:, -1] = 1
    bound = turned @ b.T
    bound += a[:, -1:]
    return bound
