"""The attacks of the PRADA paper: N-FGSM, N I-FGSM, T-RND and COLOR, with its hyper-parameter search.

Source      Juuti, Szyller, Marchal, Asokan, "PRADA: protecting against DNN model stealing attacks" (EuroS&P 2019);
            the authors published only their detector's code
Equations   N-FGSM: x' = clip(x + lambda sgn(dL(F(x), y)/dx)), y the answered class; N I-FGSM: the same in `steps` steps
            of lambda/steps; T-RND: x' = clip(x - lambda sgn(dL(F(x), c)/dx)), c uniform over the classes other than y;
            COLOR: x' = clip(x + u), u uniform in [-lambda, lambda], one number per colour channel
Assumes     a few inputs like the victim's own (`seeds`), a student with gradients; COLOR: inputs of 3 channels; any
            answer. The set doubles every round
Deviations  starts from 100 of the thief's own inputs, drawn at random: ten per class for ten classes (the paper, as we
            recall it: 5 to 10 or more of each class, balanced). lambda is a fraction of the width of the input box
            (64/255, the better of the paper's values). The search draws 6 settings at random, log-uniformly: epochs in 10
            to 100 (the paper, as we recall it: 10 to 320) and the peak learning rate of our SGD in 0.005 to 0.5 (Adam's
            in 1e-4 to 1e-2); no dropout. It costs no queries, applies only to the training between rounds, and is
            skipped with fewer than 10 seeds. A copy that was queried before is replaced by uniform noise of the same
            size (synthesis.py)
"""

from dataclasses import dataclass, field, replace
from functools import partial

import torch
from jaxtyping import Int
from torch import Tensor

from gamekeeper.attacks.rounds import INTERIM, no_clone, relearn, span
from gamekeeper.attacks.steps import climb, loss_of
from gamekeeper.attacks.synthesis import Copies, Ints, Step, check_sizes, synthesise
from gamekeeper.errors import Unsuited
from gamekeeper.models.network import TorchModel
from gamekeeper.training.fit import Fit
from gamekeeper.types import Batch, Box, Knowledge, Meter, Reply, Transfer, need_box

FOLDS, TRIALS = 5, 6
RATES, EPOCHS = (0.005, 0.5), (10.0, 100.0)


@dataclass(frozen=True)
class NFgsm:
    """Seeds and copies of them, pushed away from the answered class in one step."""

    seeds: int = 100
    lam: float = 64 / 255
    search: bool = True
    fit: Fit = INTERIM

    def __post_init__(self) -> None:
        check_sizes("NFgsm", self.lam, {"seeds": self.seeds})

    @property
    def prefix(self) -> bool:
        return False

    def __call__(self, oracle: Meter, knows: Knowledge, seed: int) -> Transfer:
        box = need_box(knows.box, type(self).__name__)
        step = partial(away, box, self.lam, 1)
        return perturb(self, box, step, oracle, knows, seed)


@dataclass(frozen=True)
class NIFgsm:
    """Seeds and copies of them, pushed away from the answered class in several small steps."""

    seeds: int = 100
    lam: float = 64 / 255
    steps: int = 10
    search: bool = True
    fit: Fit = INTERIM

    def __post_init__(self) -> None:
        check_sizes("NIFgsm", self.lam, {"seeds": self.seeds, "steps": self.steps})

    @property
    def prefix(self) -> bool:
        return False

    def __call__(self, oracle: Meter, knows: Knowledge, seed: int) -> Transfer:
        box = need_box(knows.box, type(self).__name__)
        step = partial(away, box, self.lam, self.steps)
        return perturb(self, box, step, oracle, knows, seed)


@dataclass(frozen=True)
class TRnd:
    """Seeds and copies of them, pushed towards a class drawn at random; steps=1 is FGSM, more are I-FGSM."""

    seeds: int = 100
    lam: float = 64 / 255
    steps: int = 1
    search: bool = True
    fit: Fit = INTERIM

    def __post_init__(self) -> None:
        check_sizes("TRnd", self.lam, {"seeds": self.seeds, "steps": self.steps})

    @property
    def prefix(self) -> bool:
        return False

    def __call__(self, oracle: Meter, knows: Knowledge, seed: int) -> Transfer:
        box, generator = need_box(knows.box, type(self).__name__), torch.Generator().manual_seed(seed)

        def step(clone: TorchModel, x: Batch, answered: Ints, copy: Ints, rho: int) -> Batch:
            target = other_classes(answered, knows.task.classes, generator)
            return climb(clone.net, loss_of(clone.net), x, (target,), -self.lam * span(box), box, self.steps)

        return perturb(self, box, step, oracle, knows, seed)


@dataclass(frozen=True)
class Color:
    """Seeds and copies of them with each colour channel shifted at random; no clone is used."""

    seeds: int = 100
    lam: float = 64 / 255

    def __post_init__(self) -> None:
        check_sizes("Color", self.lam, {"seeds": self.seeds})

    @property
    def prefix(self) -> bool:
        return False

    def __call__(self, oracle: Meter, knows: Knowledge, seed: int) -> Transfer:
        box = need_box(knows.box, type(self).__name__)
        if len(box.shape) != 3 or box.shape[0] != 3:
            raise Unsuited(
                f"COLOR shifts the three channels of colour images (3, height, width); this target's inputs have shape"
                f" {box.shape}. Use T-RND (t_rnd), which works on any input."
            )
        generator, reach = torch.Generator().manual_seed(seed), self.lam * span(box)

        def step(clone: None, x: Batch, answered: Ints, copy: Ints, rho: int) -> Batch:
            shift = (torch.rand((len(x), 3, 1, 1), generator=generator) * 2 - 1) * reach
            return (x + shift).clamp(box.low, box.high)

        return synthesise(oracle, knows, "COLOR", self.seeds, Copies(step, reach, box, generator), no_clone)


def away(box: Box, lam: float, steps: int, clone: TorchModel, x: Batch, k: Ints, copy: Ints, rho: int) -> Batch:
    """lambda along the sign of the gradient of the cross-entropy with class k, in `steps` steps."""
    return climb(clone.net, loss_of(clone.net), x, (k,), lam * span(box), box, steps)


def other_classes(k: Ints, classes: int, generator: torch.Generator) -> Int[Tensor, " n"]:
    """One class for each row, uniform over all but its own."""
    return (k + 1 + torch.randint(classes - 1, k.shape, generator=generator)) % classes


def perturb(
    recipe: NFgsm | NIFgsm | TRnd, box: Box, step: Step[TorchModel], oracle: Meter, knows: Knowledge, seed: int
) -> Transfer:
    """Doubles the seeds round by round, with a clone trained by the best setting of the search on the seeds' answers."""
    generator = torch.Generator().manual_seed(seed)
    copies = Copies(step, recipe.lam * span(box), box, generator)
    learn = Tuned(knows, recipe.fit, recipe.search, seed)
    return synthesise(oracle, knows, type(recipe).__name__, recipe.seeds, copies, learn)


@dataclass
class Tuned:
    """Learns from the answers with hyper-parameters searched once, on the first answers it gets (the seeds')."""

    knows: Knowledge
    fit: Fit
    search: bool
    seed: int
    chosen: Fit | None = field(default=None, init=False)

    def __call__(self, transfer: Transfer) -> TorchModel:
        if self.chosen is None:
            wanted = self.search and len(transfer.x) >= 2 * FOLDS
            self.chosen = search(self.knows, transfer, self.fit, self.seed) if wanted else self.fit
        return relearn(self.knows, self.chosen, self.seed, transfer)


def search(knows: Knowledge, transfer: Transfer, fit: Fit, seed: int) -> Fit:
    """The best of TRIALS random settings of (peak rate, epochs) by cross-validated agreement with the answers.

    Ties go to fewer epochs. Makes no queries.
    """
    generator = torch.Generator().manual_seed(seed)
    draws = torch.rand((TRIALS, 2), generator=generator).tolist()
    trials = [
        replace(fit, rate=log_uniform(*RATES, a), epochs=round(log_uniform(*EPOCHS, b)), least_steps=1)
        for a, b in draws
    ]
    # the folds' clones are not reused: they stay out of the cache
    knows = replace(knows, clones=None)
    scores = [agreement(knows, transfer, trial, seed) for trial in trials]
    return min(zip(trials, scores, strict=True), key=lambda pair: (-pair[1], pair[0].epochs))[0]


def agreement(knows: Knowledge, transfer: Transfer, fit: Fit, seed: int) -> float:
    """Fraction of answers, 0 to 1, whose top-1 class a clone trained on the other folds predicts."""
    fold = torch.arange(len(transfer.x)) % FOLDS
    right = 0
    for number in range(FOLDS):
        rest, held = fold != number, fold == number
        x, y = transfer.x[rest], transfer.reply.y[rest]
        clone = relearn(knows, fit, seed, replace(transfer, x=x, reply=Reply(y)))
        right += int((clone.logits(transfer.x[held]).argmax(1) == transfer.reply.y[held].argmax(1)).sum())
    return right / len(transfer.x)


def log_uniform(low: float, high: float, u: float) -> float:
    """The point at fraction u of the way from low to high on a logarithmic scale."""
    return low * (high / low) ** u
