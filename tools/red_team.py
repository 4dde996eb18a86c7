"""Attacks the default detectors of mnist and writes results/detect-red-team.json: `python tools/red_team.py BENIGN FOLDER`.

A thief who knows the detectors, their limits and their windows holds 150 of the owner's digits, printed letters and a
generator of drawings. They have no copy of the victim's features: drawings are screened with networks that they train
on drawings, whose classes they know, and on the answers to the 150 digits, which are among the queries. And honest
clients who are unlike the average. BENIGN and FOLDER, with its limits, are those of a `gamekeeper detect mnist`; seeds
that were measured are not measured again. `tools/red_team_docs.py` makes tables of it.
"""

import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from gamekeeper.attacks.warped import askew
from gamekeeper.detection_rows import ANY
from gamekeeper.detectors.calibrate import Benign
from gamekeeper.detectors.features import Features, observed, tap
from gamekeeper.detectors.links import Linking
from gamekeeper.detectors.lookout import STANDING, Lookout
from gamekeeper.detectors.mmd import Fourier
from gamekeeper.detectors.nearby import floor
from gamekeeper.engine.detection import accuracy, counts, dealt, transcript, watched
from gamekeeper.engine.honest import natural
from gamekeeper.engine.run import thief_knowledge
from gamekeeper.engine.scene import Scene, Setting, calibrated, scene
from gamekeeper.method_text import DETECTORS
from gamekeeper.service.memory import Memories
from gamekeeper.targets.choice import Choice
from gamekeeper.targets.target import Target
from gamekeeper.training.fit import Fit
from gamekeeper.training.student import DiskCloneCache, train
from gamekeeper.types import Batch, Model
from gamekeeper.version import __version__

FILE = Path(__file__).parent.parent / "results/detect-red-team.json"
SEEDS, QUERIES, MINE, CLIENTS = (0, 1, 2), 500, 150, 20
CANDIDATES, LEARNT_FROM, FEATURES = 3_000, 3_000, 512
NEAREST, STRANGE = 5, 0.05
"""A drawing is dropped if its 5th nearest of half of the thief's digits is further than that of 95 % of the other half."""
Record = dict[str, Any]


# the thief


@dataclass(frozen=True, eq=False)
class Camp:
    """What the thief has before the first query that steals, and what they make of it."""

    target: Target
    seed: int
    clones: DiskCloneCache

    @property
    def mine(self) -> Batch:
        assert self.target.seeds is not None
        return self.target.seeds[:MINE]

    def drawings(self, n: int, seed: int) -> tuple[Batch, Int[Tensor, " n"]]:
        assert self.target.drawings is not None
        return self.target.drawings(n, seed)

    @cached_property
    def networks(self) -> tuple[Model, Model]:
        """Two that answer like the victim, as far as drawings and the answers to the thief's digits tell."""
        x, classes = self.drawings(LEARNT_FROM, 100 + self.seed)
        y, answers = F.one_hot(classes, 10).float(), self.target.victim(self.mine).y
        known = thief_knowledge(self.target, self.target.student, clones=self.clones)
        many = torch.cat([self.mine, *(self.turned(0.3, 7 + n) for n in range(6))]).repeat(2, 1, 1, 1)
        recipe = Fit(epochs=10)
        first = train(known, torch.cat([x, self.mine]), torch.cat([y, answers]), recipe, self.seed)
        some = slice(1_000)
        second = train(
            known, torch.cat([x[some], many]), torch.cat([y[some], answers.repeat(14, 1)]), recipe, self.seed
        )
        return observed(first), observed(second)

    def turned(self, strength: float, seed: int) -> Batch:
        """An affine copy of each of the thief's digits."""
        return askew(self.mine, strength, 0.0, generator(seed)).clamp(0, 1)

    def screened(self, n: int, have: Batch) -> Batch:
        """n drawings, as many of each class, that look to both networks like the thief's digits do, together with `have`."""
        x, classes = self.drawings(CANDIDATES, 200 + self.seed)
        views = [View.of(network, self.mine, place) for place, network in enumerate(self.networks)]
        usual = torch.stack([view.usual(x, self.seed) for view in views]).all(0)
        top = self.networks[-1](x).y.argmax(1)
        z, own, held = (torch.cat([view.z(each) for view in views], 1) for each in (x, self.mine, have))
        digits, had = (self.networks[-1](each).y.argmax(1) for each in (self.mine, have))
        chosen = [
            rows[herded(z[rows], own[digits == c].mean(0), n // 10, held[had == c].sum(0), int((had == c).sum()))]
            for c in range(10)
            for rows in ((usual & (top == classes) & (top == c)).nonzero()[:, 0],)
        ]
        return x[torch.cat(chosen)]

    # ways of asking

    def mixed(self) -> Batch:
        """The thief's digits and screened drawings."""
        return self.shuffled(torch.cat([self.mine, self.screened(QUERIES - MINE, self.mine)]))

    def chosen(self) -> Batch:
        return self.shuffled(self.screened(QUERIES, self.mine[:0]))

    def drawn(self) -> Batch:
        return self.shuffled(self.drawings(QUERIES, self.seed)[0])

    def copies(self) -> Batch:
        """The thief's digits and copies of them, turned and sheared a little."""
        return self.shuffled(torch.cat([self.mine, *(self.turned(0.3, 7 + n) for n in range(3))])[:QUERIES])

    def letters(self, n: int) -> Batch:
        return self.shuffled(self.target.pool.x)[:n]

    def walk(self) -> Batch:
        """From drawing to drawing in a straight line, each query nearer to the one before than a retry may be."""
        drawings, _ = self.drawings(QUERIES, self.seed)
        parts = [stepped(a, b, 0.98 * floor(self.target.box)) for a, b in zip(drawings, drawings[1:], strict=False)]
        return torch.cat([drawings[:1], *parts])[:QUERIES]

    def shuffled(self, x: Batch) -> Batch:
        return x[torch.randperm(len(x), generator=generator(self.seed))]


@dataclass(frozen=True, eq=False)
class View:
    """How a network of the thief's sees inputs: its last features, and random features of these as MMD has them."""

    network: Model
    fourier: Fourier
    own: Features

    @staticmethod
    def of(network: Model, mine: Batch, seed: int) -> "View":
        own = seen(network, mine)
        return View(network, Fourier.of(own, FEATURES, seed), own)

    def z(self, x: Batch) -> Float[Tensor, "n D"]:
        return self.fourier(seen(self.network, x))

    def usual(self, x: Batch, seed: int) -> Tensor:
        """Which inputs are as near to some of the thief's digits as other digits of theirs are."""
        order = torch.randperm(len(self.own), generator=generator(seed))
        bank, rest = self.own[order].chunk(2)
        far = torch.cdist(rest, bank).kthvalue(NEAREST, 1).values.quantile(1 - STRANGE)
        return torch.cdist(seen(self.network, x), bank).kthvalue(NEAREST, 1).values <= far


def seen(network: Model, x: Batch) -> Features:
    return tap(network, "the red team", "penultimate").behind(x, network(x)).double()


def herded(
    z: Float[Tensor, "m D"], aim: Float[Tensor, " D"], n: int, total: Float[Tensor, " D"], had: int
) -> Int[Tensor, " n"]:
    """n rows, one after the other, each bringing the mean of all nearest to the aim (kernel herding)."""
    squares, rows = z.square().sum(1), list[int]()
    for number in range(had + 1, had + 1 + min(n, len(z))):
        cost = squares + 2 * z @ (total - number * aim)
        cost[rows] = torch.inf
        rows.append(int(cost.argmin()))
        total = total + z[rows[-1]]
    return torch.tensor(rows, dtype=torch.long)


def stepped(a: Tensor, b: Tensor, most: float) -> Batch:
    """Points from a to b, no two neighbours further apart than `most`, without a."""
    steps = math.ceil(float((b - a).norm()) / most)
    return torch.stack([torch.lerp(a, b, k / steps) for k in range(1, steps + 1)])


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


Asking = Callable[[Camp], Batch]
THIEVES: tuple[tuple[str, Asking, tuple[int, ...]], ...] = (
    ("digits of their own and screened drawings", Camp.mixed, (1, 5, 10)),
    ("screened drawings", Camp.chosen, (1, 10)),
    ("drawings", Camp.drawn, (1, 10)),
    ("digits of their own and turned copies", Camp.copies, (1, 4)),
    ("letters, 19 from each account", lambda camp: camp.letters(380), (20,)),
    ("a walk between drawings in steps below the floor of repeats", Camp.walk, (1,)),
)


def thieves(here: Scene, lookout: Lookout, seed: int, clones: DiskCloneCache) -> Iterator[Record]:
    camp = Camp(here.target, seed, clones)
    for who, asks, many in THIEVES:
        yield from tried(who, asks(camp), many, here, lookout, seed, clones)
    steps = transcript("jbda", QUERIES, seed, here.setting, here).x
    yield from tried("JBDA", steps, (1, 4), here, lookout, seed, clones)


def tried(
    who: str, x: Batch, many: tuple[int, ...], here: Scene, lookout: Lookout, seed: int, clones: DiskCloneCache
) -> Iterator[Record]:
    """The same queries dealt to so many accounts."""
    queries = Benign.of(here.target.victim, x)
    whole = accuracy(here, queries, len(x), seed, clones)
    for accounts in many:
        traffic = dealt(queries, accounts)
        memories, delay = watched(traffic, lookout, accounts)
        links = Linking().arm(here.target.owner, here.setting.seed)
        for account in range(accounts):
            links.add(str(account), x[traffic.account == account])
        yield {
            "part": "thief", "who": who, "accounts": accounts, "seed": seed, "queries": len(x),
            "shown": sum(each[STANDING].seen + each[STANDING].before for each in memories if each.get(STANDING)),
            "first": min((query for query in delay.values() if query), default=0),
            "by": sorted(name for name, query in delay.items() if query),
            "linked": sum(map(len, links.groups())),
            "accuracy": round(whole, 4),
        }  # fmt: skip


# honest clients

Change = Callable[[Batch, int], Batch]


def resized(x: Batch, seed: int) -> Batch:
    """A form's cell with a margin: the digit at 24 of 28 pixels."""
    return F.pad(F.interpolate(x, size=(24, 24), mode="bilinear", antialias=True), (2,) * 4).clamp(0, 1)


def framed(x: Batch, seed: int) -> Batch:
    """The line around the cell is in the picture."""
    inside = torch.zeros_like(x)
    inside[..., 1:-1, 1:-1] = x[..., 1:-1, 1:-1]
    return inside + F.pad(torch.zeros_like(x[..., 1:-1, 1:-1]), (1,) * 4, value=1.0)


def soft(x: Batch, seed: int) -> Batch:
    """Enlarged and made small again on the way."""
    large = F.interpolate(x, scale_factor=2, mode="bilinear")
    return F.interpolate(large, size=x.shape[2:], mode="bilinear", antialias=True).clamp(0, 1)


def shifted(x: Batch, seed: int) -> Batch:
    """A test harness: the first 50 inputs, at ten places each."""
    ways = [(0, 0), (0, 1), (1, 0), (0, -1), (-1, 0), (1, 1), (1, -1), (-1, 1), (-1, -1), (0, 2)]
    return torch.cat([x[:50].roll(way, (2, 3)) for way in ways])


HONEST: Mapping[str, Change] = {
    "scanned form, the line around the cell in the picture": framed,
    "scanned form, a margin of two pixels": resized,
    "ten per cent dimmer": lambda x, seed: 0.9 * x,
    "a grey ground: 0.02 + 0.9 x": lambda x, seed: 0.02 + 0.9 * x,
    "another gamma: x^0.8": lambda x, seed: x.pow(0.8),
    "black and white": lambda x, seed: (x > 0.5).float(),
    "enlarged and made small again": soft,
    "a test harness: 50 digits at ten places each": shifted,
}


def two_classes(benign: Benign, n: int, seed: int) -> Benign:
    top, draw = benign.clean.y.argmax(1), generator(seed)
    rows = torch.isin(top, torch.randperm(10, generator=draw)[:2]).nonzero()[:, 0]
    return benign.rows(rows[torch.randperm(len(rows), generator=draw)[:n]])


def changed(change: Change, here: Scene, seed: int) -> Benign:
    x = natural(here.unseen, QUERIES, seed, here.target.box).x
    return Benign.of(here.target.victim, change(x, seed))


def honest(here: Scene, lookout: Lookout, seed: int) -> Iterator[Record]:
    draws: dict[str, Callable[[int], Benign]] = {"two classes only": partial(two_classes, here.unseen, QUERIES)}
    draws |= {who: partial(changed, change, here) for who, change in HONEST.items()}
    for who, draw in draws.items():
        clients: list[Memories] = []
        for place in range(CLIENTS):
            client, memories = draw(1_000 * seed + place), Memories()
            lookout.look(client.x, client.clean, math.nan, memories)
            clients.append(memories)
        alarmed = counts(lookout, clients)
        yield {"part": "honest", "who": who, "seed": seed, "clients": CLIENTS, "any": alarmed.pop(ANY), "by": alarmed}


def main(benign: str, folder: Path) -> None:
    torch.set_num_threads(1)
    here = scene(Setting(Choice("mnist"), tuple(DETECTORS), 0.001, benign))
    lookout = here.lookout(calibrated(here, folder, print))
    stamp = {"version": __version__, "date": f"{datetime.now(UTC):%Y-%m-%d}", "alpha": here.setting.alpha}
    before = json.loads(FILE.read_text()) if FILE.exists() else {"records": []}
    records: list[Record] = before["records"]
    for seed in SEEDS:
        for part, measure in (
            ("thief", partial(thieves, clones=DiskCloneCache(folder / "clones"))),
            ("honest", honest),
        ):
            if not any(one["seed"] == seed and one["part"] == part for one in records):
                records += list(measure(here, lookout, seed))
                FILE.write_text(json.dumps({**stamp, "seeds": SEEDS, "records": records}, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
