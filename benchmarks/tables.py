"""Thieves of tables against plain scikit-learn on the same answers: is a model stolen at least as well as by anybody's first try?

The victims are nine usual models of raw columns of three data sets (xgboost's and lightgbm's where these are installed) and the
built-in `breast-cancer` and `wine`. Every thief asks the same random rows of the pool, 20, 100 or 1,000 of them or as many as there
are, with three seeds. A plain thief sees the top class and fits a pipeline as its library ships it; ours see the whole answer or
the top class. What is compared is the accuracy on the test set:

    like for like   `knockoff+labels@linear`, `@forest` and `@boosted` with the plain thief of that kind
    the strongest   the best of the ensemble's thieves, on average over the seeds, with the best plain one

A difference comes with the middle 95 % of paired replicates over test rows and seeds. `below` counts those wholly under 0.
`BENCH_TABLES=bc-svc,wine` measures these victims alone.
"""

import importlib.util
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from sklearn import datasets
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    VotingClassifier,
)
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC

from gamekeeper.analysis.bootstrap import draws, interval
from gamekeeper.architectures import Mlp
from gamekeeper.methods import InputSpec, parse_thief
from gamekeeper.models.estimators import for_table
from gamekeeper.models.opaque import SklearnModel
from gamekeeper.service.oracles import Metered
from gamekeeper.targets.domains import ranges_of
from gamekeeper.targets.load import load_target
from gamekeeper.tasks import Classify
from gamekeeper.types import Domain, Knowledge, Model, Ranges
from gamekeeper.units import UnitBox, UnitMeter, in_natural_units

BUDGETS, SEEDS, REPLICATES = (20, 100, 1000), (0, 1, 2), 1000
PLAIN: Mapping[str, Callable[[int], Any]] = {
    "linear": lambda seed: make_pipeline(StandardScaler(), LogisticRegression()),
    "forest": lambda seed: RandomForestClassifier(random_state=seed),
    "boosted": lambda seed: GradientBoostingClassifier(random_state=seed),
}
OURS = (
    "knockoff", "knockoff+labels", "knockoff@linear", "knockoff@forest", "knockoff@boosted",
    "knockoff+labels@linear", "knockoff+labels@forest", "knockoff+labels@boosted",
)  # fmt: skip


def models() -> dict[str, Callable[[], Any]]:
    """As in anybody's first notebook."""
    found: dict[str, Callable[[], Any]] = {
        "svc": lambda: make_pipeline(StandardScaler(), CalibratedClassifierCV(SVC(), ensemble=False)),
        "rf": lambda: RandomForestClassifier(100, random_state=0),
        "hgb": lambda: HistGradientBoostingClassifier(max_iter=30),
        "lr": lambda: make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000)),
        "calsvc": lambda: make_pipeline(StandardScaler(), CalibratedClassifierCV(LinearSVC())),
        "vote": lambda: VotingClassifier(
            [("a", LogisticRegression(max_iter=5000)), ("b", GaussianNB())], voting="soft"
        ),
        "mlp": lambda: make_pipeline(StandardScaler(), MLPClassifier((50,), max_iter=500, random_state=0)),
    }
    for name, module, made in (("xgb", "xgboost", "XGBClassifier"), ("lgbm", "lightgbm", "LGBMClassifier")):
        if importlib.util.find_spec(module) is not None:
            found[name] = lambda module=module, made=made: getattr(importlib.import_module(module), made)(
                n_estimators=30
            )
    return found


Victim = tuple[str, Model, Domain, torch.Tensor, torch.Tensor, torch.Tensor]
"""Name, model, domain, pool, test inputs, their classes."""


DATA: Mapping[str, Callable[..., Any]] = {
    "bc": datasets.load_breast_cancer,
    "wine": datasets.load_wine,
    "digits": datasets.load_digits,
}


def parts(data: str) -> tuple[np.ndarray[Any, Any], ...]:
    """Training rows and their classes, the pool, test rows and their classes; the same in every run."""
    x, y = DATA[data](return_X_y=True)
    rest, test, rest_y, test_y = train_test_split(x, y, test_size=0.3, random_state=0, stratify=y)
    train, pool, train_y, _ = train_test_split(rest, rest_y, test_size=0.5, random_state=1)
    return train, train_y, pool, test, test_y


def victims() -> Iterator[Victim]:
    for data in DATA:
        train, train_y, pool, test, test_y = parts(data)
        for name, make in models().items():
            if wanted(f"{data}-{name}"):
                model = SklearnModel(make().fit(train, train_y), Classify(int(test_y.max()) + 1))
                held = torch.as_tensor(pool, dtype=torch.float32)
                asked = torch.as_tensor(test, dtype=torch.float32)
                yield f"{data}-{name}", model, ranges_of(held), held, asked, torch.as_tensor(test_y)
    for name in ("breast-cancer", "wine"):
        if wanted(name):
            target = load_target(name)
            assert target.test.y is not None
            yield name, target.victim, target.box, target.pool.x, target.test.x, target.test.y


def wanted(name: str) -> bool:
    only = os.environ.get("BENCH_TABLES")
    return not only or name in only.split(",")


def ours(victim: Victim, thief: str, budget: int, seed: int) -> np.ndarray[Any, Any]:
    """Which test rows the clone gets right; stolen as the engine does it."""
    _, model, domain, pool, test, truth = victim
    units = UnitBox(domain if isinstance(domain, Ranges) else ranges_of(pool))
    held = units.inside(pool)
    meter = UnitMeter(Metered(model, budget, domain), units, pool)
    attack, student = parse_thief(thief, InputSpec(domain.shape, model.task.classes))
    student = for_table(student or Mlp(domain.shape, model.task.classes), held)
    clone = in_natural_units(attack(meter, Knowledge(held, units.box, model.task, student), seed), units)
    return (clone(test).y.argmax(1) == truth).numpy()


def plain(victim: Victim, kind: str, budget: int, seed: int) -> np.ndarray[Any, Any]:
    """The same rows, the same answers, and no gamekeeper."""
    _, model, _, pool, test, truth = victim
    rows = torch.randperm(len(pool), generator=torch.Generator().manual_seed(seed))[:budget]
    label = model(pool[rows]).y.argmax(1).numpy()
    if len(set(label)) == 1:  # scikit-learn refuses one class
        return truth.numpy() == label[0]
    fitted = PLAIN[kind](seed).fit(pool[rows].double().numpy(), label)
    return fitted.predict(test.double().numpy()) == truth.numpy()


def compared(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> dict[str, float]:
    """Mean accuracies of two thieves, (seeds, rows) of booleans each, and the paired interval of their difference."""
    difference = a.astype(np.float32) - b.astype(np.float32)
    weight = draws(len(difference), REPLICATES, 1)
    low, high = interval(((draws(difference.shape[1], REPLICATES, 0) @ difference.T) * weight).sum(1))
    return {"ours": float(a.mean()), "plain": float(b.mean()), "low": low, "high": high}


def budgets(pool: torch.Tensor) -> list[int]:
    return sorted({min(budget, len(pool)) for budget in BUDGETS})


def row_of(victim: Victim, seen_plainly: Victim, budget: int) -> dict[str, Any]:
    """One line of the result; the plain thieves ask the second, which is the same model."""
    name, model, _, _, test, truth = victim
    own = float((model(test).y.argmax(1) == truth).double().mean())
    mine = {thief: np.stack([ours(victim, thief, budget, seed) for seed in SEEDS]) for thief in OURS}
    theirs = {kind: np.stack([plain(seen_plainly, kind, budget, seed) for seed in SEEDS]) for kind in PLAIN}
    best, rival = (max(each, key=lambda key, each=each: each[key].mean()) for each in (mine, theirs))
    pairs = {kind: compared(mine[f"knockoff+labels@{kind}"], theirs[kind]) for kind in PLAIN}
    pairs["strongest"] = compared(mine[best], theirs[rival])
    accuracy = {thief: round(float(right.mean()), 4) for thief, right in mine.items()}
    row = {"victim": name, "accuracy": own, "budget": budget, "best": best, "rival": rival}
    return {**row, "pairs": pairs, "thieves": accuracy}


def measure() -> dict[str, object]:
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    for victim in victims():
        for budget in budgets(victim[3]):
            rows.append(row_of(victim, victim, budget))
            show_row(rows[-1])
    return result_of(rows)


def result_of(rows: list[dict[str, Any]]) -> dict[str, object]:
    below = [f"{row['victim']} {row['budget']} {kind}" for row in rows for kind in under(row)]
    return {"seeds": len(SEEDS), "rows": rows, "compared": sum(len(row["pairs"]) for row in rows), "below": below}


def under(row: Mapping[str, Any]) -> list[str]:
    """The comparisons in which the plain thief is better beyond the interval."""
    return [kind for kind, pair in row["pairs"].items() if pair["high"] < 0]


def show_row(row: Mapping[str, Any]) -> None:
    said = "  ".join(f"{k} {p['ours']:.3f}/{p['plain']:.3f}" for k, p in row["pairs"].items())
    print(
        f"{row['victim']:>14} {row['budget']:>5}  {said}  ({row['best']} / {row['rival']})  below: {under(row)}",
        flush=True,
    )


def show(result: dict[str, Any]) -> None:
    print(
        f"tables: {len(result['below'])} of {result['compared']} comparisons below plain scikit-learn: {result['below']}"
    )
