"""How good attribution maps are, and how similar: pure functions of maps and of a model's answers.

Source      Average Drop: Chattopadhay et al., "Grad-CAM++" (WACV 2018), in the form of Lee, Han, Lee, "Model stealing
            defense against exploiting information leak through the interpretation of deep neural nets" (IJCAI 2022)
Equations   AD = mean_i max(0, y_i - o_i) / y_i: y_i the probability of the class on the input, o_i on the input with
            everything set to 0 except the top 15 % of the map. Rank correlation: Spearman's, with mean ranks for ties;
            overlap: |A and B| / |A| of the top 15 % of two maps
Deviations  "set to 0" means 0 in the model's own input, which need not be black; smaller maps are first upsampled, bilinear.
            A slide of a talk on the IJCAI paper leaves out the positive part; the paper has it, and so do we
Keeps       no state

Average Drop alone proves little: a random map can come close to the CAMs, and a map that merely follows the ink scores best.
Report rank correlation, overlap and the share of degenerate maps with it, and compare two kinds of map input by input.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from scipy.stats import rankdata  # pyright: ignore[reportMissingTypeStubs]
from torch import Tensor
from torch.nn import functional as F

from gamekeeper.errors import BadConfig
from gamekeeper.metrics import Estimate, average, wilson
from gamekeeper.types import Batch, Reply

Maps = Float[Tensor, "n h w"]
TOP = 0.15


@dataclass(frozen=True)
class Confidence:
    """Probability of the explained class, (n,) each: on the inputs, and on the part of them that the map's top keeps."""

    before: Float[Tensor, " n"]
    after: Float[Tensor, " n"]

    def drops(self) -> Float[Tensor, " n"]:
        """max(0, y - o) / y, in [0, 1]; 0 where y is 0."""
        return (self.before - self.after).clamp(min=0) / self.before.masked_fill(self.before == 0, 1.0)


def confidence(
    model: Callable[[Batch], Reply], x: Batch, maps: Maps, top: Int[Tensor, " n"], share: float = TOP
) -> Confidence:
    """Queries the model on x, and on x with all but the top `share` of each map set to 0. Two queries per input."""
    stay = top_pixels(enlarged(maps, x), share)
    left = x * (stay[:, None] if x.ndim == 4 else stay.reshape(x.shape))
    before, after = (model(some).y.gather(1, top[:, None])[:, 0] for some in (x, left))
    return Confidence(before, after)


def average_drop(measured: Confidence) -> Estimate:
    """AD with a 95 % interval; lower is better."""
    return average(measured.drops().numpy())


def top_pixels(maps: Maps, share: float = TOP) -> Bool[Tensor, "n h w"]:
    """The ceil(share h w) largest entries of each map; ties go to the first. Raises BadConfig for a share out of range."""
    if not 0 < share <= 1:
        raise BadConfig(f"the top share of a map must be above 0 and at most 1. Got {share:g}.")
    flat = maps.flatten(1)
    number = math.ceil(round(share * flat.shape[1], 9))  # 0.15 x 100 is 15.000000000000002 in some orders of rounding
    first = flat.argsort(dim=1, descending=True, stable=True)[:, :number]
    return torch.zeros_like(flat, dtype=torch.bool).scatter(1, first, True).reshape(maps.shape)


def overlap(a: Maps, b: Maps, share: float = TOP) -> Float[Tensor, " n"]:
    """The part of one map's top `share` that is also in the other's: 1 for the same order, about `share` by chance."""
    both, one = top_pixels(a, share) & top_pixels(b, share), top_pixels(a, share)
    return both.sum((1, 2)) / one.sum((1, 2))


def rank_correlation(a: Maps, b: Maps) -> Float[Tensor, " n"]:
    """Spearman's correlation between the entries of each pair of maps, float64; NaN if one is degenerate and has no order."""
    u, v = ranks(a), ranks(b)
    correlation = (u * v).sum(1) / (u.square().sum(1) * v.square().sum(1)).sqrt()
    return correlation.masked_fill(degenerate(a) | degenerate(b), math.nan)


def ranks(maps: Maps) -> Float[Tensor, "n hw"]:
    """Ranks of the entries of each map minus their mean; equal entries share a rank."""
    positions = torch.from_numpy(rankdata(maps.detach().flatten(1).numpy(), axis=1)).double()
    return positions - positions.mean(1, keepdim=True)


def degenerate(maps: Maps) -> Bool[Tensor, " n"]:
    """Maps without information: constant (mostly all zero), or not finite."""
    flat = maps.flatten(1)
    return (flat.amax(1) == flat.amin(1)) | ~flat.isfinite().all(1)


def degenerate_share(maps: Maps) -> Estimate:
    """Share of degenerate maps. A loss on maps must not reward them, or they will minimise it."""
    return wilson(int(degenerate(maps).sum()), len(maps))


def enlarged(maps: Maps, x: Batch) -> Float[Tensor, "n h2 w2"]:
    """Maps at the height and width of the images x, bilinear; maps of table rows unchanged."""
    if x.ndim != 4 or maps.shape[1:] == x.shape[2:]:
        return maps
    return F.interpolate(maps[:, None], x.shape[2:], mode="bilinear", align_corners=False)[:, 0]
