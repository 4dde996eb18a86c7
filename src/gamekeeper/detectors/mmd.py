"""MMD: how far a client's queries are, on average, from benign ones of the same classes, in random Fourier features.

Source      Gretton, Borgwardt, Rasch, Schoelkopf, Smola, "A kernel two-sample test" (JMLR 2012); Rahimi, Recht, "Random
            features for large-scale kernel machines" (NIPS 2007). On the latent features of a client's queries: Pal, Gupta,
            Kanade, Shevade, "Stateful detection of model extraction attacks" (2021)
Equations   z(f) = sqrt(2/D) cos(W f + b), W ~ N(0, I/s^2), b uniform in [0, 2 pi); d_i = z(f_i) - r_c(i);
            score = (|sum_i d_i|^2 / n - tr C) / sqrt(2 tr C^2): mean and deviation for benign queries, of which
            sum_i d_i / sqrt(n) has covariance C = sum_c n_c / n (1 + n_c / m_c) C_c, with C_c that of z in class c and m_c
            the inputs that the reference r_c is the mean of
Assumes     the victim's penultimate features; benign inputs
Deviations  by predicted class: an honest client may ask about some classes only, and the plain form takes that for another
            distribution (by_class=False; the tests show it). For the same reason it is divided by the deviation of
            clients with this class mix: queries of a single class vary more together. Penultimate features of the victim, no autoencoder;
            all queries so far, no window; s is the median distance of benign features, fixed when armed
Keeps       of a client: a sum of D numbers and a count per class. d is rounded to a multiple of 2^-24, so that sums are
            exact in any order; merging is exact
"""

import hmac
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from gamekeeper.detectors.benign import Basis, class_means, parted
from gamekeeper.detectors.features import Features, Tap, tap
from gamekeeper.errors import BadConfig
from gamekeeper.needs import classes_of
from gamekeeper.training.surrogate import surrogate_seed
from gamekeeper.types import Batch, Model, Owner, Reply, Scores

FINEST = 2.0**-24
"""d is a multiple of it: sums of up to 2^30 of them are exact in float64."""
TINY = 1e-12
PAIRS = 1_000
"""Benign inputs whose mutual distances set the bandwidth."""


@dataclass(frozen=True, eq=False)
class Fourier:
    """z(f) = sqrt(2/D) cos(W f + b): inner products approximate a Gaussian kernel."""

    w: Float[Tensor, "d D"]
    b: Float[Tensor, " D"]

    @staticmethod
    def of(f: Features, dim: int, seed: int) -> "Fourier":
        """The bandwidth is the median distance of some of these features."""
        generator = torch.Generator().manual_seed(seed)
        width = torch.pdist(f[:PAIRS].double()).median().clamp(min=torch.finfo(torch.float32).tiny)
        w = torch.randn((f.shape[1], dim), generator=generator, dtype=torch.float64) / width
        return Fourier(w, 2 * math.pi * torch.rand(dim, generator=generator, dtype=torch.float64))

    def __call__(self, f: Features) -> Float[Tensor, "n D"]:
        return math.sqrt(2 / len(self.b)) * torch.addmm(self.b, f.double(), self.w).cos()


@dataclass(frozen=True, eq=False)
class Reference:
    """Benign queries of each class.

    means    of z
    traces   tr C_c, of the covariance of z in the class
    overlap  tr C_c C_e of each two classes
    sizes    how many inputs these are from
    """

    means: Float[Tensor, "k D"]
    traces: Float[Tensor, " k"]
    overlap: Float[Tensor, "k k"]
    sizes: Int[Tensor, " k"]

    @staticmethod
    def of(z: Float[Tensor, "m D"], classes: Int[Tensor, " m"], k: int) -> "Reference":
        """A class with fewer than 2 inputs gets the mean and covariance of all."""
        means, sizes = class_means(z, classes, k)
        inside = [z[classes == c] if int((classes == c).sum()) > 1 else z for c in range(k)]
        spread = torch.stack([torch.cov(rows.T.double()).reshape(-1) for rows in inside])
        traces = spread[:, :: z.shape[1] + 1].sum(1)
        return Reference(means, traces, spread @ spread.T, sizes)

    def statistic(self, totals: Float[Tensor, "n D"], counts: Int[Tensor, "n k"]) -> Scores:
        """The score from the sums of d and the number of queries of each class, so far."""
        c = counts.double()
        n = c.sum(1, keepdim=True)
        weights = c / n * (1 + c / self.sizes)
        deviation = (2 * ((weights @ self.overlap) * weights).sum(1)).sqrt().clamp(min=TINY)
        return (totals.square().sum(1) / n[:, 0] - weights @ self.traces) / deviation


@dataclass
class Sums:
    """Of one client: the sum of d, and the number of queries of each class."""

    total: Tensor
    counts: Tensor


@dataclass(frozen=True, eq=False)
class MeanGap:
    """The squared distance of a client's mean from that of benign queries, in deviations from what chance alone gives."""

    features: Tap
    fourier: Fourier
    reference: Reference
    by_class: bool
    basis: Basis

    def fresh(self) -> Sums:
        k, dim = self.reference.means.shape
        return Sums(torch.zeros(dim, dtype=torch.float64), torch.zeros(k, dtype=torch.long))

    def score(self, x: Batch, clean: Reply, at: float, memory: Sums) -> Scores:
        cells = groups(clean, self.by_class)
        z = self.fourier(self.features.behind(x, clean))
        d = ((z - self.reference.means[cells]) / FINEST).round() * FINEST
        totals = memory.total + d.cumsum(0)
        counts = memory.counts + F.one_hot(cells, len(memory.counts)).cumsum(0)
        scores = self.reference.statistic(totals, counts)
        if len(scores):
            memory.total, memory.counts = totals[-1].clone(), counts[-1].clone()
        return scores

    def merged(self, memories: Sequence[Sums]) -> Sums:
        start = self.fresh()
        for each in memories:
            start = Sums(start.total + each.total, start.counts + each.counts)
        return start


def groups(clean: Reply, by_class: bool) -> Int[Tensor, " n"]:
    """The predicted class of each answer; 0 for all if the classes do not count."""
    top = clean.y.argmax(1)
    return top if by_class else torch.zeros_like(top)


def drawn_from(secret: bytes | None, seed: int) -> int:
    """What the random features are drawn with: the owner's secret, so that no thief can compute them; else the seed."""
    if secret is None:
        return surrogate_seed("MMD", seed)
    return int.from_bytes(hmac.digest(secret, f"MMD {seed}".encode(), "sha256")[:7], "big")


@dataclass(frozen=True)
class MMD:
    """How far a client's queries are from benign ones of the same predicted classes, in the victim's features.

    dim       number of random Fourier features
    by_class  False: the plain form, which takes an uneven class mix for a theft
    """

    dim: int = 128
    by_class: bool = True

    def __post_init__(self) -> None:
        if self.dim < 1:
            raise BadConfig(f"The dim of MMD must be at least 1. Got {self.dim}.")

    def arm(self, victim: Model, owner: Owner, seed: int) -> MeanGap:
        """Raises Unsuited without the victim's network, classes, or benign inputs."""
        k = classes_of(victim, "MMD") if self.by_class else 1
        features = tap(victim, "MMD", "penultimate")
        _, benign = parted("MMD", owner, seed)
        reply = victim(benign)
        f = features.behind(benign, reply)
        fourier = Fourier.of(f, self.dim, drawn_from(owner.secret, seed))
        reference = Reference.of(fourier(f), groups(reply, self.by_class), k)
        return MeanGap(features, fourier, reference, self.by_class, Basis(len(benign), owner.natural is not None))
