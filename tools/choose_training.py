"""Chooses how long and how fast thieves' students train, and on which views, by answers that thieves hold out.

Without a word it trains every candidate and writes the cross-entropy of 1,000 held-out answers to results/training.json.
`look` then reads the test set once, for the tables; it chooses nothing.

Both built-in image models, three seeds. A thief asks some of their pool, learns from these answers, and is judged by the
answers to further inputs of the same pool: cross-entropy with the victim's posterior, or with its top class where the
learner reads nothing else. Behind a defense, held-out answers are undone first, as the learner undoes those learnt from. No
test set and no truth takes part. Every clone is kept in a folder, so that `look` trains nothing and a killed run resumes.
An hour and a half of one core; names of parts given run those alone.
"""

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from tempfile import gettempdir
from time import process_time
from typing import Any

import torch
from choose_defaults import changed
from records import write_records

from gamekeeper.data import batteries
from gamekeeper.defenses.baselines import Flatten
from gamekeeper.defenses.mad.recipe import MAD
from gamekeeper.facts import facts
from gamekeeper.learners.augmented import Affine, Augmented, Elastic, Erasing, View
from gamekeeper.learners.distil import Labels, Soft
from gamekeeper.learners.filters import Confident, Neighbours
from gamekeeper.learners.linear_map import Tempered, Unmixed, transition
from gamekeeper.learners.partial_bayes import PartialBayes
from gamekeeper.learners.robust import Gce, SmallLoss, Smoothed
from gamekeeper.learners.semi_supervised import S4L, FixMatch
from gamekeeper.simplex import label
from gamekeeper.targets.builtin import shipped
from gamekeeper.targets.target import Target
from gamekeeper.training import fit as loop
from gamekeeper.training.fit import POSTERIOR, Fit
from gamekeeper.training.student import DiskCloneCache
from gamekeeper.types import Defense, Knowledge, Learner, Model, Posterior, Reply, Transfer

FILE = Path(__file__).parent.parent / "results/training.json"
CLONES = Path(gettempdir()) / "gamekeeper-training-clones"
HELD, OWNERS_SEED = 1_000, 7
SETS, SEEDS = ("mnist", "fashion"), (0, 1, 2)

SHORT = Fit(epochs=30, least_steps=300, rate=0.05)
"""What every learner had before this choice."""
LENGTHS: Mapping[str, Fit] = {
    "short": SHORT,
    "constant": replace(SHORT, rate=0.01),
    "constant, 0.05": SHORT,
    "at least 1,000 steps": Fit(epochs=30, least_steps=1_000, rate=0.1),
    "double": Fit(epochs=60, least_steps=600, rate=0.1),
    "45 epochs, at least 1,000 steps": Fit(epochs=45, least_steps=1_000, rate=0.1),
    "fourfold": Fit(epochs=120, least_steps=1_200, rate=0.1),
}
"""The constant ones keep their rate from the first step to the last, as ART's thieves do."""
BUDGETS: Mapping[str, Sequence[int]] = {
    "45 epochs, at least 1,000 steps": (2_500,),
    "constant, 0.05": (250, 1_000),
    "fourfold": (250, 1_000),
}
"""For the others all three. With 250 and 1,000 answers, 45 epochs are no more than the 1,000 steps tried as such."""


@dataclass(frozen=True)
class Trial:
    """One training to try: a learner, and the name of what is varied."""

    part: str
    name: str
    learner: Learner
    defense: Defense | None = None


def trials(part: str) -> Iterator[tuple[Trial, Sequence[int]]]:
    """With the budgets at which each is tried: the longest only where their cost is bearable."""
    if part in POOLS:
        yield from ((Trial(part, name, learner), (POOLS[part],)) for name, learner in SEMI.items())
        return
    if part in OTHERS:
        learner, defense, lengths = OTHERS[part]
        yield from ((Trial(part, name, learner(LONGER[name]), defense), (500,)) for name in lengths)
        if part in SEEN_ANEW:
            yield Trial(part, "half affine", Augmented(learner(LONGER[lengths[0]]), VIEWS["half affine"])), (500,)
        return
    for name, how in LENGTHS.items():
        if part == "soft":
            yield Trial(part, name, Soft(how)), BUDGETS.get(name, (250, 1_000, 2_500))
        elif part == "labels" and name in ("short", "double"):
            yield Trial(part, name, Labels(how)), (250, 1_000)
    for name, views in VIEWS.items():
        if part == "labels, views":
            yield Trial(part, name, Augmented(Labels(SHORT), views)), (250, 1_000)
        elif part == "soft, views" and name == "half affine":
            yield Trial(part, name, Augmented(Soft(), views)), (250, 1_000)


TWICE = Fit(epochs=30, least_steps=600, rate=0.1)
SEMI: Mapping[str, Learner] = {
    "labels": Labels(SHORT),
    "soft": Soft(),
    "fixmatch, as it was": FixMatch(views="paper", fit=Fit(epochs=15, batch=32)),
    "fixmatch": FixMatch(),
    "fixmatch, soft": FixMatch("soft"),
    "labels, same views and steps": Augmented(Labels(FixMatch().fit), (Affine(0.5),)),
    "s4l, as it was": S4L(fit=SHORT),
    "s4l, longer": S4L(fit=TWICE),
    "s4l, soft": S4L("soft", fit=TWICE),
}
ON_CLOTHES = ("labels", "soft", "fixmatch", "labels, same views and steps")
"""Those tried on both sets; the others on digits alone."""
POOLS: Mapping[str, int] = {"letters": 500, "own kind": 100}
"""Judged on two pools: letters, 500 answers; and images of the victim's own kind, 100 answers, as in the papers."""


VIEWS: Mapping[str, tuple[View, ...]] = {
    "affine": (Affine(),), "half affine": (Affine(0.5),), "elastic": (Elastic(),), "erasing": (Erasing(),),
}  # fmt: skip
LONGER: Mapping[str, Fit] = {"short": SHORT, "long": POSTERIOR}
OTHERS: Mapping[str, tuple[Callable[[Fit], Learner], Defense | None, Sequence[str]]] = {
    "labels, 500": (Labels, None, ("short", "long")),
    "gce": (lambda fit: Gce(fit=fit), None, ("short", "long")),
    "smoothed": (lambda fit: Smoothed(fit=fit), None, ("short", "long")),
    "small_loss": (lambda fit: SmallLoss(fit=fit), None, ("short", "long")),
    "neighbours": (lambda fit: Neighbours(fit=fit), None, ("long", "short")),
    "confident": (lambda fit: Confident(fit=fit), None, ("long", "short")),
    "tempered": (lambda fit: Tempered(fit=fit), Flatten(), ("long", "short")),
    "unmixed": (lambda fit: Unmixed(fit=fit), Flatten(), ("long", "short")),
    "partial_bayes": (lambda fit: PartialBayes(fit=fit), MAD(), ("long", "short")),
}
"""Learners with a training of their own: which lengths are tried, the one they had first, and behind what. Without
a defense to undo, the last three learn what the soft learner learns."""
SEEN_ANEW = ("labels, 500", "gce")
"""Of those, whose images are also tried turned a little in every step."""
PARTS = ("soft", "labels", "labels, views", "soft, views", *POOLS, *OTHERS)


@cache
def case(
    name: str, budget: int, seed: int, own: bool = False, defense: Defense | None = None
) -> tuple[Target, Transfer, Transfer]:
    """The model, the answers learnt from, and the held-out ones, as the defense gives them."""
    target = shipped(name)
    if own:
        target = replace(target, pool=batteries.load(f"{name}-train"))
    order = torch.randperm(len(target.pool.x), generator=torch.Generator().manual_seed(seed))
    asked, held = (target.pool.x[rows] for rows in (order[:budget], order[budget : budget + HELD]))
    return (
        target,
        Transfer(asked, answers(target, asked, defense), budget),
        Transfer(held, answers(target, held, defense), budget),
    )


def answers(target: Target, x: torch.Tensor, defense: Defense | None) -> Reply:
    reply = target.victim(x)
    if defense is None:
        return reply
    armed = defense.arm(target.victim, target.owner, OWNERS_SEED)
    return armed.respond(x, reply, armed.fresh())


def case_of(trial: Trial, name: str, budget: int, seed: int) -> tuple[Target, Transfer, Transfer]:
    return case(name, budget, seed, trial.part == "own kind", trial.defense)


def knowledge(trial: Trial, name: str, budget: int, seed: int) -> Knowledge:
    """The held-out inputs are not in this thief's pool."""
    target, _, held = case_of(trial, name, budget, seed)
    constant = trial.name.startswith("constant")
    # a constant rate is no part of a Fit, so its clones need a folder of their own
    clones = DiskCloneCache(CLONES / ("constant" if constant else "cycle"))
    known = () if trial.defense is None else (trial.defense,)
    pool = without(target.pool.x, held.x)
    return Knowledge(pool, target.box, target.victim.task, target.student, clones=clones, defenses=known)


def clone(trial: Trial, name: str, budget: int, seed: int) -> Model:
    """Trained, or read from CLONES."""
    _, asked, _ = case_of(trial, name, budget, seed)
    constant = trial.name.startswith("constant")
    with changed(loop, {"one_cycle": lambda number, steps, peak: peak}) if constant else nullcontext():
        return trial.learner(asked, knowledge(trial, name, budget, seed), seed)


def believed(trial: Trial, name: str, budget: int, seed: int) -> Posterior:
    """The held-out answers as this learner reads them: a top class, or an answer whose defense is undone."""
    _, asked, held = case_of(trial, name, budget, seed)
    if trial.part == "partial_bayes":
        return PartialBayes().recover(held, knowledge(trial, name, budget, seed), seed)
    if trial.part == "unmixed":
        return transition(asked.reply.y, Unmixed().anchors).undo(held.reply.y)
    # a power is chosen by the top class alone, and flattened answers keep it
    top = facts(trial.learner).reads == "label" or trial.part == "tempered"
    return label(held.reply.y) if top else held.reply.y


def without(pool: torch.Tensor, held: torch.Tensor) -> torch.Tensor:
    """The pool's inputs that are not held out."""
    taken = {row.numpy().tobytes() for row in held}
    return pool[[row.numpy().tobytes() not in taken for row in pool]]


def judged(trial: Trial, name: str, budget: int, seed: int) -> dict[str, Any]:
    """One training's record."""
    start = process_time()
    model = clone(trial, name, budget, seed)
    seconds = process_time() - start
    y = believed(trial, name, budget, seed)
    out = model(case_of(trial, name, budget, seed)[2].x).y.double()
    return {
        **key(trial, name, budget, seed), "learner": repr(trial.learner), "seconds": round(seconds, 2),
        "cross_entropy": round(float(-(y * out.clamp(min=1e-12).log()).sum(1).mean()), 5),
        "agreement": float((out.argmax(1) == y.argmax(1)).double().mean()),
    }  # fmt: skip


def key(trial: Trial, name: str, budget: int, seed: int) -> dict[str, Any]:
    return {"part": trial.part, "name": trial.name, "set": name, "budget": budget, "seed": seed}


def cells(parts: Sequence[str]) -> Iterator[tuple[Trial, str, int, int]]:
    for part in parts:
        for name in SETS:
            for seed in SEEDS:
                for trial, budgets in trials(part):
                    if part in POOLS and name == "fashion" and trial.name not in ON_CLOTHES:
                        continue
                    for budget in budgets:
                        yield trial, name, budget, seed


def choose(parts: Sequence[str]) -> None:
    """Adds what FILE does not have yet, one record at a time."""
    found = json.loads(FILE.read_text()) if FILE.exists() else {"records": []}
    known = [{name: record[name] for name in ("part", "name", "set", "budget", "seed")} for record in found["records"]]
    for cell in cells(parts):
        if key(*cell) in known:
            continue
        record = judged(*cell)
        print(record, flush=True)
        found["records"].append(record)
        write_records(FILE, {"seeds": list(SEEDS), "held": HELD}, found["records"])


def look() -> None:
    """Test accuracy of clones that are already trained, into the same records."""
    found = json.loads(FILE.read_text())
    for cell in cells(PARTS):
        record = next((one for one in found["records"] if key(*cell).items() <= one.items()), None)
        if record is not None and "test" not in record:
            test = case_of(*cell)[0].test
            record["test"] = float((clone(*cell)(test.x).y.argmax(1) == test.y).double().mean())
            write_records(FILE, {"seeds": list(SEEDS), "held": HELD}, found["records"])


def main() -> None:
    torch.set_num_threads(1)
    if sys.argv[1:2] == ["look"]:
        look()
    else:
        choose(sys.argv[1:] or PARTS)


if __name__ == "__main__":
    main()
