"""Keyed misinformation: strange inputs get answers of the same look whose classes only a secret tells apart.

Source      none, our own. The gate combines scores of detectors/ood.py. Kariyappa, Qureshi, "Defending against model
            stealing attacks with adaptive misinformation" (CVPR 2020) has a gate and wrong answers behind it, from a
            second network, which a thief who knows the method can compute; here they hang on a key
Equations   strange(x) iff s(x) = min_j p_j(x) (the mean of p_j where equal) is below the share's quantile of s on
            benign inputs, p_j(x) the rank of x under score j among other benign inputs; bucket b(x) = the signs of
            keyed projections of f(x) - m, f the features and m their mean; y'_{d_b(c)} = y_c, d_b a cycle through all
            classes drawn from HMAC(key, b)
Assumes     a network with logits; benign inputs of the owner's, no auxiliary ones
Deviations  none
Keeps       the sorted probabilities, hence the confidence; the answer of `1 - share` of benign inputs; not the top
            class: behind the gate it is always another one (unless two classes tie for it). Attribution maps stay those
            of the true top class

All accounts share the key: two of them see the same answers. Inputs a little apart share a bucket, mostly, so that
asking for noisy copies does not average the derangement away. It holds nothing back from inputs like the owner's.
"""

import hmac
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from gamekeeper.defenses.keyed import cells, secret
from gamekeeper.defenses.ood_gate import gate
from gamekeeper.defenses.when import When
from gamekeeper.detectors.ood import (
    Energy,
    Features,
    Knn,
    Mahalanobis,
    Score,
    Scores,
    Seen,
    Tap,
    calibrated,
    tap,
    tapped,
)
from gamekeeper.errors import BadConfig
from gamekeeper.facts import Strengths
from gamekeeper.needs import classes_of
from gamekeeper.types import Batch, Model, Owner, Posterior, Reply

SCORES = (Energy(), Mahalanobis("conv"), Mahalanobis("flat"), Knn(layer="flat", scaled=False))
"""What is strange under one is often ordinary under the others, and which one sees it differs between victims."""


def least(p: Float[Tensor, "n j"]) -> Scores:
    """The smallest of each row, and among rows where it is equal up to 1e-9 the smaller mean first."""
    return p.amin(1) + 1e-9 * p.mean(1)


@dataclass(frozen=True)
class Union:
    """As strange as the strangest of several scores finds it: each counted as its rank among benign inputs."""

    scores: tuple[Energy | Mahalanobis | Knn, ...] = SCORES

    def fit(self, victim: Model, owner: Owner, seed: int) -> Score:
        parts = [calibrated(each, victim, owner, seed) for each in self.scores]
        seen = [part.score for part in parts if isinstance(part.score, Seen)]
        taps = [each.tap for each in seen]

        def score(x: Batch, reply: Reply) -> Scores:
            scores = [each.score(f) for each, f in zip(seen, tapped(taps, x), strict=True)]
            return least(torch.stack([part.p_values(s) for part, s in zip(parts, scores, strict=True)], 1))

        return score


def generator(key: bytes, what: str) -> np.random.Generator:
    """Random numbers that belong to the key and to `what`."""
    return np.random.Generator(np.random.Philox(key=int.from_bytes(hmac.digest(key, what.encode(), "sha256")[:16])))


def derangement(key: bytes, bucket: int, k: int) -> Int[Tensor, " k"]:
    """Where each class goes: one cycle through all of them, so that none stays. k is 2 or more."""
    order = generator(key, f"bucket {bucket}").permutation(k)
    goes = np.empty(k, dtype=np.int64)
    goes[order] = np.roll(order, -1)
    return torch.from_numpy(goes)


@dataclass(frozen=True, eq=False)
class Buckets:
    """Signs of projections of the features, read as a number."""

    tap: Tap
    mean: Float[Tensor, " d"]
    directions: Float[Tensor, "d bits"]

    @staticmethod
    def of(tap: Tap, benign: Batch, bits: int, key: bytes) -> "Buckets":
        mean = tap(benign).double().mean(0)
        drawn = generator(key, "directions").standard_normal((len(mean), bits))
        return Buckets(tap, mean, torch.from_numpy(drawn))

    def __call__(self, x: Batch) -> Int[Tensor, " n"]:
        return self.numbered(self.tap(x))

    def numbered(self, f: Features) -> Int[Tensor, " n"]:
        return cells(f, self.mean, self.directions)


def deranged(y: Posterior, buckets: Int[Tensor, " n"], key: bytes) -> Posterior:
    """Each row with its probabilities moved to the classes of its bucket's derangement."""
    out = torch.empty_like(y)
    for bucket in buckets.unique().tolist():
        rows = torch.nonzero(buckets == bucket)[:, 0]
        out[rows[:, None], derangement(key, bucket, y.shape[1])] = y[rows]
    return out


@dataclass(frozen=True)
class KeyedMisinformation:
    """Answers inputs unlike the owner's with the probabilities it has, but of other classes, drawn from a secret.

    share   of benign inputs that are answered so, by mistake
    bits    features are told apart into 2 to the power of bits buckets of one derangement each
    sample  inputs of the owner's whose mean the buckets lie around, the first ones
    """

    share: float = 0.01
    bits: int = 3
    sample: int = 1000

    full_strength: ClassVar[tuple[str, float]] = ("share", 1.0)
    permutes: ClassVar[bool] = False  # where a class goes is drawn by its number

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise BadConfig(f"The share of KeyedMisinformation must be from 0 to 1. Got {self.share}.")
        if not 0 <= self.bits <= 32 or self.sample < 1:
            raise BadConfig(f"KeyedMisinformation needs 0 to 32 bits and a sample of 1 or more. Got {self}.")

    @property
    def keeps_top1(self) -> bool:
        return False

    @property
    def keeps_confidence(self) -> bool:
        return True

    @property
    def strengths(self) -> tuple[Strengths, ...]:
        return (Strengths("share={}", ("0.002", "0.005", "0.01", "0.02")),)

    @property
    def keyed(self) -> bool:
        return True

    def arm(self, victim: Model, owner: Owner, seed: int) -> When:
        """Raises Unsuited for a victim without features or logits, or an owner without inputs."""
        classes_of(victim, "KeyedMisinformation")
        key = secret("KeyedMisinformation", seed, owner.secret)
        score = calibrated(Union(), victim, owner, seed)
        buckets = Buckets.of(tap(victim, "KeyedMisinformation", "flat"), owner.x[: self.sample], self.bits, key)
        return gate(score, self.share, lambda x, y: deranged(y, buckets(x), key))
