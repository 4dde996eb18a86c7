"""A target: what is attacked, with everything an audit needs to know about it."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson
import torch

from gamekeeper.data.dataset import Dataset
from gamekeeper.data.schema import Schema
from gamekeeper.errors import BadConfig, BadQuery
from gamekeeper.models.answers import Kind
from gamekeeper.targets.drawings import InUnits
from gamekeeper.types import Architecture, Batch, Defense, Domain, Drawings, Model, Owner, Ranges, Style
from gamekeeper.units import UnitBox, in_unit_box

ORDER = 20_260
"""Seed of the order in which an owner holds their inputs."""


@dataclass(frozen=True, eq=False)
class Target:
    """A victim and its surroundings. It cannot be sent to another process: each worker loads its own.

    kind     torch, export, onnx, sklearn or http
    test     labelled examples; used to evaluate, never seen by a thief
    pool     inputs that a thief may query, with the thief's own labels if any (not the victim's)
    seeds    a few inputs like the victim's own that a thief may have; None: the thief has none
    student  the network a thief trains
    owner    what a defender holds
    answers  what the victim itself publishes: probabilities, logits, labels or top-k
    price    money per query; currency: its name, "" if the owner did not say
    remote   somebody else's API: every answer costs money, whoever asks for it
    digest   SHA-256 of everything that changes an answer or a measurement
    batch    most inputs sent, and recorded, at a time
    explain  what makes the attribution maps sold with every answer; None: none are sold
    auxiliary  what `owner.ood` holds, as the user named it; None: nothing
    schema   what its data files have in common: columns, classes, units
    shifted  labelled inputs of honest users unlike the test set, by name; beside the shifts of `data/shifts.py`
    drawings  how a thief who knows what the classes are called draws or generates inputs; None: they cannot
    prior    how frequent each class is, as everybody knows; None: nobody said
    style    how strokes look in the victim's kind of images, as everybody knows; None: not known
    drawn_by  repr of the drawings that the digest stands for; "" if it stands for none
    """

    name: str
    kind: str
    victim: Model
    box: Domain
    test: Dataset
    pool: Dataset
    student: Architecture
    owner: Owner
    answers: Kind
    price: float
    remote: bool
    digest: str
    seeds: Batch | None = None
    batch: int = 256
    explain: str | None = None
    auxiliary: str | None = None
    schema: Schema = Schema()
    currency: str = ""
    drawings: Drawings | None = None
    prior: tuple[float, ...] | None = None
    style: Style | None = None
    shifted: Mapping[str, Dataset] = field(default_factory=dict[str, Dataset])
    drawn_by: str = ""

    def digest_behind(self, defenses: Sequence[Defense]) -> str:
        """The digest, with the natural inputs if one of the defenses calibrates on them: others answer alike without.

        And with the drawings, if they are others than those that the digest stands for: a result of a thief who draws is of one
        way to draw.
        """
        digest, natural = self.digest, self.owner.natural
        if self.drawings is not None and repr(self.drawings) != self.drawn_by:
            digest = hashlib.sha256(f"{digest} drawings {self.drawings!r}".encode()).hexdigest()
        if natural is None or not any(getattr(defense, "calibrates", False) for defense in defenses):
            return digest
        return hashlib.sha256(f"{digest} natural {Dataset(natural).digest()}".encode()).hexdigest()


def supplied(target: Target, key: str, name: str, auxiliary: Dataset) -> Target:
    """The target whose owner also holds these inputs of another kind. They change the digest. Raises BadConfig."""
    check_data(key, Dataset(auxiliary.x), target.box, None)
    inputs = Dataset(auxiliary.x)
    digest = hashlib.sha256(f"{target.digest} auxiliary {inputs.digest()}".encode()).hexdigest()
    return replace(target, owner=replace(target.owner, ood=inputs.x), digest=digest, auxiliary=name)


def boxed(target: Target) -> Target:
    """The target as a method made for a box sees it: columns with ranges of their own become the unit box."""
    if not isinstance(target.box, Ranges):
        return target
    units = UnitBox(target.box)
    return replace(
        target,
        victim=in_unit_box(target.victim, units),
        box=units.box,
        test=Dataset(units.inside(target.test.x), target.test.y),
        pool=Dataset(units.inside(target.pool.x), target.pool.y),
        owner=replace(
            target.owner,
            x=units.inside(target.owner.x),
            box=units.box,
            natural=None if target.owner.natural is None else units.inside(target.owner.natural),
        ),
        seeds=None if target.seeds is None else units.inside(target.seeds),
        drawings=None if target.drawings is None else InUnits(target.drawings, units),
    )


def check_data(key: str, held: Dataset, box: Domain, classes: int | None) -> None:
    """Raises BadConfig unless the inputs are in the domain and, for labelled data, the labels are in 0 to classes-1."""
    if tuple(held.x.shape[1:]) != box.shape:
        raise BadConfig(
            f"{key}: its inputs have shape {list(held.x.shape[1:])}, [input] declares {list(box.shape)}."
            " Correct `shape`, or give data of that shape."
        )
    try:
        box.check(held.x)
    except BadQuery as error:
        raise BadConfig(
            f"{key}: {error} Or correct `low` and `high` in [input], which are the model's range; if all files hold their"
            " numbers in another one, say in which: `stored = [0, 255]`."
        ) from error
    if classes is None:
        return
    if held.y is None:
        raise BadConfig(
            f"{key}: it needs labels and has none. Add them (gamekeeper/data/readers.py says where they belong)."
        )
    low, high = int(held.y.min()), int(held.y.max())
    if low < 0 or high >= classes:
        raise BadConfig(
            f"{key}: its labels run from {low} to {high}; `classes` allows 0 to {classes - 1}. If these numbers are names,"
            f' list the names of all classes in the model\'s order: classes = ["{low}", …, "{high}"].'
        )


def owner(train: Dataset | None, box: Domain, architecture: Architecture, natural: Dataset | None = None) -> Owner:
    """What the defender holds: no examples for somebody else's API, or without data.train.

    In random order: files are often sorted by class, and a defense may use only the first rows.
    """
    unseen, classes = (None, None) if natural is None else (natural.x, natural.y)
    x, truth = torch.empty((0, *box.shape)), torch.empty(0, dtype=torch.long)
    if train is not None and train.y is not None:
        order = torch.randperm(len(train.x), generator=torch.Generator().manual_seed(ORDER))
        x, truth = train.x[order], train.y[order]
    return Owner(x, truth, box, architecture, natural=unseen, natural_truth=classes)


def file_hash(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest(identity: Mapping[str, Any], task: str, data: Sequence[Dataset | None]) -> str:
    """SHA-256 over the identity and the data. The training set counts: defenses are armed with it."""
    whole = {**identity, "task": task, "data": [None if part is None else part.digest() for part in data]}
    return hashlib.sha256(orjson.dumps(whole, option=orjson.OPT_SORT_KEYS)).hexdigest()
