"""Students for tables that are fitted in one go: scikit-learn's forest, boosted trees and logistic regression.

Source      forest: Breiman, "Random forests" (2001); boosted: Friedman, "Greedy function approximation" (2001), as the
            histogram trees of scikit-learn; linear: logistic regression
Assumes     nothing of the answers: whole posteriors, labels, one class alone, or a handful
Deviations  forest: regression trees on the whole posterior, which for labels are the classifier's trees (the squared error of
            one-hot rows is their Gini impurity). boosted, linear: a soft answer counts as one row for each class, weighted by
            its probability, so that the loss is the soft cross-entropy. linear: columns are standardised; the strength of
            the penalty is chosen on held-out answers. boosted: every split of few answers, histograms of many

Each is an architecture like any other: `knockoff+labels@forest`, `student = "boosted"`. Logistic regression is a network of
one layer and has gradients. Trees answer log-posteriors, which are logits, and have no weights: what climbs gradients needs
a network. scikit-learn is imported where it is used.
"""

import math
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from gamekeeper.architectures import Classifier, Mlp, Shape, standardised
from gamekeeper.errors import Unsuited
from gamekeeper.types import Architecture, Batch, Posterior

LEAST = 1e-6
"""A class with less probability than this is not learnt from; nothing answers less than this squared."""
PENALTIES = (1.0, 30.0, 1000.0)
"""Inverse strengths for the linear student to choose from; the first is scikit-learn's own."""
FOLDS = 5
RULED_OUT = -30.0
"""The logit of a class that was never answered."""
EXACT = 1_000
"""Entries of all answers, up to which boosted trees look at every split."""

Rows = np.ndarray[Any, np.dtype[np.float64]]


@runtime_checkable
class Predictor(Protocol):
    """Fitted: posteriors (n, k) of rows (n, d)."""

    def __call__(self, x: Rows, /) -> Rows: ...


@runtime_checkable
class Learns(Protocol):
    """A student that is fitted in one go."""

    def learn(self, x: Batch, y: Posterior, seed: int) -> None: ...


@runtime_checkable
class Fitting(Protocol):
    """Recipe of a student without weights, which cannot be trained step by step."""

    def fitted(self, x: Rows, y: Rows, seed: int) -> Predictor: ...


class Estimator(nn.Module):
    """A student without weights. It answers every class alike until it has learnt. Live."""

    def __init__(self, recipe: Fitting, classes: int) -> None:
        super().__init__()
        self.recipe, self.classes = recipe, classes
        self.predict: Predictor | None = None

    def learn(self, x: Batch, y: Posterior, seed: int) -> None:
        self.predict = self.recipe.fitted(rows_of(x), even_rows(y), seed % 2**32)

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


def even_rows(y: Posterior) -> Rows:
    """Rows that sum to 1; one that says nothing says every class alike."""
    posteriors = y.double().clamp(min=0)
    total = posteriors.sum(1, keepdim=True)
    return torch.where(total > 0, posteriors / total.clamp(min=1e-300), 1 / y.shape[1]).numpy()


def moments(x: Rows) -> tuple[Rows, Rows]:
    """Mean and deviation of each column; 1 for one that never varies."""
    deviation = x.std(0)
    return x.mean(0), np.where(deviation > 0, deviation, 1.0)


@dataclass(frozen=True)
class Forest:
    """A random forest: many trees on random shares of rows and columns."""

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
    """Gradient-boosted trees: each corrects those before it."""

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


class Regression(Classifier):
    """A network of one layer, which may be fitted in one go: no descent ends as near the optimum. Live."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__(nn.Flatten(), nn.Linear(width, classes))

    def learn(self, x: Batch, y: Posterior, seed: int) -> None:
        with torch.no_grad():
            rows, posteriors = rows_of(self.body(x)), even_rows(y)
            weight, bias = regression(rows, posteriors, chosen_penalty(rows, posteriors, seed))
            self.head.weight.copy_(torch.from_numpy(weight))
            self.head.bias.copy_(torch.from_numpy(bias))


@dataclass(frozen=True)
class Linear:
    """Logistic regression, on columns standardised by the inputs queried."""

    shape: Shape
    classes: int

    def __call__(self) -> nn.Module:
        return Regression(math.prod(self.shape), self.classes)


def regression(x: Rows, y: Rows, penalty: float) -> tuple[Rows, Rows]:
    """Weights (k, d) and biases (k,) for rows as they are; a class that was never answered is ruled out."""
    from sklearn.linear_model import LogisticRegression

    mean, scale = moments(x)
    weight, bias = np.zeros((y.shape[1], x.shape[1])), np.full(y.shape[1], RULED_OUT)
    row, label = np.nonzero(y > LEAST)
    present = np.unique(label)
    bias[present] = 0.0
    if len(present) > 1:
        fitted: Any = LogisticRegression(C=penalty, max_iter=1_000)
        with one_thread():
            fitted.fit(((x - mean) / scale)[row], label, sample_weight=y[row, label])
        # of two classes it says the second's score alone
        rows = present if len(present) > 2 else present[1:]
        weight[rows] = fitted.coef_ / scale
        bias[rows] = fitted.intercept_ - weight[rows] @ mean
    return weight, bias


def chosen_penalty(x: Rows, y: Rows, seed: int) -> float:
    """The one whose fits best predict answers that were left out of them; the first where there are few."""
    if len(x) < 2 * FOLDS:
        return PENALTIES[0]
    fold = np.random.default_rng(seed).permutation(len(x)) % FOLDS

    def loss(penalty: float) -> float:
        """The soft cross-entropy over all folds."""
        total = 0.0
        for number in range(FOLDS):
            out = fold == number
            weight, bias = regression(x[~out], y[~out], penalty)
            log = torch.log_softmax(torch.from_numpy(x[out] @ weight.T + bias), 1).numpy()
            total -= float((y[out] * np.maximum(log, math.log(LEAST))).sum())
        return total

    return min(PENALTIES, key=loss)


def weighted(estimator: Any, x: Rows, y: Rows) -> Predictor:
    """The classifier fitted on a row for each class that an answer leaves possible, weighted by its probability."""
    row, label = np.nonzero(y > LEAST)
    present = np.unique(label)
    if len(present) > 1:
        with one_thread():
            estimator.fit(x[row], label, sample_weight=y[row, label])

    def predict(rows_asked: Rows) -> Rows:
        whole = np.zeros((len(rows_asked), y.shape[1]))
        with one_thread():
            whole[:, present] = estimator.predict_proba(rows_asked) if len(present) > 1 else 1.0
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
    """The student a thief with this pool trains: of a table a network standardised by it, else the very same.

    A network of one layer is logistic regression, and is fitted as such.
    """
    if isinstance(student, Fitting) or pool.ndim != 2 or len(pool) == 0:
        return student
    if isinstance(student, Mlp) and not student.hidden:
        student = Linear(student.shape, student.classes)
    return standardised(student, pool)
