"""Chooses the learners' defaults that no paper gives, on victims made for the purpose: some minutes of one core.

No evaluation's victim, pool or test set is used, and no label but those the two victims here are trained on. Both see
16x16 images: a LeNet trained on 3,000 clothes, asked about digits, and an MLP trained on 1,500 digits, asked about
blends of 600 others (training parts of the batteries). A thief has 600 answers. They are judged by how often their clone
gives the victim's own top class on 1,000 further inputs of their pool; a recovery of answers by its L1 to the victim's
own. docs/decisions/ says what was chosen.
"""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from gamekeeper.architectures import LeNet, Mlp, fresh
from gamekeeper.data import batteries
from gamekeeper.defenses.baselines import Flatten
from gamekeeper.defenses.mad.recipe import MAD
from gamekeeper.defenses.reverse_sigmoid import ReverseSigmoid
from gamekeeper.learners import inverse, lookup_table, robust
from gamekeeper.learners.linear_map import transition
from gamekeeper.learners.partial_bayes import PartialBayes
from gamekeeper.models.network import TorchModel
from gamekeeper.simplex import distance
from gamekeeper.targets.builtin import blends
from gamekeeper.tasks import Classify
from gamekeeper.training.fit import Fit, fit
from gamekeeper.types import Architecture, Box, Defense, Knowledge, Learner, Owner, Reply, Transfer

ASKED, HELD, SEED = 600, 1000, 0
BOX, TASK = Box((1, 16, 16)), Classify(10)
OWNERS_SEED = 7


@dataclass(frozen=True, eq=False)
class Case:
    """A victim and a thief's pool: `asked` inputs with answers, `held` ones for judging."""

    name: str
    victim: TorchModel
    owner: Owner
    pool: Tensor
    student: Architecture

    @property
    def asked(self) -> Tensor:
        return self.pool[:ASKED]

    @property
    def held(self) -> Tensor:
        return self.pool[ASKED : ASKED + HELD]

    def knows(self, *defenses: Defense) -> Knowledge:
        """The held-out inputs are not in the pool."""
        pool = torch.cat([self.asked, self.pool[ASKED + HELD :]])
        return Knowledge(pool, BOX, TASK, self.student, defenses=defenses)

    def answers(self, defense: Defense | None) -> Transfer:
        y = self.victim(self.asked).y
        if defense is not None:
            armed = defense.arm(self.victim, self.owner, OWNERS_SEED)
            y = armed.respond(self.asked, Reply(y), armed.fresh()).y
        return Transfer(self.asked, Reply(y), ASKED)

    def agreement(self, learner: Learner, transfer: Transfer) -> float:
        """In percent."""
        clone = learner(transfer, self.knows(), SEED)
        return 100 * float((clone(self.held).y.argmax(1) == self.victim(self.held).y.argmax(1)).float().mean())


@cache
def clothes() -> Case:
    data, pool = batteries.load("fashion-train"), small(batteries.load("mnist-train").x)
    return made("clothes", LeNet(BOX.shape, 10, 100), small(data.x[:3000]), data.y[:3000], pool)


@cache
def digits() -> Case:
    data = batteries.load("mnist-train")
    x = small(data.x)
    return made("digits", Mlp(BOX.shape, 10, (128, 64)), x[:1500], data.y[:1500], blends(x[1500:2100], 4000, 1))


def small(x: Tensor) -> Tensor:
    return F.adaptive_avg_pool2d(x, 16)


def made(name: str, architecture: Architecture, x: Tensor, truth: Tensor, pool: Tensor) -> Case:
    net = fit(fresh(architecture, 1), x, truth, F.cross_entropy, Fit(), 1)
    return Case(name, TorchModel(net, TASK), Owner(x, truth, BOX, architecture), pool, architecture)


@contextmanager
def changed(module: ModuleType, values: Mapping[str, Any]) -> Iterator[None]:
    """Module constants set for a while."""
    before = {name: getattr(module, name) for name in values}
    try:
        for name, value in values.items():
            setattr(module, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(module, name, value)


def flipped(transfer: Transfer) -> Transfer:
    """Labels of which a fifth is moved to another class."""
    generator = torch.Generator().manual_seed(3)
    wrong = torch.rand(ASKED, generator=generator) < 0.2
    moved = torch.where(wrong, torch.randint(1, 10, (ASKED,), generator=generator), 0)
    y = F.one_hot((transfer.reply.y.argmax(1) + moved) % 10, 10).float()
    return replace(transfer, reply=Reply(y))


def show(what: str, columns: Iterable[str], rows: Mapping[str, list[float]], digits: int = 1) -> None:
    print(f"\n{what}\n{'':24}" + "".join(f"{column:>20}" for column in columns))
    for name, values in rows.items():
        print(f"{name:24}" + "".join(f"{value:20.{digits}f}" for value in values), flush=True)


def warm_up() -> None:
    """Share of a training in which every answer is trusted."""
    case = digits()
    inputs = {
        "clean": case.answers(None),
        "20 % flipped": flipped(case.answers(None)),
        "MAD": case.answers(MAD(eps=0.95)),
    }
    rows: dict[str, list[float]] = {}
    for learner in (robust.Gce(), robust.SmallLoss()):
        for rounds in (0, 3, 10):
            with changed(robust, {"WARM_UP": rounds}):
                name = f"{type(learner).__name__} {rounds} of 30"
                rows[name] = [case.agreement(learner, transfer) for transfer in inputs.values()]
    show("warm-up: agreement, %", inputs, rows)


DEFENSES: Mapping[str, Defense] = {"MAD": MAD(eps=0.95), "reverse sigmoid": ReverseSigmoid(), "flatten": Flatten(0.95)}


def passes() -> None:
    """Training of the inverse, by L1 on a fifth of the thief's own table: nobody's answers are needed."""
    pairs = [own_pairs(digits(), defense) for defense in DEFENSES.values()]
    rows: dict[str, list[float]] = {}
    for epochs, rate in ((10, 0.01), (10, 0.1), (10, 0.3), (10, 1.0), (30, 0.1), (30, 0.3)):
        recipe = Fit(epochs=epochs, least_steps=1, rate=rate, decay=1e-4, batch=1024)
        with changed(inverse, {"PASSES": recipe}):
            rows[f"{epochs} passes, {rate}"] = [held_out(pair) for pair in pairs]
    show("inverse: L1 on held-out candidates", DEFENSES, rows, 3)


def own_pairs(case: Case, defense: Defense) -> lookup_table.LookupTable:
    y = case.answers(defense).reply.y
    known = lookup_table.arm(case.knows(defense), lookup_table.own_seed(0, 0))
    return known.table(case.asked, *lookup_table.candidates(y, 50_000, lookup_table.CONCENTRATION, 0))


def held_out(pairs: lookup_table.LookupTable) -> float:
    order = torch.randperm(len(pairs.clean), generator=torch.Generator().manual_seed(0))
    rest, held = order[10_000:], order[:10_000]
    found = inverse.undo(pairs.answered[held], lookup_table.LookupTable(pairs.clean[rest], pairs.answered[rest]), 0)
    return float(distance(found, pairs.clean[held], "l1").mean())


def sparsest() -> None:
    """How sharp the flat part of the table may be."""
    recipe = PartialBayes(20_000, guesses=10)
    rows: dict[str, list[float]] = {}
    for least in (0.01, 0.03, 0.1, 0.3):
        with changed(lookup_table, {"SPARSEST": least}):
            rows[f"{least}"] = [recovery(recipe, digits(), defense) for defense in DEFENSES.values()]
    show("sharpest flat candidates: L1", DEFENSES, rows, 3)


def guesses() -> None:
    rows = {f"{n}": [recovery(PartialBayes(20_000, guesses=n), digits(), MAD(eps=0.95))] for n in (1, 10, 50, 100)}
    show("guessed seeds of MAD's surrogate: L1", ["MAD"], rows, 3)


def recovery(recipe: PartialBayes, case: Case, defense: Defense) -> float:
    """L1 between recovered and clean answers, mean over answers."""
    found = recipe.recover(case.answers(defense), case.knows(defense), SEED)
    return float(distance(found, case.victim(case.asked).y, "l1").mean())


def anchors() -> None:
    """Answers mixed by a fixed map, with a little noise: L1 of what `unmixed` gives back."""
    rows: dict[str, list[float]] = {}
    for n in (1, 3, 10, 30):
        rows[f"{n}"] = [unmixing(case, n, noise) for case in (clothes(), digits()) for noise in (0.0, 0.02, 0.1)]
    show(
        "anchors: L1",
        [f"{case.name}, noise {noise}" for case in (clothes(), digits()) for noise in (0.0, 0.02, 0.1)],
        rows,
        3,
    )


def unmixing(case: Case, n: int, noise: float) -> float:
    generator = np.random.default_rng(0)
    matrix = 0.5 * torch.eye(10) + 0.5 * torch.from_numpy(generator.dirichlet(np.ones(10), 10)).float()
    clean = case.victim(case.asked).y
    mixed = clean @ matrix + noise * torch.from_numpy(generator.standard_normal(clean.shape)).float() / 10
    mixed = mixed.clamp(min=0) / mixed.clamp(min=0).sum(1, keepdim=True)
    return float(distance(transition(mixed, n).undo(mixed), clean, "l1").mean())


CHOICES: Mapping[str, Callable[[], None]] = {
    "anchors": anchors,
    "passes": passes,
    "sparsest": sparsest,
    "guesses": guesses,
    "warm-up": warm_up,
}


def main() -> None:
    torch.set_num_threads(1)
    for name in sys.argv[1:] or CHOICES:
        CHOICES[name]()


if __name__ == "__main__":
    main()
