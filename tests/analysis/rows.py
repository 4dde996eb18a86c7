"""Rows for tests, with the numbers that matter as arguments."""

from collections.abc import Iterable
from dataclasses import replace

from gamekeeper.metrics import wilson
from gamekeeper.older_rows import older
from gamekeeper.results import Clone, Row, Seconds, Utility, Victim


def row(
    defense: str = "none",
    attack: str = "knockoff",
    budget: int = 1000,
    seed: int = 0,
    accuracy: float = 0.9,
    fidelity: float | None = None,
    clean: float = 0.98,
    defended: float = 0.98,
    kept_thief: float = 1.0,
    deterministic: bool = True,
    n: int = 2000,
    error: str | None = None,
) -> Row:
    name = f"{defense} {attack} {budget} {seed}"
    names = {
        "cell": name,
        "target": "mnist",
        "defense": defense,
        "attack": attack,
        "querying": attack.partition("@")[0].split("+")[0],
        "learner": next(
            (each for each in ("labels", "partialbayes", "inverse", "gce", "fixmatch", "shuffled") if each in attack),
            "soft",
        ),
        "budget": budget,
        "seed": seed,
    }
    names |= older(names | {"error": error})
    if error:
        return Row(**names, error=error)

    def rate(value: float):
        return wilson(round(value * n), n)

    return Row(
        **names,
        queries=budget,
        paid=budget,
        price=budget * 0.001,
        clone=Clone(rate(accuracy), rate(accuracy if fidelity is None else fidelity), None),
        victim=Victim(rate(clean), rate(defended)),
        utility=Utility(0.1, 0.2, [n] + [0] * 19, 0.02, 0.01, 1.0, kept_thief, deterministic),
        seconds=Seconds(3.0, 1e-5),
        chance=0.1,
    )


def twice(rows: Iterable[Row]) -> list[Row]:
    """The same rows with a second seed, which measured the same: with one seed nothing is clear."""
    every = list(rows)
    return every + [replace(one, cell=f"{one.cell}, again", seed=one.seed + 1) for one in every]
