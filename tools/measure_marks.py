"""Measures what is left of a mark in a clone that is trained on answers, and writes it to results/marks.json.

    dawn          5,000 letters, 1 % marked, by input or by cell; every learner on the same answers, drawings for `agreeing`
    backdoor      a LeNet with 100 triggers of each kind, stolen with 2,500 letters
    own mistakes  of the shipped LeNet on natural digits, stolen with 2,500 letters

Ten LeNets on random halves of the owner's training digits are the panel; they have not seen a natural digit. One thread,
about a thousand seconds; what is recorded is not measured again. `tools/mark_docs.py` makes tables of it.
"""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from time import process_time
from typing import Any

import torch
from records import write_records
from torch.nn import functional as F

from gamekeeper.architectures import fresh
from gamekeeper.attacks.drawn import Drawn
from gamekeeper.attacks.knockoff import Knockoff
from gamekeeper.defenses.dawn import DAWN, Marks
from gamekeeper.learners.agreeing import Agreeing
from gamekeeper.learners.distil import Labels, Soft
from gamekeeper.learners.filters import Neighbours
from gamekeeper.learners.robust import Gce, SmallLoss
from gamekeeper.models.network import TorchModel
from gamekeeper.ownership.chance import binomial
from gamekeeper.ownership.claim import Claim
from gamekeeper.ownership.draws import Draw
from gamekeeper.ownership.nulls import OfPanel
from gamekeeper.ownership.procedures import inputs_digest
from gamekeeper.ownership.schemes.backdoor import Backdoor
from gamekeeper.ownership.schemes.dawn_claim import dawn_claim
from gamekeeper.ownership.schemes.own_mistakes import OwnMistakes
from gamekeeper.service.oracles import Metered
from gamekeeper.service.service import Service
from gamekeeper.targets.choice import Choice
from gamekeeper.targets.target import Target
from gamekeeper.tasks import Classify
from gamekeeper.training.fit import Fit, fit
from gamekeeper.types import Knowledge, Learner, Model, Oracle, Owner, Querying, Transfer

FILE = Path(__file__).parent.parent / "results/marks.json"
SEEDS, PANEL, THIEF, OTHER = (0, 1, 2), 10, "thief", "another client"
BUDGET, MANY = 2_500, 5_000
SHORT = Fit(epochs=10)
"""Of owners and the panel."""
BEACON = b"drawn for tools/measure_marks.py"
LEARNERS: Mapping[str, Learner] = {
    "soft": Soft(), "labels": Labels(), "gce": Gce(), "neighbours": Neighbours(), "small_loss": SmallLoss(),
    "agreeing": Agreeing(),
}  # fmt: skip
DAWNS = {mapping: DAWN(share=0.01, mapping=mapping) for mapping in ("inputs", "cells")}
Cell = tuple[str, str, str, int]
"""Part, kind of mark, learner, seed."""
WANTED: Sequence[Sequence[tuple[str, Sequence[str], Sequence[str]]]] = (
    (("dawn", ["inputs"], ["soft", "neighbours"]), ("backdoor", ["natural", "pixels"], ["soft"]), ("own mistakes", ["natural"], ["soft"])),
    (("dawn", ["cells"], ["neighbours"]), ("dawn", ["inputs"], ["labels", "gce"]), ("backdoor", ["natural", "pixels"], ["labels"])),
    (("backdoor", ["smooth", "mislabelled"], ["soft", "labels"]), ("own mistakes", ["natural"], ["labels"])),
    (("dawn", ["cells"], ["soft", "labels", "gce"]), ("dawn", ["inputs", "cells"], ["small_loss", "agreeing"])),
)  # fmt: skip
"""What matters most comes first, of all seeds: kinds and learners of each part."""


@cache
def target() -> Target:
    return Choice("mnist", auxiliary="unrelated").load()


@cache
def thief() -> Knowledge:
    one = target()
    return Knowledge(one.pool.x, one.box, one.victim.task, one.student, drawings=one.drawings)


def trained(owner: Owner, seed: int) -> TorchModel:
    net = fit(fresh(owner.architecture, seed), owner.x, owner.truth, F.cross_entropy, SHORT, seed)
    return TorchModel(net, Classify(10))


@cache
def panel() -> tuple[TorchModel, ...]:
    """Models that copied nothing, each on half of the owner's training digits."""
    owner, models = target().owner, []
    for seed in range(100, 100 + PANEL):
        half = torch.randperm(len(owner.x), generator=torch.Generator().manual_seed(seed))[: len(owner.x) // 2]
        models.append(trained(replace(owner, x=owner.x[half], truth=owner.truth[half]), seed))
    return tuple(models)


def accuracy(model: Oracle) -> float:
    test = target().test
    return float((model(test.x).y.argmax(1) == test.y).double().mean())


def hits(claim: Claim, model: Oracle) -> int:
    return int((model(claim.tensors["x"]).y.argmax(1) == claim.tensors["y"]).sum())


def against(claim: Claim, suspect: Model) -> dict[str, Any]:
    """A suspect's hits and the panel's; log10 p of the null of the panel, and of guessing one class of ten."""
    n, own, others = len(claim.tensors["y"]), hits(claim, suspect), [hits(claim, model) for model in panel()]
    return {
        "n": n, "hits": own, "panel": others, "log10_p": round(OfPanel().log10_p(own, n, others), 3),
        "naive": round(binomial(own, n, 0.1), 3), "accuracy": accuracy(suspect),
    }  # fmt: skip


def asked(oracle: Oracle, querying: Querying, budget: int, seed: int) -> Transfer:
    return querying(Metered(oracle, budget, target().box), thief(), seed)


@cache
def behind(mapping: str, seed: int, querying: Querying) -> tuple[Transfer, Claim, Claim, float]:
    """What a thief bought from behind DAWN, the claim on them, that on a client who asked the same, and the users' loss."""
    recipe = DAWNS[mapping]
    armed = recipe.arm(target().victim, target().owner, seed)
    service = Service(target().victim, (armed,))
    bought = asked(service.open(THIEF), querying, MANY, seed)
    asked(service.open(OTHER), querying, MANY, seed)
    claims = [dawn_claim(memory(service, client), recipe) for client in (THIEF, OTHER)]
    test = target().test.x
    changed = target().victim(test).y.argmax(1) != service.open("a user")(test).y.argmax(1)
    return bought, claims[0], claims[1], float(changed.double().mean())


def memory(service: Service, client: str) -> Marks:
    with service.clients.hold(client) as memories:
        return memories["defense 0"]


def dawn(mapping: str, learner: str, seed: int) -> dict[str, Any]:
    bought, claim, others, changed = behind(mapping, seed, Drawn() if learner == "agreeing" else Knockoff())
    clone = LEARNERS[learner](bought, thief(), seed)
    attributed = {"other n": len(others.tensors["y"]), "other hits": hits(others, clone)}
    return {**against(claim, clone), **attributed, "changed": changed, "victim": accuracy(target().victim)}


@cache
def backdoored(kind: str, seed: int) -> tuple[TorchModel, Claim, float]:
    owner, recipe = target().owner, Backdoor(kind)  # pyright: ignore[reportArgumentType]
    triggers, start = recipe.triggers(owner, seed), process_time()
    claim = recipe.claim(triggers, Draw(BEACON, inputs_digest(triggers)), 10)
    return trained(recipe.marked(owner, claim), seed), claim, process_time() - start


def backdoor(kind: str, learner: str, seed: int) -> dict[str, Any]:
    victim, claim, seconds = backdoored(kind, seed)
    clone = LEARNERS[learner](asked(victim, Knockoff(), BUDGET, seed), thief(), seed)
    return {
        **against(claim, clone), "own": hits(claim, victim), "victim": accuracy(victim), "training": round(seconds, 1),
    }  # fmt: skip


def own_mistakes(kind: str, learner: str, seed: int) -> dict[str, Any]:
    victim = target().victim
    claim = OwnMistakes()(victim, target().owner, seed)
    clone = LEARNERS[learner](asked(victim, Knockoff(), BUDGET, seed), thief(), seed)
    independent = [binomial(hits(claim, model), len(claim.tensors["y"]), 0.1) for model in panel()]
    known = {"own": hits(claim, victim), "inputs": claim.facts["inputs"], "victim": accuracy(victim)}
    panels = {
        "panel accuracy": [accuracy(model) for model in panel()],
        "panel naive": [round(p, 3) for p in independent],
    }
    return {**against(claim, clone), **known, **panels}


PARTS = {"dawn": dawn, "backdoor": backdoor, "own mistakes": own_mistakes}


def cells() -> Iterator[Cell]:
    """In the order in which they are wanted."""
    for wanted in WANTED:
        for seed in SEEDS:
            yield from (
                (part, kind, learner, seed)
                for part, kinds, learners in wanted
                for kind in kinds
                for learner in learners
            )


def main() -> None:
    """Runs what is not recorded yet; names of parts given run those alone."""
    torch.set_num_threads(1)
    records: list[dict[str, Any]] = json.loads(FILE.read_text())["records"] if FILE.exists() else []
    known = {(one["part"], one["kind"], one["learner"], one["seed"]) for one in records}
    for cell in cells():
        if cell in known or (sys.argv[1:] and cell[0] not in sys.argv[1:]):
            continue
        start = process_time()
        part, kind, learner, seed = cell
        record = {"part": part, "kind": kind, "learner": learner, "seed": seed, **PARTS[part](kind, learner, seed)}
        records.append(record | {"seconds": round(process_time() - start, 1)})
        print(records[-1], flush=True)
        write_records(FILE, {"seeds": list(SEEDS)}, records)


if __name__ == "__main__":
    main()
