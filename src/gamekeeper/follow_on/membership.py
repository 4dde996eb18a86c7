"""Membership inference: was this input in the victim's training set? Works on a model's answers, victim's or clone's.

Source      Yeom, Giacomelli, Fredrikson, Jha, "Privacy risk in machine learning" (CSF 2018): the loss; Salem et al.,
            "ML-Leaks" (NDSS 2019): the confidence; Song and Mittal, "Systematic evaluation of privacy risks of machine
            learning models" (USENIX Security 2021): the modified entropy; true positives at 1 % false positives: Carlini,
            Chien, Nasr, Song, Terzis, Tramer, "Membership inference attacks from first principles" (S&P 2022)
Equations   with p the posterior and c the true class: -loss = log p_c; confidence = max p;
            -entropy = (1 - p_c) log p_c + sum_{k != c} p_k log(1 - p_k)
Assumes     members and non-members drawn from one distribution: any difference between the two counts as membership. The
            true classes, for loss and entropy. One threshold for all classes
Deviations  probabilities are clamped at 1e-12 before logarithms. No shadow models, and so no likelihood ratio
Keeps       AUC is the Mann-Whitney statistic, ties counted half; its interval is DeLong's (1988)
"""

import math
from collections.abc import Callable, Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gamekeeper.errors import BadConfig
from gamekeeper.metrics import Z95, Estimate, wilson
from gamekeeper.types import Posterior

LEAST = 1e-12
Scores = Float[Tensor, " n"]


def loss(y: Posterior, truth: Int[Tensor, " n"]) -> Scores:
    """log p_c, the negative cross-entropy."""
    return safe_log(own(y.double(), truth))


def confidence(y: Posterior, truth: Int[Tensor, " n"]) -> Scores:
    """The largest probability; the true class is ignored."""
    return y.double().amax(1)


def entropy(y: Posterior, truth: Int[Tensor, " n"]) -> Scores:
    """The negative modified entropy: 0 for a confident right answer, very low for a confident wrong one."""
    y = y.double()
    right = own(y, truth)
    # log1p resolves very small probabilities, where 1 - p would round to 1
    spoken = y * torch.log1p(-y.clamp(max=1 - LEAST))
    return (1 - right) * safe_log(right) + spoken.sum(1) - own(spoken, truth)


SCORES: Mapping[str, Callable[[Posterior, Int[Tensor, " n"]], Scores]] = {
    "loss": loss,
    "confidence": confidence,
    "entropy": entropy,
}
"""Larger scores suggest a member."""


def own(y: Posterior, truth: Int[Tensor, " n"]) -> Scores:
    return y.gather(1, truth[:, None].long())[:, 0]


def safe_log(p: Tensor) -> Tensor:
    return p.clamp(min=LEAST).log()


def auc(members: Scores, others: Float[Tensor, " m"]) -> Estimate:
    """P(a member scores higher than a non-member) + P(equal) / 2, with DeLong's 95 % interval; n is the smaller count."""
    some(members, others)
    above = placements(members, others)
    below = placements(-others, -members)
    value = float(above.mean())
    half = Z95 * math.sqrt(spread(above) + spread(below))
    return Estimate(value, max(0.0, value - half), min(1.0, value + half), min(len(members), len(others)))


def placements(scores: Scores, others: Float[Tensor, " m"]) -> Scores:
    """For each score, the share of the others below it; ties count half."""
    ordered = others.sort().values
    under = torch.searchsorted(ordered, scores.contiguous(), right=False)
    up_to = torch.searchsorted(ordered, scores.contiguous(), right=True)
    return (under + up_to).double() / (2 * len(others))


def spread(shares: Scores) -> float:
    """Variance of the mean of independent shares; for a single one, the largest possible value, 1/4."""
    return float(shares.var()) / len(shares) if len(shares) > 1 else 0.25


def caught(members: Scores, others: Float[Tensor, " m"], wrongly: float = 0.01) -> Estimate:
    """Share of members above the lowest threshold that at most a share `wrongly` of the others exceed, with Wilson's
    interval over the members; it does not include the uncertainty of the threshold."""
    some(members, others)
    allowed = math.floor(wrongly * len(others) + 1e-9)
    threshold = others.sort(descending=True).values[allowed] if allowed < len(others) else -math.inf
    return wilson(int((members > threshold).sum()), len(members))


def some(members: Scores, others: Float[Tensor, " m"]) -> None:
    if not (len(members) and len(others)):
        raise BadConfig(
            f"membership needs at least one member and one other input. Got {len(members)} and {len(others)}."
        )
