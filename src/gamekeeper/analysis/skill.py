"""Whether a model is better than guessing on its own test set. If it is not, nothing measured of its copies means anything.

Source      Fisher, "The Design of Experiments" (1935): permutation test; Mann and Whitney (1947): the area under the ROC
            curve (AUC); Kuhn (1955): the order of the classes that fits best, as an assignment
Deviations  "better" also asks for MARGIN of the way from guessing to perfect: on a large test set a model that sees its
            inputs in the wrong scale may still be significantly, and pointlessly, better than guessing
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.optimize import linear_sum_assignment  # pyright: ignore[reportMissingTypeStubs]
from scipy.stats import rankdata  # pyright: ignore[reportMissingTypeStubs]

DRAWS, UNLIKELY = 999, 0.01
"""Permutations, and the share of them that may do as well as the model."""
MARGIN = 0.1
"""How much of the way from guessing to perfect a model must go."""
REORDERED = 0.2
"""By how much more balanced accuracy another order of the classes must give to be what was meant."""
MOST = 10_000
"""Test inputs looked at."""

Numbers = Int[Any, " n"]
Order = Int[Any, " k"]


@dataclass(frozen=True)
class Skill:
    """How a model does on labelled inputs.

    n         inputs; classes: how many classes their labels have
    accuracy  share of right answers; balanced: its mean over those classes, for which guessing gives 1/classes
    auc       area under the ROC curve of the second class's probability; None unless there are two classes
    answered  the classes answered
    better    whether it is clearly better than guessing, by `balanced` or `auc`
    order     class answered -> the class meant, if the answers fit far better so; reordered: the accuracy it gives
    """

    n: int
    classes: int
    accuracy: float
    balanced: float
    auc: float | None
    answered: tuple[int, ...]
    better: bool
    order: tuple[int, ...] | None = None
    reordered: float = 0.0

    @property
    def sound(self) -> bool:
        """Whether a copy of the model is worth something."""
        return self.better and self.order is None


def skill(y: Float[Any, "n k"], truth: Numbers) -> Skill:
    """The skill of a model that gave the posteriors y to inputs of these classes; at least one input."""
    y, truth = np.asarray(y)[:MOST], np.asarray(truth)[:MOST]
    top, present = y.argmax(1), np.unique(truth)
    balanced = balanced_accuracy(top, truth)
    auc = area(y[:, 1], truth == 1) if y.shape[1] == 2 and len(present) == 2 else None
    order = better_order(top, truth, y.shape[1])
    return Skill(
        n=len(y),
        classes=len(present),
        accuracy=float((top == truth).mean()),
        balanced=balanced,
        auc=auc,
        answered=tuple(np.unique(top).tolist()),
        better=len(present) > 1
        and (clearly(top, truth, balanced_accuracy) or (auc is not None and clearly(y[:, 1], truth, area_of_second))),
        order=None if order is None else tuple(order.tolist()),
        reordered=0.0 if order is None else float((order[top] == truth).mean()),
    )


def balanced_accuracy(top: Numbers, truth: Numbers) -> float:
    """Mean over the classes of `truth` of the share answered rightly."""
    classes, place = np.unique(truth, return_inverse=True)
    return float((np.bincount(place, weights=top == truth) / np.bincount(place)).sum() / len(classes))


def area(score: Float[Any, " n"], second: Bool[Any, " n"]) -> float:
    """How often an input of the second class has the higher score, ties counting half; both classes must be there."""
    ranks, n = rankdata(score), int(second.sum())
    return float((ranks[second].sum() - n * (n + 1) / 2) / (n * (len(score) - n)))


def area_of_second(score: Float[Any, " n"], truth: Numbers) -> float:
    return area(score, truth == 1)


def clearly(answers: Any, truth: Numbers, measure: Any) -> bool:
    """Whether `measure` of the answers is clearly better than of the same answers given to the inputs at random."""
    guessing = 1 / len(np.unique(truth))
    met, draw = measure(answers, truth), np.random.default_rng(0)
    if met < guessing + MARGIN * (1 - guessing):
        return False
    alike = sum(measure(draw.permutation(answers), truth) >= met for _ in range(DRAWS))
    return bool((1 + alike) / (1 + DRAWS) <= UNLIKELY)


def better_order(top: Numbers, truth: Numbers, classes: int) -> Order | None:
    """The order of the classes that one half of the answers fit best, if the other half confirms it; else None."""
    order = best_order(top[::2], truth[::2], classes)
    other, meant = top[1::2], truth[1::2]
    if len(other) == 0 or (order == np.arange(classes)).all():
        return None
    gained = (order[other] == meant).astype(int) - (other == meant)
    more = balanced_accuracy(order[other], meant) - balanced_accuracy(other, meant)
    return order if more > REORDERED and gained.sum() > 4 * np.sqrt(np.abs(gained).sum()) else None


def best_order(top: Numbers, truth: Numbers, classes: int) -> Order:
    """Class answered -> class meant, one to one, with as many right as possible; classes without answers stay if they can."""
    counts = np.zeros((classes, classes))
    np.add.at(counts, (top, truth), 1.0)
    return linear_sum_assignment(-(counts + np.eye(classes) * 1e-3))[1]


def of_every_class(truth: Numbers, most: int) -> Int[Any, " m"]:
    """At most that many places, at random, with the classes in parts as equal as can be; in ascending order."""
    shuffled = np.random.default_rng(0).permutation(len(truth))
    seen: dict[int, int] = {}
    turn = np.empty(len(truth), dtype=np.int64)
    for place, label in enumerate(truth[shuffled].tolist()):
        turn[place] = seen[label] = seen.get(label, -1) + 1
    return np.sort(shuffled[np.argsort(turn, kind="stable")[:most]])
