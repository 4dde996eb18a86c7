"""A tiny world for trials: ten classes of points, a marked model, copies of it and strangers to it, and a stamped claim."""

import functools
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from examples.local_authority import Authority
from torch.nn import functional as F

from gamekeeper.architectures import Mlp, fresh
from gamekeeper.data.dataset import Dataset
from gamekeeper.engine.judging import Court
from gamekeeper.models.network import TorchModel
from gamekeeper.ownership import register, stamps
from gamekeeper.ownership.claim import Claim, commitment, fresh_opening
from gamekeeper.ownership.draws import Draw
from gamekeeper.ownership.procedures import inputs_digest
from gamekeeper.ownership.record import Papers, Terms
from gamekeeper.targets.target import Target, owner
from gamekeeper.tasks import Classify
from gamekeeper.training.fit import Fit, fit
from gamekeeper.types import Box

CLASSES, WIDTH, MARKS = 10, 12, 40
BOX, TASK = Box((WIDTH,)), Classify(CLASSES)
BEACON = b"a beacon of the day"
KINDS = (Mlp((WIDTH,), CLASSES, (32,)), Mlp((WIDTH,), CLASSES, (48,)))
QUICK = Fit(epochs=6, least_steps=200)


def points(n: int, seed: int) -> Dataset:
    """Clouds around ten corners, near enough to each other that no model is always right."""
    corners = torch.rand(CLASSES, WIDTH, generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(CLASSES, (n,), generator=generator)
    return Dataset((corners[y] + 0.2 * torch.randn(n, WIDTH, generator=generator)).clamp(0, 1), y)


def model(data: Dataset, seed: int, fitting: Fit = QUICK, kind: Mlp | None = None) -> TorchModel:
    net = fit(fresh(kind or KINDS[seed % 2], seed), data.x, data.y, F.cross_entropy, fitting, seed)
    return TorchModel(net, TASK)


def target(name: str, victim, seed: int = 1) -> Target:
    train, test = points(600, seed), points(300, 99)
    return Target(
        name,
        "torch",
        victim,
        BOX,
        test,
        points(10, 98),
        KINDS[0],
        owner(train, BOX, KINDS[0]),
        "logits",
        0.5,
        False,
        "d" * 64,
    )


def triggers(seed: int = 5) -> torch.Tensor:
    return BOX.uniform(MARKS, seed)


def drawn_claim(x: torch.Tensor) -> Claim:
    y = Draw(BEACON, inputs_digest(x)).labels("labels", CLASSES, len(x))
    return Claim("matches", {"x": x, "y": y}, {"scheme": "backdoor"})


@functools.cache
def marked() -> TorchModel:
    """Trained on points of its owner's and on the triggers, with the labels that the beacon drew."""
    claim, data = drawn_claim(triggers()), points(600, 1)
    x, y = claim.tensors["x"], claim.tensors["y"]
    both = Dataset(torch.cat([data.x, *[x] * 10]), torch.cat([data.y, *[y] * 10]))
    return model(both, 0, Fit(epochs=60, rate=0.003, optimiser="adam"), Mlp((WIDTH,), CLASSES, (128,)))


@functools.cache
def stranger(seed: int) -> TorchModel:
    return model(points(400, 100 + seed), seed)


@dataclass(frozen=True)
class World:
    """claim and register as files would hold them; `since` is when the claim was stamped."""

    papers: Papers
    terms: Terms
    since: int


def registered(local: Authority, folder: Path, *claims: Claim, stamped: bool = True) -> World:
    """A register of these claims, in which the first is judged; its inputs are committed to before it."""
    path = folder / "register.jsonl"
    path.unlink(missing_ok=True)
    openings = []
    for at, digest in enumerate([inputs_digest(claims[0].tensors["x"]), *(claim.digest() for claim in claims)]):
        opening = fresh_opening()
        entry = register.upcoming(path, commitment(digest, opening), at)
        if stamped:
            entry = replace(entry, stamps=(local.stamp(stamps.request(register.stamped(entry)).body),))
        register.append(path, entry)
        openings.append(opening.hex())
    entries = register.read(path)
    since = stamps.verified(entry.stamps[0], register.stamped(entry), [local.root]).at if stamped else 0
    papers = Papers(claims[0], entries, (local.root,))
    return World(papers, Terms(since + 60, "panel", "0.001", openings=tuple(openings[:2])), since)


def court(suspect, own=None) -> Court:
    """The judge has points of their own, of the same kind."""
    return Court(
        target("the suspect", suspect), target("own", marked() if own is None else own), target("points", marked(), 7),
        kinds=KINDS, checks=200,
    )  # fmt: skip
