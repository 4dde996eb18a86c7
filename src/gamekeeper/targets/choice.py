"""What the user chose to attack: a target and their changes to it. Plain values; each worker loads its own target."""

import hashlib
import math
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

from gamekeeper.data.dataset import Dataset
from gamekeeper.data.labels import listed
from gamekeeper.errors import BadConfig
from gamekeeper.explain import EXPLAINERS, ExplainerName
from gamekeeper.methods import parse_architecture
from gamekeeper.models.network import TorchModel
from gamekeeper.targets.builtin import AUXILIARY, BUILTIN, POOL, SEED, TABLES
from gamekeeper.targets.config import AuditTable, read_config
from gamekeeper.targets.drawings import own
from gamekeeper.targets.files.local import explained
from gamekeeper.targets.load import beside, load_target
from gamekeeper.targets.target import Target, supplied
from gamekeeper.types import Architecture, Box, Domain, Style

DRAWN = "drawn"
"""The pool of a thief who draws what the classes are called."""


@runtime_checkable
class Source(Protocol):
    """Plain values from which a target is loaded: they can be hashed and sent to other processes, a target cannot."""

    @property
    def name(self) -> str: ...
    def load(self) -> Target: ...


@dataclass(frozen=True)
class Choice:
    """name: a built-in target or the path of a TOML file; every other field that is given replaces the target's own."""

    name: str
    pool: str | None = None
    student: str | None = None
    price: float | None = None
    explain: str | None = None
    auxiliary: str | None = None
    drawings: str | None = None

    def load(self) -> Target:
        """Raises BadConfig, UnsafeFile or Malformed as `load_target` does."""
        target = load_target(self.name)
        if self.drawings is not None:
            target = drawing(target, self.drawings)
        if self.pool is not None:
            pool = drawn_pool(target) if self.pool == DRAWN else beside("--pool", self.pool, Path(), target)
            digest = hashlib.sha256(f"{target.digest} {pool.digest()}".encode()).hexdigest()
            target = replace(target, pool=pool, digest=digest)
        if self.student is not None:
            student = parse_architecture(self.student, target.box.shape, target.victim.task.classes)
            target = replace(target, student=student)
        if self.price is not None:
            if not 0 <= self.price < math.inf:
                raise BadConfig(f"a price is money per query: a finite number, at least 0. Got {self.price:g}.")
            target = replace(target, price=self.price)
        if self.auxiliary is not None:
            inputs = beside("--auxiliary", self.battery(), Path(), target)
            target = supplied(target, "--auxiliary", self.auxiliary, inputs)
        return target if self.explain is None else explaining(target, self.explain)

    def battery(self) -> str:
        """The data that `auxiliary` names; related and unrelated stand for shipped data sets. Raises BadConfig."""
        assert self.auxiliary is not None
        if self.auxiliary not in ("related", "unrelated"):
            return self.auxiliary
        if self.name not in AUXILIARY:
            raise BadConfig(
                f"--auxiliary {self.auxiliary}: which inputs are {self.auxiliary} to the thief's own is known for"
                f" {' and '.join(AUXILIARY)} only. Give a data file or the name of a shipped set."
            )
        return AUXILIARY[self.name][self.auxiliary]


def drawing(target: Target, name: str) -> Target:
    """The target with a thief who draws in the user's own way. It changes the digest. Raises BadConfig."""
    drawings = own(name)
    digest = hashlib.sha256(f"{target.digest} drawings {name} {drawings!r}".encode()).hexdigest()
    return replace(target, drawings=drawings, drawn_by=repr(drawings), digest=digest)


def drawn_pool(target: Target) -> Dataset:
    """Drawings of the target's classes as a pool, with the classes they were drawn as. Raises BadConfig if there are none."""
    if target.drawings is None:
        raise BadConfig(
            f"--pool {DRAWN} needs drawings of the classes, and {target.name} has none. Name a folder with a sub-folder of"
            " images for each class in the target file (thief.drawings), or give another pool."
        )
    return Dataset(*target.drawings(POOL, SEED))


def explaining(target: Target, name: str) -> Target:
    """The target, selling that explainer's attribution maps. Raises BadConfig unless it is a network that has them."""
    if name not in EXPLAINERS:
        raise BadConfig(f"there is no explainer '{name}'. Known: {', '.join(EXPLAINERS)}.")
    if not isinstance(target.victim, TorchModel):
        raise BadConfig(
            f"explain = {name}: maps need the gradients of a network, so a target of kind torch; {target.name} is"
            f" {target.kind}."
        )
    explain = cast(ExplainerName, name)
    if target.explain == explain:
        return target
    digest = hashlib.sha256(f"{target.digest} explain {explain}".encode()).hexdigest()
    victim = explained(target.victim, explain, target.box)
    return replace(target, victim=victim, digest=digest, explain=explain)


def is_target_file(name: str) -> bool:
    """Whether `load_target` would read a file of that name."""
    return name not in BUILTIN and (name.endswith(".toml") or Path(name).is_file())


def audit_table(name: str) -> AuditTable:
    """The [audit] table of a target file; empty for a built-in target."""
    return read_config(Path(name)).audit if is_target_file(name) else AuditTable()


def is_table(name: str) -> bool:
    """Whether one input is a row of numbers; told without loading the target."""
    return len(read_config(Path(name)).input.shape) == 1 if is_target_file(name) else name in TABLES


def shares_architecture(target: Target, student: Architecture) -> bool:
    """Whether the clone is known to have the victim's architecture; this is unknown for kinds other than torch."""
    return target.kind == "torch" and repr(student) == repr(target.owner.architecture)


def header_entry(target: Target) -> dict[str, Any]:
    """The target as described in the header of a run."""
    return {
        "name": target.name,
        "kind": target.kind,
        "answers": target.answers,
        **({} if target.explain is None else {"explain": target.explain}),
        **({} if target.auxiliary is None else {"auxiliary": target.auxiliary}),
        "classes": target.victim.task.classes,
        "shape": list(target.box.shape),
        **(
            {"range": [target.box.low, target.box.high]} if isinstance(target.box, Box) else {"domain": str(target.box)}
        ),
        **target.schema.header_entry(),
        "sizes": {
            "test": len(target.test),
            "pool": len(target.pool),
            "owner": len(target.owner.x),
            **({} if target.owner.natural is None else {"natural": len(target.owner.natural)}),
        },
        "digest": target.digest,
        "price": target.price,
        **({"currency": target.currency} if target.currency else {}),
        "remote": target.remote,
    }


def public(domain: Domain) -> str:
    """What everybody knows about an input, as part of a sentence."""
    if isinstance(domain, Box):
        return f"shape {domain.shape} and range [{domain.low:g}, {domain.high:g}]"
    return f"shape {domain.shape} and domain {domain}"


def in_words(style: Style) -> str:
    """What everybody knows of the strokes, as part of a sentence."""
    (thin, thick), (slant, spread) = style.pen, style.slant
    middle = "centred by mass" if style.centred else "centred"
    return f"strokes {thin:g} to {thick:g} pixels wide, slanted by {slant:g} ± {spread:g}, up to {style.size:g} long, {middle}"


def untested_classes(target: Target) -> list[int]:
    """Classes of which the test set has no example."""
    truth, classes = target.test.y, target.victim.task.classes
    return [] if truth is None else sorted(set(range(classes)) - set(truth.tolist()))


def untested(target: Target) -> list[str]:
    """In a sentence, what the test set says nothing about."""
    absent, names = untested_classes(target), target.schema.names
    if not absent:
        return []
    spelled = listed([names[each] if names else str(each) for each in absent])
    which = (
        f"class {spelled}" if len(absent) == 1 else f"{len(absent)} of {target.victim.task.classes} classes ({spelled})"
    )
    return [
        f"The test set has no example of {which}: accuracies, and what a defense costs, are over the other classes alone. If"
        " such inputs are in the thief's pool, they are stolen unmeasured."
    ]


def assumptions(target: Target, student: Architecture, informed: Collection[str] = ()) -> list[str]:
    """What the thief was assumed to know, a sentence each. `informed`: the thieves that know the defense they face."""
    same = shares_architecture(target, student)
    seeds = "none is like the victim's own"
    if target.seeds is not None:
        seeds = (
            f"{len(target.seeds):,} inputs like the victim's own are used only by attacks that start from such inputs"
        )
    maps = "" if target.explain is None else f", each with its {target.explain} map"
    network = f"The thief trains {student}" + (
        ", the victim's own architecture: the best case for the thief." if same else "."
    )
    held = (
        []
        if target.owner.ood is None
        else [
            f"The owner's auxiliary inputs are {len(target.owner.ood):,} ({target.auxiliary}); none is in the thief's"
            " pool."
        ]
    )
    public_facts = [
        *(
            ["A thief who draws knows what the classes are called, and how such inputs look in general."]
            if target.drawings is not None
            else []
        ),
        *(
            [f"A thief who restyles knows of the model's images: {in_words(target.style)}."]
            if target.style is not None
            else []
        ),
    ]
    return [
        f"The thief knows the input's {public(target.box)}, and that there are {target.victim.task.classes} classes.",
        f"The thief holds {len(target.pool):,} inputs of their own to query; {seeds}.",
        *public_facts,
        network,
        "The thief starts from fresh weights at every budget and keeps the network of the last training step.",
        f"The thief is a single client and sees only the answers{maps}: no timing, no errors, no other user's traffic.",
        "No thief in this run knew which defense protects the model."
        if not informed
        else f"Only {', '.join(informed)} knew which defense protects the model and how strong it is; no thief knew its"
        " seed or secret.",
        *held,
        *untested(target),
        *target.schema.notes,
    ]
