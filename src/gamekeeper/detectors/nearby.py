"""Distances between inputs, and how far a retry may lie from the original."""

import numpy as np
from jaxtyping import Float
from scipy.stats import gamma

from gamekeeper.errors import Unsuited
from gamekeeper.types import Box, Domain, Ranges

Rows = Float[np.ndarray, "n d"]
PART = 16_000
"""Numbers that are computed at a time: of float64 fewer bytes than glibc takes from the system anew for every array (128 KiB)."""
JITTER, SHARE = 0.02, 0.99
"""Noise of a frame or a retry, as a share of each entry's range; the share of such repeats within the floor."""


def distance(a: Float[np.ndarray, "*n d"], b: Float[np.ndarray, "*m d"]) -> Float[np.ndarray, "..."]:
    """L2 distances between rows, in float64: the same bits however many there are."""
    return np.sqrt(np.square(a.astype(np.float64) - b).sum(-1))


def pair_distances(a: Rows, b: Float[np.ndarray, "m d"], i: np.ndarray, j: np.ndarray) -> Float[np.ndarray, " pairs"]:
    """distance(a[i], b[j]) in bounded memory."""
    alone = b.shape[0] == 1
    gaps = [distance(a[i[part]], b if alone else b[j[part]]) for part in parts(len(i), a.shape[1])]
    return np.concatenate(gaps) if gaps else np.empty(0)


def parts(n: int, d: int) -> list[slice]:
    """n rows of d numbers, a part at a time."""
    step = max(1, PART // max(1, d))
    return [slice(start, start + step) for start in range(0, n, step)]


def floor(box: Domain) -> float:
    """The L2 distance within which 99 % of pairs of noisy copies of one input lie; noise sd .02 of each entry's range.

    Two retries of a photograph, or two frames of a camera that does not move, differ by about as much: 0.84 for images
    of 28x28 in [0, 1]. Clipping to the range, which brings copies closer, is left out, so the floor depends on nothing
    but the domain. For entries of one range the quantile is exact (chi-square), else moments are matched (Satterthwaite).
    Raises Unsuited for a domain without ranges.
    """
    if isinstance(box, Box):
        width = np.full(int(np.prod(box.shape)), box.high - box.low)
    elif isinstance(box, Ranges):
        width = np.subtract(box.high, box.low)
    else:
        raise Unsuited(f"a floor for near repeats needs the range of each entry; this domain is {box}. Give floor=.")
    variance = 2 * np.square(JITTER * width)
    if not variance.any():
        return 0.0
    scale = 2 * np.square(variance).sum() / variance.sum()
    return float(np.sqrt(gamma.ppf(SHARE, variance.sum() / scale, scale=scale)))
