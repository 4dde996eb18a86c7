"""Keyed misinformation: inputs unlike the owner's get plausible answers whose classes are permuted by a secret key.

Source      none, our own. The gate combines scores from detectors/ood.py. Kariyappa, Qureshi, "Defending against model
            stealing attacks with adaptive misinformation" (CVPR 2020) also puts wrong answers behind a gate, from a
            second network that a thief who knows the method can compute; here they depend on a key
Equations   x is gated iff s(x) = min_j p_j(x) (ties by the mean of p_j) is below the `share` quantile of s on benign
            inputs, p_j(x) the rank of x under score j among other benign inputs; bucket b(x) = the signs of keyed
            projections of f(x) - m, f the features and m their mean; y'_{d_b(c)} = y_c, d_b a cycle through all classes
            drawn from HMAC(key, b)
Assumes     a network with logits; the owner's benign inputs, better such as it was not trained on; no auxiliary ones
Deviations  none
Keeps       the sorted probabilities, hence the confidence; the answers to `1 - share` of benign inputs; not the top
            class: behind the gate it is always another one (unless two classes tie for it). Attribution maps stay those
            of the true top class

All accounts share the key: two of them see the same answers. Nearby inputs mostly share a bucket, so averaging over
noisy copies does not undo the permutation. Inputs like the owner's are not protected at all.
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
from gamekeeper.detectors.features import Features, Tap, tap, tapped
from gamekeeper.detectors.ood import (
    Energy,
    Knn,
    Mahalanobis,
    Score,
    Scores,
    Seen,
    calibrated,
)
from gamekeeper.errors import BadConfig
from gamekeeper.facts import Strengths
from gamekeeper.needs import classes_of
from gamekeeper.types import Batch, Model, Owner, Posterior, Reply

SCORES = (Energy(), Mahalanobis("conv"), Mahalanobis("flat"), Knn(layer="flat", scaled=False))
"""An input that one score flags often looks normal to the others, and which score flags it varies between victims."""


def least(p: Float[Tensor, "n j"]) -> Scores:
    """The smallest entry of each row; rows that tie, up to 1e-9, are ordered by their mean."""
    return p.amin(1) + 1e-9 * p.mean(1)


@dataclass(frozen=True)
class Union:
    """The most suspicious of several scores, each converted to its rank among benign inputs."""

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
    """A random generator seeded by the key and `what`."""
    return np.random.Generator(np.random.Philox(key=int.from_bytes(hmac.digest(key, what.encode(), "sha256")[:16])))


def derangement(key: bytes, bucket: int, k: int) -> Int[Tensor, " k"]:
    """The class each class moves to: one cycle through all of them, so that none stays. k is 2 or more."""
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
    """Each row with its classes permuted by its bucket's derangement."""
    out = torch.empty_like(y)
    for bucket in buckets.unique().tolist():
        rows = torch.nonzero(buckets == bucket)[:, 0]
        out[rows[:, None], derangement(key, bucket, y.shape[1])] = y[rows]
    return out


@dataclass(frozen=True)
class KeyedMisinformation:
    """Answers inputs unlike the owner's with the right probabilities on the wrong classes, permuted by a secret key.

    share   of benign inputs that are answered so, by mistake
    bits    features are divided into 2^bits buckets, each with its own permutation
    sample  how many of the owner's inputs, from the first on, give the mean on which the buckets are centred
    """

    share: float = 0.01
    bits: int = 3
    sample: int = 1000

    calibrates: ClassVar[bool] = True
    full_strength: ClassVar[tuple[str, float]] = ("share", 1.0)
    permutes: ClassVar[bool] = False  # the permutation is drawn by class number

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise BadConfig(f"The share of KeyedMisinformation must be from 0 to 1. Got {self.share}.")
        if not 0 <= self.bits <= 32 or self.sample < 1:
            raise BadConfig(f"KeyedMisinformation needs bits from 0 to 32 and a sample of 1 or more. Got {self}.")

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
        """Raises Unsuited if the victim has no features or logits, or the owner no inputs."""
        classes_of(victim, "KeyedMisinformation")
        key = secret("KeyedMisinformation", seed, owner.secret)
        score = calibrated(Union(), victim, owner, seed)
        buckets = Buckets.of(tap(victim, "KeyedMisinformation", "flat"), owner.x[: self.sample], self.bits, key)
        return gate(score, self.share, lambda x, y: deranged(y, buckets(x), key))
