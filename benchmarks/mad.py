"""What closed-form MAD costs, as ratios measured in one run.

A served answer (victim's forward pass, surrogate's forward pass, solve) over a plain answer (victim's forward pass),
with a surrogate of the victim's own size (MAD-argmax too) and with none (p = 1/k), at batch 1 and 64, for 10 and 100
classes; and the solve alone in microseconds a row. One thread; the kinds of answer take turns in every round, and each is the median
over rounds of the process's CPU time, so that other jobs on the machine disturb all alike. Takes about a minute.
"""

from collections.abc import Mapping

import torch

from benchmarks.timing import medians
from gamekeeper.architectures import LeNet, Vgg16, fresh
from gamekeeper.defenses.mad.recipe import MAD, mad, mad_uniform
from gamekeeper.models.network import TorchModel
from gamekeeper.service.service import Service
from gamekeeper.tasks import Classify
from gamekeeper.types import Architecture, Box, Owner

VICTIMS: Mapping[str, tuple[type, tuple[int, ...]]] = {"LeNet": (LeNet, (1, 28, 28)), "Vgg16": (Vgg16, (3, 32, 32))}
RECIPES = {
    "victim": MAD(surrogate="victim"),
    "uniform": MAD(surrogate="uniform"),
    "victim, MAD-argmax": MAD(surrogate="victim", keep_top1=True),
}
AIMS = {"victim": 2.2, "uniform": 1.15, "victim, MAD-argmax": 2.2}
SOLVE_AIM = 5.0
"""Microseconds a row at 10 classes, batch 64."""
SECONDS = 3.0
"""For each victim, number of classes and batch size; at least seven rounds are run whatever they take."""


def service_rows(victim: str, classes: int, batch: int) -> list[dict[str, object]]:
    """One row for each kind of surrogate: its ratio to a plain answer."""
    make, shape = VICTIMS[victim]
    architecture: Architecture = make(shape, classes)
    model = TorchModel(fresh(architecture, 0), Classify(classes))
    owner = Owner(torch.empty(0, *shape), torch.empty(0, dtype=torch.long), Box(shape), architecture)
    x = owner.box.uniform(batch, seed=0)
    services = {"plain": Service(model)}
    services |= {name: Service(model, [recipe.arm(model, owner, 0)]) for name, recipe in RECIPES.items()}
    spent = medians({name: lambda s=s: s.reply("alice", x) for name, s in services.items()}, SECONDS, rounds=7)
    return [
        {
            "victim": victim,
            "classes": classes,
            "batch": batch,
            "surrogate": name,
            "ratio": round(spent[name] / spent["plain"], 3),
            "aim": AIMS[name],
            "plain_us": round(1e6 * spent["plain"], 1),
            "served_us": round(1e6 * spent[name], 1),
        }
        for name in RECIPES
    ]


def solve_rows(classes: int, batch: int) -> list[dict[str, object]]:
    """Microseconds a row of the solve alone, posteriors given."""
    generator = torch.Generator().manual_seed(0)
    y = torch.softmax(3 * torch.randn(batch, classes, generator=generator), 1)
    p = torch.softmax(0.1 * torch.randn(batch, classes, generator=generator), 1)
    spent = medians({"victim": lambda: mad(y, p, 0.95), "uniform": lambda: mad_uniform(y, 0.95)}, 0.5)
    return [
        {
            "classes": classes,
            "batch": batch,
            "surrogate": name,
            "us_per_row": round(1e6 * seconds / batch, 3),
            "aim": SOLVE_AIM if (classes, batch) == (10, 64) else None,
        }
        for name, seconds in spent.items()
    ]


def measure() -> dict[str, object]:
    torch.set_num_threads(1)
    cases = [(victim, classes, batch) for victim in VICTIMS for classes in (10, 100) for batch in (1, 64)]
    return {
        "service": [row for case in cases for row in service_rows(*case)],
        "solve": [row for classes in (10, 100) for batch in (1, 64) for row in solve_rows(classes, batch)],
    }


def show(result: Mapping[str, object]) -> None:
    print("MAD service over a plain answer (one thread, CPU time, medians)")
    print(f"{'victim':8}{'classes':>8}{'batch':>7}  {'surrogate':20}{'ratio':>7}{'aim':>7}{'plain us':>12}")
    for row in result["service"]:  # pyright: ignore
        line = "{victim:8}{classes:>8}{batch:>7}  {surrogate:20}{ratio:>7.2f}{aim:>7}{plain_us:>12}"
        print(line.format(**row), "" if row["ratio"] <= row["aim"] else "  above the aim")
    print("solve alone, microseconds a row")
    for row in result["solve"]:  # pyright: ignore
        line = "{classes:>8} classes, batch {batch:>2}, {surrogate:8} {us_per_row:>8.2f}"
        print(line.format(**row), "" if row["aim"] is None else f"  (aim {row['aim']})")
