"""Learning from labels, some flipped by a defense: a bounded loss, two networks that teach each other, label smoothing.

Source      gce: Zhang, Sabuncu, "Generalized cross entropy loss for training deep neural networks with noisy labels"
            (NeurIPS 2018); small_loss: Han et al., "Co-teaching: robust training of deep neural networks with extremely
            noisy labels" (NeurIPS 2018); smoothed: Szegedy et al., "Rethinking the Inception architecture" (CVPR 2016)
Equations   gce: (6), (1 - p_t^q) / q; small_loss: algorithm 1; smoothed: (1 - eps) e_t + eps / k
Assumes     answers whose top class is right more often than wrong; small_loss: an estimate of the share that is wrong
Deviations  gce: untruncated; the first third of the steps uses plain cross-entropy, whose gradient an untrained student
            needs; chosen on a victim made for the purpose (tools/choose_defaults.py, decision 007). small_loss: chooses
            within each answered class and over the whole transfer set, thirty times per training, instead of within each
            batch: a batch of 64 holds too few of each class. All labels are used for the first third (the paper lowers
            the share over 10 of 200 epochs); the first network is the clone
Keeps       no state: every budget and seed trains its own student
"""

from dataclasses import dataclass
from itertools import count

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from gamekeeper.architectures import fresh
from gamekeeper.errors import BadConfig
from gamekeeper.facts import Reads
from gamekeeper.models.layout import autocast, image_memory
from gamekeeper.simplex import label
from gamekeeper.training.fit import Fit, Rows, descend
from gamekeeper.training.student import taught, train
from gamekeeper.types import Batch, Knowledge, Model, Posterior, Transfer

ROUNDS, WARM_UP = 30, 10
"""How often a training run recomputes all losses, and for how many of these rounds it trusts every answer."""
CHUNK = 512


@dataclass(frozen=True)
class GeneralisedCrossEntropy:
    """sum_k y_k (1 - p_k^q) / q, mean over n: cross-entropy for q -> 0, half the L1 distance to a label for q = 1."""

    q: float

    def __call__(self, out: Float[Tensor, "n k"], y: Posterior) -> Float[Tensor, ""]:
        # expm1 keeps every digit where q log p is small, which is what the limit q -> 0 consists of
        return -(y * torch.expm1(self.q * F.log_softmax(out, 1))).sum(1).mean() / self.q


@dataclass(frozen=True)
class Gce:
    """Labels under a bounded loss, which gives little weight to answers the student finds implausible."""

    q: float = 0.7
    fit: Fit = Fit()

    def __post_init__(self) -> None:
        if not 0 < self.q <= 1:
            raise BadConfig(f"The q of Gce must be above 0 and at most 1. Got {self.q}.")

    @property
    def reads(self) -> Reads:
        return "label"

    def __call__(self, transfer: Transfer, knows: Knowledge, seed: int) -> Model:
        x, y = image_memory(transfer.x), label(transfer.reply.y).float()
        robust, first = GeneralisedCrossEntropy(self.q), self.fit.steps(len(x)) * WARM_UP // ROUNDS

        def teach(student: nn.Module) -> None:
            steps = count()

            def objective(rows: Rows) -> Tensor:
                with autocast():
                    out = student(x[rows])
                return (knows.task.loss if next(steps) < first else robust)(out.float(), y[rows])

            descend(student, len(x), objective, self.fit, seed)

        return taught(knows, (transfer.x, y), self, seed, teach)


@dataclass(frozen=True)
class Smoothed:
    """Labels with a share `eps` of the weight spread evenly over all classes."""

    eps: float = 0.1
    fit: Fit = Fit()

    def __post_init__(self) -> None:
        if not 0 <= self.eps < 1:
            raise BadConfig(f"The eps of Smoothed must be at least 0 and below 1. Got {self.eps}.")

    @property
    def reads(self) -> Reads:
        return "label"

    def __call__(self, transfer: Transfer, knows: Knowledge, seed: int) -> Model:
        y = label(transfer.reply.y)
        return train(knows, transfer.x, torch.lerp(y, torch.ones_like(y) / y.shape[1], self.eps), self.fit, seed)


@dataclass(frozen=True)
class SmallLoss:
    """Labels; two networks each learn from those the other finds easiest. `flips` is the share to distrust."""

    flips: float = 0.2
    fit: Fit = Fit()

    def __post_init__(self) -> None:
        if not 0 <= self.flips < 1:
            raise BadConfig(f"The flips of SmallLoss must be at least 0 and below 1. Got {self.flips}.")

    @property
    def reads(self) -> Reads:
        return "label"

    @property
    def cost(self) -> float:
        return 1.3

    def __call__(self, transfer: Transfer, knows: Knowledge, seed: int) -> Model:
        x, y = transfer.x, label(transfer.reply.y).float()

        def teach(student: nn.Module) -> None:
            co_teach((student, fresh(knows.student, seed + 1)), x, y, self.flips, self.fit, seed)

        return taught(knows, (x, y), self, seed, teach)


def co_teach(
    peers: tuple[nn.Module, nn.Module], x: Batch, y: Posterior, flips: float, recipe: Fit, seed: int
) -> Bool[Tensor, "2 n"]:
    """Trains both networks in place and leaves them in evaluation mode; returns which labels each last trusted."""
    x, top = image_memory(x), y.argmax(1)
    trusted = torch.ones(2, len(x), dtype=torch.bool)
    every = max(1, recipe.steps(len(x)) // ROUNDS)
    steps = count()

    def objective(rows: Rows) -> Tensor:
        step = next(steps)
        if step % every == 0 and step >= WARM_UP * every:
            trusted[:] = torch.stack([easiest(losses(net, x, y), top, flips) for net in peers])
        with autocast():
            outs = [net(x[rows]).float() for net in peers]
        # their weights are disjoint, so one sum trains both as two optimisers would
        return sum(
            (chosen(out, y[rows], trusted[1 - number, rows]) for number, out in enumerate(outs)), start=torch.zeros(())
        )

    descend(nn.ModuleList(peers), len(x), objective, recipe, seed)
    return trusted


def chosen(out: Float[Tensor, "n k"], y: Posterior, trusted: Bool[Tensor, " n"]) -> Float[Tensor, ""]:
    """Cross-entropy averaged over the trusted rows; 0 if there are none."""
    return (F.cross_entropy(out, y, reduction="none") * trusted).sum() / trusted.sum().clamp(min=1)


def losses(net: nn.Module, x: Batch, y: Posterior) -> Float[Tensor, " n"]:
    """Cross-entropy of every answer, computed in evaluation mode; the mode is restored."""
    training = net.training
    net.eval()
    with torch.no_grad():
        parts = zip(x.split(CHUNK), y.split(CHUNK), strict=True)
        values = torch.cat([F.cross_entropy(net(inputs), answers, reduction="none") for inputs, answers in parts])
    net.train(training)
    return values


def easiest(loss: Float[Tensor, " n"], top: Int[Tensor, " n"], flips: float) -> Bool[Tensor, " n"]:
    """All rows of each class but the round(flips n) with the largest loss, n its size."""
    easy = torch.zeros(len(loss), dtype=torch.bool)
    for rows in (torch.nonzero(top == c)[:, 0] for c in top.unique()):
        easy[rows[loss[rows].argsort(stable=True)][: len(rows) - round(flips * len(rows))]] = True
    return easy
