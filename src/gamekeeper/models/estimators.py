"""Students for tables that are no networks: scikit-learn's forest, boosted trees and logistic regression.

Source      forest: Breiman, "Random forests" (2001); boosted: Friedman, "Greedy function approximation" (2001), as the
            histogram trees of scikit-learn; linear: logistic regression
Assumes     nothing of the answers: whole posteriors, labels, one class alone, or a handful
Deviations  forest: regression trees on the whole posterior, which for labels are the classifier's trees (the squared error of
            one-hot rows is their Gini impurity). boosted, linear: a soft answer counts as one row for each class, weighted by
            its probability, so that the loss is the soft cross-entropy. linear: columns are standardised; the strength of
            the penalty is chosen on held-out answers. boosted: every split of few answers, histograms of many

Each is an architecture like any other: `knockoff+labels@forest`, `student = "boosted"`. It answers log-posteriors, which
are logits, and has no weights: what climbs gradients needs a network. scikit-learn is imported where it is used.
"""

import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from gamekeeper.architectures import Shape, standardised
from gamekeeper.errors import Unsuited
from gamekeeper.types import Architecture, Batch, Posterior

LEAST = 1e-6
"""A class with less probability than this is not learnt from; nothing answers less than this squared."""
PENALTIES = (1.0, 30.0, 1000.0)
"""Inverse strengths for the linear student to choose from; the first is scikit-learn's own."""
FOLDS = 5
EXACT = 1_000
"""Entries of all answers, up to which boosted trees look at every split."""

Rows = np.ndarray[Any, np.dtype[np.float64]]


@runtime_checkable
class Predictor(Protocol):
    """Fitted: posteriors (n, k) of rows (n, d)."""

    def __call__(self, x: Rows, /) -> Rows: ...


@runtime_checkable
class Fitting(Protocol):
    """Recipe of a student that is fitted in one go, not step by step."""

    def fitted(self, x: Rows, y: Rows, seed: int) -> Predictor: ...


class Estimator(nn.Module):
    """A student without weights. It answers every class alike until it has learnt. Live."""

    def __init__(self, recipe: Fitting, classes: int) -> None:
        super().__init__()
        self.recipe, self.classes = recipe, classes
        self.predict: Predictor | None = None

    def learn(self, x: Batch, y: Posterior, seed: int) -> None:
        posteriors = y.double().clamp(min=0).numpy()
        total = posteriors.sum(1, keepdims=True)
        even = np.full_like(posteriors, 1 / self.classes)
        self.predict = self.recipe.fitted(
            rows_of(x), np.divide(posteriors, total, out=even, where=total > 0), seed % 2**32
        )

    def forward(self, x: Batch) -> Float[Tensor, "n k"]:
        if torch.is_grad_enabled() and x.requires_grad:
            raise Unsuited(
                f"{type(self.recipe).__name__} has no gradients, and this method follows those of its student. Give it a"
                " network: put @mlp behind it."
            )
        if self.predict is None or len(x) == 0:
            return torch.zeros(len(x), self.classes)
        return torch.from_numpy(np.log(np.clip(self.predict(rows_of(x)), LEAST**2, None))).float()


def rows_of(x: Batch) -> Rows:
    return x.detach().reshape(len(x), -1).double().numpy()


@dataclass(frozen=True)
class Forest:
    """A random forest."""

    shape: Shape
    classes: int
    trees: int = 100

    def __call__(self) -> nn.Module:
        return Estimator(self, self.classes)

    def fitted(self, x: Rows, y: Rows, seed: int) -> Predictor:
        from sklearn.ensemble import RandomForestRegressor

        options: dict[str, Any] = {
            "n_estimators": self.trees,
            "max_features": "sqrt",
            "random_state": seed,
            "n_jobs": 1,
        }
        forest: Any = RandomForestRegressor(**options)
        return forest.fit(x, y).predict


@dataclass(frozen=True)
class Boosted:
    """Gradient-boosted trees."""

    shape: Shape
    classes: int
    rounds: int = 100

    def __call__(self) -> nn.Module:
        return Estimator(self, self.classes)

    def fitted(self, x: Rows, y: Rows, seed: int) -> Predictor:
        from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier

        if y.size > EXACT:
            # histograms cost a tenth of the time; their leaves of 20 rows leave a handful of answers unsplit
            boosted: Any = HistGradientBoostingClassifier(max_iter=self.rounds, random_state=seed)
        else:
            boosted = GradientBoostingClassifier(n_estimators=self.rounds, max_features="sqrt", random_state=seed)
        return weighted(boosted, x, y)


@dataclass(frozen=True)
class Linear:
    """Logistic regression on standardised columns."""

    shape: Shape
    classes: int

    def __call__(self) -> nn.Module:
        return Estimator(self, self.classes)

    def fitted(self, x: Rows, y: Rows, seed: int) -> Predictor:
        penalty = (
            PENALTIES[0] if len(x) < 2 * FOLDS else min(PENALTIES, key=lambda each: held_out_loss(each, x, y, seed))
        )
        return weighted(logistic(penalty), x, y)


def logistic(penalty: float) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=penalty, max_iter=1_000)


def held_out_loss(penalty: float, x: Rows, y: Rows, seed: int) -> float:
    """The soft cross-entropy of answers that were left out of the fit, over all folds."""
    fold = np.random.default_rng(seed).permutation(len(x)) % FOLDS
    losses: list[Rows] = []
    for number in range(FOLDS):
        out = fold == number
        predicted = weighted(logistic(penalty), x[~out], y[~out])(x[out])
        losses.append(-(y[out] * np.log(np.clip(predicted, LEAST, None))).sum(1))
    return float(np.concatenate(losses).mean())


def weighted(estimator: Any, x: Rows, y: Rows) -> Predictor:
    """The classifier fitted on a row for each class that an answer leaves possible, weighted by its probability."""
    mean, scale = x.mean(0), x.std(0)
    scale = np.where(scale > 0, scale, 1.0)
    row, label = np.nonzero(y > LEAST)
    present = np.unique(label)
    if len(present) > 1:
        with one_thread():
            estimator.fit(((x - mean) / scale)[row], label, sample_weight=y[row, label])

    def predict(asked: Rows) -> Rows:
        whole = np.zeros((len(asked), y.shape[1]))
        with one_thread():
            whole[:, present] = estimator.predict_proba((asked - mean) / scale) if len(present) > 1 else 1.0
        return whole

    return predict


@contextmanager
def one_thread() -> Any:
    """As many as a worker has; and no word about a fit that took all its steps."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def for_table(student: Architecture, pool: Batch) -> Architecture:
    """The student a thief with this pool trains: of a table a network standardised by it, else the very same."""
    if isinstance(student, Fitting) or pool.ndim != 2 or len(pool) == 0:
        return student
    return standardised(student, pool)
