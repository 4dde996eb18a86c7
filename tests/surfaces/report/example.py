"""A run as an audit of the built-in `mnist` target would leave it: 4 defenses, 3 thieves, 3 budgets, 2 seeds."""

import random
from dataclasses import replace

from gamekeeper.metrics import UNSHIFTED, ShiftHarm, wilson
from gamekeeper.older_rows import older
from gamekeeper.results import SCHEMA, Clone, Row, Run, Seconds, Utility, Victim

TEST = 2000
VICTIM = 0.981
BUDGETS = (250, 1000, 2500)
SEEDS = (0, 1)
PRICE = 0.001
# attack -> (queries spent for each input, defense -> clone accuracy at each budget)
THIEVES = {
    "knockoff": ("knockoff", "soft", 1),
    "knockoff+labels": ("knockoff", "labels", 1),
    "knockoff+averaged:n=3": ("knockoff", "soft", 3),
}
STOLEN = {
    "none": {"knockoff": (0.740, 0.912, 0.948), "labels": (0.601, 0.834, 0.902), "averaged": (0.552, 0.803, 0.893)},
    "label": {"knockoff": (0.598, 0.836, 0.903), "labels": (0.601, 0.834, 0.902), "averaged": (0.410, 0.684, 0.829)},
    "reverse_sigmoid:beta=0.9,gamma=0.2": {
        "knockoff": (0.571, 0.797, 0.861),
        "labels": (0.601, 0.834, 0.902),
        "averaged": (0.388, 0.661, 0.802),
    },
    "mad:eps=0.95": {
        "knockoff": (0.402, 0.561, 0.643),
        "labels": (0.455, 0.668, 0.767),
        "averaged": (0.322, 0.470, 0.588),
    },
}
# defended accuracy, top-1 kept, l1, l1 on the thief's queries, ece, top-1 kept on the thief's queries, seconds a query
HONEST = {
    "none": (0.981, 1.0, 0.0, 0.0, 0.006, 1.0, 0.0),
    "label": (0.981, 1.0, 0.052, 0.31, 0.019, 1.0, 2e-6),
    "reverse_sigmoid:beta=0.9,gamma=0.2": (0.981, 1.0, 1.63, 1.45, 0.681, 1.0, 3e-6),
    "mad:eps=0.95": (0.914, 0.925, 0.948, 0.949, 0.389, 0.742, 4.1e-5),
}


def right(fraction: float, n: int, wobble: float) -> int:
    return max(0, min(n, round(n * (fraction + wobble))))


def histogram(l1: float) -> list[int]:
    """Counts in 20 bins of [0, 2] round the mean; everything in one bin where the answers are not touched."""
    place = min(19, int(l1 * 10))
    if l1 < 0.1:
        return (
            [TEST if i == 0 else 0 for i in range(20)] if l1 == 0 else [1820, 90, 40, 20, 12, 8, 4, 3, 2, 1] + [0] * 10
        )
    shares = {place: 0.7, max(0, place - 1): 0.2, max(0, place - 2): 0.1}
    return [round(TEST * shares.get(i, 0)) for i in range(20)]


def row(defense: str, attack: str, budget: int, seed: int) -> Row:
    querying, learner, repeats = THIEVES[attack]
    short = attack.partition("+")[2].partition(":")[0] or attack
    wobble = random.Random(f"{attack} {budget} {seed}").uniform(-0.004, 0.004)
    accuracy = STOLEN[defense][short][BUDGETS.index(budget)]
    utility_metrics, top1, l1, l1_thief, ece, top1_thief, seconds = HONEST[defense]
    queries = budget // repeats * repeats
    return Row(
        cell=f"{defense} {attack} {budget} {seed}",
        target="mnist",
        defense=defense,
        attack=attack,
        querying=querying,
        learner=learner,
        budget=budget,
        seed=seed,
        **older({"attack": attack, "learner": learner}),
        queries=queries,
        paid=queries,
        price=queries * PRICE,
        clone=Clone(
            accuracy=wilson(right(accuracy, TEST, wobble), TEST),
            fidelity=wilson(right(accuracy + 0.004, TEST, wobble), TEST),
            fidelity_uniform=wilson(right(0.41, TEST, wobble), TEST),
            tv=wilson(right(0.11, TEST, wobble), TEST),
            tv_uniform=wilson(right(0.52, TEST, wobble), TEST),
            accuracy_ratio=wilson(right(accuracy / VICTIM, TEST, wobble), TEST),
        ),
        victim=Victim(wilson(right(VICTIM, TEST, 0), TEST), wilson(right(utility_metrics, TEST, 0), TEST)),
        utility=Utility(l1, l1_thief, histogram(l1), ece, 0.006, top1, top1_thief, True),
        seconds=Seconds(thief=1.2 + budget / 800, defense_per_query=seconds),
        flags=["same-architecture"],
        chance=0.114,
    )


def rows() -> list[Row]:
    return [row(d, a, b, s) for b in BUDGETS for s in SEEDS for d in STOLEN for a in THIEVES]


def shifted(row: Row) -> Row:
    """The row as if honest users had also been asked for under two shifts: mad costs them 1 point, 31 and 2."""
    lost = (5, 155, 10) if row.defense.startswith("mad") else (0, 0, 0)
    names = (UNSHIFTED, "thinner", "other writers")
    harms = [ShiftHarm(name, 500, 490, some, 0, 5, 5 + some) for name, some in zip(names, lost, strict=True)]
    return replace(row, utility=row.utility and replace(row.utility, shifted=harms))


def run(cells: list[Row] | None = None) -> Run:
    return Run(
        schema=SCHEMA,
        version="0.1.0",
        started="2026-11-03T09:12:44+00:00",
        command=(
            "gamekeeper audit mnist --attack knockoff --attack knockoff+labels --attack knockoff+averaged:n=3"
            " --defense none --defense label --defense reverse_sigmoid:beta=0.9,gamma=0.2 --defense mad:eps=0.95"
            " --budget 250 --budget 1000 --budget 2500 --seeds 2 --price 0.001 --out demo"
        ),
        cells=[cell.cell for cell in (rows() if cells is None else cells)],
        target={
            "name": "mnist",
            "kind": "torch",
            "answers": "probabilities",
            "classes": 10,
            "shape": [1, 28, 28],
            "sizes": {"test": 2000, "pool": 10000},
            "digest": "9f6a0c1be2d4",
            "price": PRICE,
        },
        assumptions=[
            "The thief knows the input's shape and range, the number of classes and that answers are probabilities.",
            "The thief holds 10,000 unlabelled rendered letters and no image like the model's own training data.",
            "The thief trains a network of the victim's own architecture.",
            "The thief does not know which defense stands in front of the model.",
        ],
        seeds=list(SEEDS),
        budgets=list(BUDGETS),
    )


def failed(cell: Row, error: str) -> Row:
    return replace(cell, clone=None, victim=None, utility=None, seconds=None, queries=0, paid=0, price=0.0, error=error)
