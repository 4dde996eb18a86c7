"""Scores of how much an input looks like the owner's own: larger is always more benign.

Source      msp: Hendrycks, Gimpel, "A baseline for detecting misclassified and out-of-distribution examples" (ICLR
            2017); odin: Liang, Li, Srikant, "Enhancing the reliability of out-of-distribution image detection" (ICLR
            2018); energy: Liu, Wang, Owens, Li, "Energy-based out-of-distribution detection" (NeurIPS 2020);
            mahalanobis: Lee, Lee, Lee, Shin, "A simple unified framework for detecting out-of-distribution samples"
            (NeurIPS 2018); knn: Sun, Ming, Zhu, Li, "Out-of-distribution detection with deep nearest neighbors" (ICML
            2022); detector: Atli, Szyller, Juuti, Marchal, Asokan, "Extraction of complex DNN models: real threat or
            boogeyman?" (EDSMLS 2020)
Equations   max_k y_k; max_k softmax(z(x') / T)_k with x' = x + e sgn(d log softmax(z(x) / T)_top / dx);
            T log sum_k exp(z_k / T); -min_c (f - m_c)' S^-1 (f - m_c); -|f/|f| - the k-th nearest of the owner's|_2;
            z_0 - z_1 of a network that separates the owner's inputs from auxiliary ones
Assumes     msp: a posterior; energy: logits; odin, mahalanobis, knn: the victim's weights, and for the last two inputs
            from the owner; detector: inputs from the owner and auxiliary ones
Deviations  mahalanobis: one layer and no input noise, where the paper combines layers by a regression fitted on
            outliers; 1e-3 of the mean variance is added to S, which dead units make singular. odin: e is a constant; the
            paper tunes it on outliers. detector: the owner's architecture, its first two outputs, from scratch, where
            the paper uses a pretrained ImageNet ResNet; the paper's public images are the auxiliary inputs
Keeps       no answer is changed here; see defenses/ood_gate.py

All scores are batched and in evaluation mode: a row's score depends on its own input alone, up to the last bits of a
network's rounding. Scores are float64. msp and odin are invariant to adding a constant to the logits; energy is not.

No single score is best: which one notices an unusual input differs between victims and between kinds of unusual inputs
(results/studies.json; table in docs/papers/ood-gates.md).
"""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from gamekeeper.architectures import fresh
from gamekeeper.detectors.benign import parted
from gamekeeper.detectors.features import Features, Layer, Tap, opened, tap
from gamekeeper.detectors.nearest import Bank
from gamekeeper.errors import BadConfig, Unsuited
from gamekeeper.models.layout import image_memory
from gamekeeper.models.network import CHUNK, TorchModel
from gamekeeper.needs import auxiliary, classes_of, needs_inputs
from gamekeeper.training.fit import Fit, fit
from gamekeeper.training.surrogate import surrogate_seed
from gamekeeper.types import Batch, Model, Owner, Posterior, Reply, Scores

Score = Callable[[Batch, Reply], Scores]
"""Scores inputs, given the victim's clean answers to them; larger is more benign."""
Logits = Float[Tensor, "n k"]
RIDGE = 1e-3


@runtime_checkable
class Scorer(Protocol):
    """Recipe for a score."""

    def fit(self, victim: Model, owner: Owner, seed: int) -> Score:
        """Raises Unsuited if the victim or the owner does not have what the score needs."""
        ...


# pure functions


def msp(y: Posterior) -> Scores:
    """The largest probability."""
    return y.double().amax(1)


def margin(y: Posterior) -> Scores:
    """How far the largest probability is above the second largest."""
    first, second = y.double().topk(2, 1).values.unbind(1)
    return first - second


def energy(z: Logits, temperature: float = 1.0) -> Scores:
    """The negative free energy, T log sum exp(z / T)."""
    return temperature * torch.logsumexp(z.double() / temperature, 1)


def odin(net: nn.Module, x: Batch, temperature: float, eps: float) -> Scores:
    """The largest probability at temperature T, after a step of the input that raises it. eps = 0 and T = 1 give msp."""
    if eps > 0:
        x = x.detach().clone().requires_grad_()
        with torch.enable_grad():
            sure = F.log_softmax(net(x) / temperature, 1).amax(1).sum()
        x = (x + eps * torch.autograd.grad(sure, x)[0].sign()).detach()
    with torch.no_grad():
        return torch.softmax(net(x).double() / temperature, 1).amax(1)


@dataclass(frozen=True, eq=False)
class Gaussians:
    """Class means in whitened features, where the shared covariance is the identity: distances are Euclidean."""

    whiten: Float[Tensor, "d d"]
    means: Float[Tensor, "c d"]

    @staticmethod
    def of(f: Features, truth: Int[Tensor, " n"]) -> "Gaussians":
        f = f.double()
        means = torch.stack([f[truth == c].mean(0) for c in truth.unique().tolist()])
        centred = f - means[torch.unique(truth, return_inverse=True)[1]]
        covariance = centred.T @ centred / len(f)
        ridge = RIDGE * covariance.diagonal().mean().clamp(min=torch.finfo(torch.float32).tiny)
        lower = torch.linalg.cholesky(covariance + ridge * torch.eye(f.shape[1], dtype=f.dtype))
        whiten = torch.linalg.solve_triangular(lower, torch.eye(f.shape[1], dtype=f.dtype), upper=False).T
        return Gaussians(whiten, means @ whiten)

    def score(self, f: Features) -> Scores:
        """Minus the squared Mahalanobis distance to the nearest class."""
        return -torch.cdist(f.double() @ self.whiten, self.means).square().amin(1)


# thresholds from benign inputs


@dataclass(frozen=True, eq=False)
class Unlike:
    """A fitted score turned into a watch: the less an input looks like the owner's, the more suspicious it is."""

    benign: Score

    def fresh(self) -> None:
        return None

    def score(self, x: Batch, clean: Reply, at: float, memory: None) -> Scores:
        return -self.benign(x, clean)


@dataclass(frozen=True, eq=False)
class Calibrated:
    """A fitted score, and its values on benign inputs that it was not fitted on, in ascending order."""

    score: Score
    benign: Float[Tensor, " m"]

    def threshold(self, fpr: float) -> float:
        """Scores below it are flagged: at most a share fpr of fresh benign inputs, averaged over draws of the m held out.

        An fpr below 1 / (m + 1) flags nothing.
        """
        rank = int(fpr * (len(self.benign) + 1) + 1e-9) - 1
        if rank < 0:
            return float("-inf")
        return float(self.benign[rank]) if rank < len(self.benign) else float("inf")

    def watch(self) -> Unlike:
        return Unlike(self.score)

    def p_values(self, scores: Scores) -> Scores:
        """The share of benign inputs that score no higher, the row itself included: at most fpr for a flagged row."""
        return (torch.searchsorted(self.benign, scores.contiguous(), right=True) + 1).double() / (len(self.benign) + 1)


@functools.lru_cache(maxsize=4)
def calibrated(scorer: Scorer, victim: Model, owner: Owner, seed: int) -> Calibrated:
    """Fits the score on the owner's inputs and scores others like a user's. Raises Unsuited without enough of them.

    Those others are half of the owner's natural inputs (`parted`); the rest is for a score made of calibrated ones, and for
    calibration. An owner without any holds some of the training inputs back. On these the victim is more confident than on users': users are then
    flagged more often than stated.
    Cached for the same objects, since one gate at several strengths has one score.
    """
    mine, benign = parted(type(scorer).__name__, owner, seed)
    score = scorer.fit(victim, mine, seed)
    return Calibrated(score, score(benign, victim(benign)).sort().values)


# recipes


@dataclass(frozen=True, eq=False)
class Seen:
    """A score of the features at one tap."""

    tap: Tap
    score: Callable[[Features], Scores]

    def __call__(self, x: Batch, reply: Reply) -> Scores:
        return self.score(self.tap.behind(x, reply))


@dataclass(frozen=True, eq=False)
class Neighbours:
    """Minus the distance of features to the k-th nearest row of a bank. scaled: features of length 1."""

    bank: Bank
    k: int
    scaled: bool

    def __call__(self, f: Features) -> Scores:
        return -self.bank.kth(lengthened(f, self.scaled), self.k)

    def below(self, f: Features, threshold: float) -> Bool[Tensor, " n"]:
        """The same as `score(f) < threshold`, and faster."""
        return ~self.bank.within(lengthened(f, self.scaled), self.k, -threshold)


def lengthened(f: Features, scaled: bool) -> Features:
    """In double precision; scaled: to length 1."""
    return F.normalize(f.double(), dim=1) if scaled else f.double()


def below(score: Score, threshold: float) -> Callable[[Batch, Reply], Bool[Tensor, " n"]]:
    """Tells which inputs score below the threshold, the fastest way."""
    if isinstance(score, Seen) and isinstance(score.score, Neighbours):
        tap, near = score.tap, score.score
        return lambda x, reply: near.below(tap.behind(x, reply), threshold)
    return lambda x, reply: score(x, reply) < threshold


@dataclass(frozen=True)
class Msp:
    """The victim's largest probability."""

    def fit(self, victim: Model, owner: Owner, seed: int) -> Score:
        return lambda x, reply: msp(reply.y)


@dataclass(frozen=True)
class Margin:
    """The victim's largest probability minus its second: small near a decision boundary."""

    def fit(self, victim: Model, owner: Owner, seed: int) -> Score:
        classes_of(victim, "Margin")
        return lambda x, reply: margin(reply.y)


@dataclass(frozen=True)
class Odin:
    """The largest probability at a high temperature after a small step of the input."""

    temperature: float = 1000.0
    eps: float = 0.0014

    def __post_init__(self) -> None:
        if self.temperature <= 0 or self.eps < 0:
            raise BadConfig(f"Odin needs a temperature above 0 and an eps of at least 0. Got {self}.")

    def fit(self, victim: Model, owner: Owner, seed: int) -> Score:
        net = opened(victim, "Odin")

        def score(x: Batch, reply: Reply) -> Scores:
            net.net.eval()
            parts = net.own_dtype(x).split(CHUNK)
            return torch.cat([odin(net.net, image_memory(part), self.temperature, self.eps) for part in parts])

        return score


@dataclass(frozen=True)
class Energy:
    """The logsumexp of the victim's logits: the negative free energy."""

    temperature: float = 1.0

    def __post_init__(self) -> None:
        if self.temperature <= 0:
            raise BadConfig(f"The temperature of Energy must be above 0. Got {self.temperature}.")

    def fit(self, victim: Model, owner: Owner, seed: int) -> Seen:
        net = opened(victim, "Energy")
        if net.answers != "logits":
            raise Unsuited(f"Energy needs the victim's logits; its network ends in {net.answers}. Use msp.")
        return Seen(tap(net, "Energy", "logits"), functools.partial(energy, temperature=self.temperature))


@dataclass(frozen=True)
class Mahalanobis:
    """How close the features are to those of the nearest class, as Gaussians with a shared covariance."""

    layer: Layer = "conv"

    def fit(self, victim: Model, owner: Owner, seed: int) -> Seen:
        features = tap(victim, "Mahalanobis", self.layer)
        needs_inputs(owner, "Mahalanobis is fitted on")
        return Seen(features, Gaussians.of(features(owner.x), owner.truth).score)


@dataclass(frozen=True)
class Knn:
    """How close the k-th nearest of the owner's inputs is in feature space.

    scaled  features scaled to length 1, as in the paper
    bank    how many of the owner's inputs to compare with, taken from the start
    """

    k: int = 10
    layer: Layer = "flat"
    scaled: bool = True
    bank: int = 5_000

    def __post_init__(self) -> None:
        if self.k < 1 or self.bank < self.k:
            raise BadConfig(f"Knn needs a k of at least 1 and a bank of at least k inputs. Got {self}.")

    def fit(self, victim: Model, owner: Owner, seed: int) -> Seen:
        features = tap(victim, "Knn", self.layer)
        needs_inputs(owner, "Knn is fitted on")
        bank = Bank.of(lengthened(features(owner.x[: self.bank]), self.scaled))
        return Seen(features, Neighbours(bank, self.k, self.scaled))


@dataclass(frozen=True)
class OodClassifier:
    """A separate network trained to tell the owner's inputs from auxiliary ones."""

    training: Fit = Fit(epochs=5, least_steps=0, rate=0.02)

    def fit(self, victim: Model, owner: Owner, seed: int) -> Score:
        needs_inputs(owner, "OodClassifier is fitted on")
        other = auxiliary(owner, "OodClassifier")
        net = fresh(owner.architecture, surrogate_seed("Detector", seed))
        x = torch.cat([owner.x, other])
        strange: Bool[Tensor, " n"] = torch.arange(len(x)) >= len(owner.x)

        def loss(out: Logits, y: Tensor) -> Tensor:
            return F.cross_entropy(out[:, :2], y)

        model = TorchModel(
            fit(net, x, strange.long(), loss, self.training, surrogate_seed("Detector", seed)), victim.task
        )

        def score(x: Batch, reply: Reply) -> Scores:
            z = model.logits(x).double()
            return z[:, 0] - z[:, 1]

        return score


ScoreName = Literal["msp", "odin", "energy", "mahalanobis", "knn", "detector"]
SCORERS: Mapping[ScoreName, Scorer] = {
    "msp": Msp(),
    "odin": Odin(),
    "energy": Energy(),
    "mahalanobis": Mahalanobis(),
    "knn": Knn(),
    "detector": OodClassifier(),
}
