"""Ownership: claims held against copies after removals, against innocent models, and false claims against those.

A cell is one claim and what was done; a row holds counts alone, so that verdicts of any level and any set of gates can be
computed from it later (analysis/ownership.py). The panel that a suspect is compared with is about as accurate as it is.
"""

import functools
import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from jaxtyping import Bool
from torch import Tensor

from gamekeeper.data.dataset import Dataset
from gamekeeper.data.splits import row_keys
from gamekeeper.engine.backends import Work
from gamekeeper.engine.dispute import Dispute, DisputeSetting, Parties, dispute, innocents, parties, relearnt
from gamekeeper.engine.failure import WORKER_DIED, failure
from gamekeeper.models.network import TorchModel
from gamekeeper.ownership.claim import Claim
from gamekeeper.ownership.evidence import agreement, variety
from gamekeeper.ownership.panel import Independent, architectures, matched, recipes
from gamekeeper.ownership.procedures import hits
from gamekeeper.ownership.removals.apart import applied
from gamekeeper.ownership_methods import parse_forgery, parse_removal
from gamekeeper.ownership_rows import OwnershipRow, RowKind, SuspectCounts
from gamekeeper.training.student import DiskCloneCache
from gamekeeper.types import Model
from gamekeeper.version import __version__

FORMAT = "0.2.0"
CLONES = "clones"
LEARNING = "knockoff"
"""What removals begin with that learn anew from answers."""


@dataclass(frozen=True)
class OwnershipCell:
    """kind, scheme, how: as in its row."""

    setting: DisputeSetting
    kind: RowKind
    scheme: str
    how: str
    seed: int
    digest: str = ""

    @property
    def id(self) -> str:
        given = self.setting
        about = (
            self.digest,
            given.queries,
            given.models,
            given.beacon,
            *given.kinds,
            self.kind,
            self.scheme,
            self.how,
            self.seed,
        )
        return hashlib.sha256(repr((FORMAT, about)).encode()).hexdigest()[:16]


def blank(cell: OwnershipCell, error: str | None = None) -> OwnershipRow:
    name = cell.setting.target.name
    return OwnershipRow(cell.id, __version__, name, cell.kind, cell.scheme, cell.how, cell.seed, error=error)


def work(folder: Path) -> Work[OwnershipCell, OwnershipRow]:
    return Work(partial(run_cell, folder=folder), lost, __name__)


def lost(cell: OwnershipCell) -> OwnershipRow:
    return blank(cell, WORKER_DIED)


def run_cell(cell: OwnershipCell, folder: Path) -> OwnershipRow:
    """Raises Halt if going on is pointless; any other failure is a row with its error."""
    rows = {"removal": removal_row, "innocent": innocent_row, "forgery": forgery_row}
    try:
        return rows[cell.kind](cell, folder / CLONES)
    except Exception as error:  # noqa: BLE001 - one broken cell must not cost the others
        return blank(cell, failure(error, cell.id, folder)[1])


def removal_row(cell: OwnershipCell, clones: Path) -> OwnershipRow:
    here, held = parties(cell.setting), dispute(cell.setting, cell.scheme, cell.seed, clones)
    start = time.process_time()
    suspect, inputs = without_mark(cell, here, held, clones)
    seconds = time.process_time() - start
    row = judged(cell, here, held.claim, {"the copy": suspect}, clones)
    before = counts("the copy before", held.claim, held.copy, here)
    own = int(hits(held.claim, held.own).sum())
    return replace(row, own=own, drawn=held.drawn, before=before, inputs=inputs, seconds=seconds)


def without_mark(cell: OwnershipCell, here: Parties, held: Dispute, clones: Path) -> tuple[Model, int]:
    """The copy after the removal, and how many inputs or queries that took."""
    if cell.how.split("+")[0].split(":")[0] == LEARNING:
        return relearnt(cell.how, here, held, cell.setting, cell.seed, clones), cell.setting.queries
    removal = parse_removal(cell.how)
    suspect = applied(removal, held.copy, here.remover, held.claim, {"the test set": here.test.x}, cell.seed)
    return suspect, len(here.remover.x)


def innocent_row(cell: OwnershipCell, clones: Path) -> OwnershipRow:
    here, held = parties(cell.setting), dispute(cell.setting, cell.scheme, cell.seed, clones)
    row = judged(cell, here, held.claim, innocents(cell.setting, cell.seed, clones), clones)
    return replace(row, own=int(hits(held.claim, held.own).sum()), drawn=held.drawn)


def forgery_row(cell: OwnershipCell, clones: Path) -> OwnershipRow:
    """Against innocent models, among them the target's own. The accuser's model hits whatever it claims."""
    here = parties(cell.setting)
    start = time.process_time()
    claim = parse_forgery(cell.how)(here.accuser, here.classes, cell.seed)
    seconds = time.process_time() - start
    suspects = {"the target": here.target.victim, **innocents(cell.setting, cell.seed, clones)}
    row = judged(cell, here, claim, suspects, clones)
    return replace(row, own=row.n, inputs=len(here.accuser.x), seconds=seconds)


def judged(
    cell: OwnershipCell, here: Parties, claim: Claim, suspects: Mapping[str, Model], clones: Path
) -> OwnershipRow:
    """The counts of every suspect and of the panel that it is held against."""
    each = [counts(name, claim, model, here) for name, model in suspects.items()]
    panels = [panel(cell.setting, here, claim, one.accuracy, clones) for one in each]
    y = claim.tensors["y"]
    return replace(
        blank(cell),
        classes=here.classes,
        n=len(y),
        suspects=tuple(each),
        panels=tuple(tuple(right.sum(1).tolist()) for right, _ in panels),
        accuracies=tuple(measured for _, measured in panels),
        agreements=tuple(agreement(right) for right, _ in panels),
        variety=variety(y, here.classes),
        facts=dict(claim.facts),
    )


def counts(name: str, claim: Claim, model: Model, here: Parties) -> SuspectCounts:
    return SuspectCounts(name, int(hits(claim, model).sum()), accuracy(model, here))


def accuracy(model: Model, here: Parties) -> float:
    return float((model(here.test.x).y.argmax(1) == here.test.y).double().mean())


@dataclass(frozen=True, eq=False)
class Court:
    """What the judge's models are trained on, and where they are stored."""

    here: Parties
    data: Dataset
    clones: DiskCloneCache


@functools.lru_cache(maxsize=8)
def court_of(setting: DisputeSetting, taken: frozenset[int], clones: Path) -> Court:
    """Without the training inputs at these places."""
    here = parties(setting)
    rows = torch.tensor([row for row in range(len(here.court)) if row not in taken])
    return Court(here, here.court.take(rows), DiskCloneCache(clones))


@functools.lru_cache(maxsize=256)
def independent(court: Court, recipe: Independent) -> tuple[TorchModel, float]:
    """A model of the panel, and its accuracy."""
    target = court.here.target
    model = recipe.trained(court.data, target.box, target.victim.task, court.clones)
    return model, accuracy(model, court.here)


def panel(
    setting: DisputeSetting, here: Parties, claim: Claim, wanted: float, clones: Path
) -> tuple[Bool[Tensor, "models n"], tuple[float, ...]]:
    """Which answers of each model of the judge's are as claimed, and its accuracy. wanted: the suspect's accuracy."""
    evidence = set(row_keys(claim.tensors["x"].float()))
    taken = frozenset(row for row, key in enumerate(row_keys(here.court.x)) if key in evidence)
    held = court_of(setting, taken, clones)
    kinds = setting.kinds or architectures(here.target.box.shape, here.classes)
    shares = matched(kinds, wanted, lambda recipe: independent(held, recipe)[1])
    each = [independent(held, recipe) for recipe in recipes(setting.models, shares)]
    return torch.stack([hits(claim, model) for model, _ in each]), tuple(right for _, right in each)
