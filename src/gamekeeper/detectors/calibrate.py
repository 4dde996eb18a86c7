"""Calibration: limits from inputs or clients that are believed to be honest, and how far they can be trusted.

A watch that counts flags takes the binomial route, any other streams drawn from the benign inputs; real clients serve
every watch. Half of the benign inputs make the null and the other half only checks it: its disjoint clients are the
`Backing`.

Streams from a few thousand inputs are more alike than real clients: they share the accidents of this sample. So each is
drawn from a resample of it (bootstrap): the null then varies as clients of other samples of this size would.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from gamekeeper.detectors.features import taken
from gamekeeper.detectors.limits import LOOKS, Backing, BetaBinomial, Binomial, Kind, Limits, Null, Ranked, upper_bound
from gamekeeper.errors import Unsuited
from gamekeeper.types import Batch, Model, Reply, Scores, Watch

SHARE = 4
"""A stream holds at most one in SHARE of the inputs that streams are drawn from: larger ones would be much alike."""
CONCENTRATIONS = (math.inf, 1.0, 0.3)
"""Honest clients do not all ask about every class alike: a third of a null's clients have the class mix of the inputs, a third
one drawn from Dirichlet(1), a third one from Dirichlet(.3)."""
ENOUGH = 30
"""Honest clients from which on it is measured how much the flags of clients differ."""
MARGIN = 1.0
"""Streams drawn, as a multiple of the least number that can back an alpha."""


@runtime_checkable
class Counting(Protocol):
    """A watch whose score is how many of a client's queries it flagged, each by itself."""

    def flags(self, x: Batch, clean: Reply) -> Bool[Tensor, " n"]: ...


@runtime_checkable
class OwnNull(Protocol):
    """A watch that says which honest clients its null is made of; others have `Benign.resampled`."""

    def honest(self, benign: "Benign", n: int, length: int, seed: int) -> Iterator["Benign"]:
        """n clients of at most `length` of these inputs."""
        ...


Order = Callable[[int, torch.Generator], Int[Tensor, " r"]]
"""In which order a client goes through so many inputs."""


def distinct(m: int, generator: torch.Generator) -> Int[Tensor, " m"]:
    """None twice."""
    return torch.randperm(m, generator=generator)


def bootstrap(m: int, generator: torch.Generator) -> Int[Tensor, " m"]:
    """Independent draws from a population that is itself m draws of these inputs."""
    population = torch.randint(m, (m,), generator=generator)
    return population[torch.randint(m, (m,), generator=generator)]


@dataclass(frozen=True, eq=False)
class Benign:
    """Inputs like a user's that nothing was fitted on, with the victim's own answers to them."""

    victim: Model
    x: Batch
    clean: Reply

    @staticmethod
    def of(victim: Model, x: Batch) -> "Benign":
        return Benign(victim, x, victim(x))

    def __len__(self) -> int:
        return len(self.x)

    def rows(self, rows: Int[Tensor, " r"]) -> "Benign":
        """Some of the inputs, with the features behind their answers."""
        return Benign(self.victim, self.x[rows], taken(self.victim, self.clean, rows))

    def halves(self, seed: int) -> tuple["Benign", "Benign"]:
        """Two halves of the inputs, at random."""
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))
        return self.rows(order[: len(order) // 2]), self.rows(order[len(order) // 2 :])

    def resampled(self, n: int, length: int, seed: int) -> Iterator["Benign"]:
        """n clients as other samples of this size would have them; an input may come several times."""
        return self.streams(n, length, seed, CONCENTRATIONS, bootstrap)

    def streams(
        self, n: int, length: int, seed: int, concentrations: Sequence[float] = CONCENTRATIONS, order: Order = distinct
    ) -> Iterator["Benign"]:
        """n clients, each with at most `length` of these inputs; clients may share inputs.

        Their class mixes are drawn with each of the concentrations in turn. A client whose classes run out asks less.
        """
        generator = torch.Generator().manual_seed(seed)
        for place in range(n):
            yield self.mixed(length, concentrations[place % len(concentrations)], generator, order)

    def mixed(self, n: int, concentration: float, generator: torch.Generator, order: Order = distinct) -> "Benign":
        """A client whose class mix is drawn from a Dirichlet distribution; an infinite concentration leaves it as it is."""
        rows = order(len(self), generator)
        if math.isinf(concentration):
            return self.rows(rows[:n])
        top = self.clean.y.argmax(1)[rows]
        classes = top.unique()
        numbers = np.random.default_rng(int(torch.randint(2**31, (1,), generator=generator)))
        wanted = numbers.multinomial(n, numbers.dirichlet([concentration] * len(classes))).tolist()
        mine = torch.cat([rows[top == c][:m] for c, m in zip(classes, wanted, strict=True)])
        return self.rows(mine[torch.randperm(len(mine), generator=generator)])

    def clients(self, length: int) -> Iterator["Benign"]:
        """As many clients with `length` inputs as share none."""
        for start in range(0, len(self) - length + 1, length):
            yield self.rows(torch.arange(start, start + length))

    @property
    def by_class(self) -> bool:
        """Whether inputs of one class stand together, as in a sorted file: fewer than half the changes of class expected."""
        top = self.clean.y.argmax(1)
        changes = int((top[1:] != top[:-1]).sum())
        shares = torch.bincount(top).double() / max(1, len(top))
        return changes < 0.5 * (len(top) - 1) * float(1 - shares.square().sum())

    def scores(self, watch: Watch) -> Scores:
        """What the watch says of a client who sends these inputs in this order."""
        return watch.score(self.x, self.clean, math.nan, watch.fresh())


def at_looks(scores: Scores, looks: Sequence[int]) -> Float[Tensor, " looks"]:
    """The scores at each look; NaN where the client did not come so far."""
    places = torch.tensor(looks) - 1
    taken = scores[places.clamp(max=len(scores) - 1)] if len(scores) else torch.full((len(looks),), torch.nan)
    return torch.where(places < len(scores), taken.double(), torch.nan)


def limits_from_inputs(
    watch: Watch,
    benign: Benign,
    alpha: float,
    seed: int,
    looks: tuple[int, ...] = LOOKS,
    streams: int | None = None,
    others: Benign | None = None,
) -> Limits:
    """Limits of one watch from benign inputs.

    streams  how many to draw; None: as few as can back alpha
    others   inputs that only check the limits; None: half of `benign`, which then has no part in the null
    Raises Unsuited where the inputs are too few for any look.
    """
    ours, others = (benign, others) if others is not None else benign.halves(seed)
    if isinstance(watch, Counting):
        flagged = int(watch.flags(ours.x, ours.clean).sum())
        null: Null = Binomial(looks, upper_bound(flagged, len(ours)))
        return Limits(null, alpha, backing("binomial", watch, null, alpha, others, looks))
    reached = tuple(look for look in looks if look <= len(ours) // SHARE)
    if not reached:
        raise Unsuited(
            f"{type(watch).__name__} needs at least {2 * SHARE * looks[0]} benign inputs to be calibrated; got"
            f" {len(benign)}. Give more (--benign), or leave the detector out."
        )
    drawn = streams or math.ceil(MARGIN / alpha)
    draw = partial(watch.honest, ours) if isinstance(watch, OwnNull) else ours.resampled
    scores = [at_looks(each.scores(watch), reached) for each in draw(drawn, reached[-1], seed)]
    null = Ranked.of(torch.stack(scores), reached)
    return Limits(null, alpha, backing("streams", watch, null, alpha, others, reached))


def limits_at_looks(scores: Float[Tensor, "clients looks"], alpha: float, looks: tuple[int, ...]) -> Limits:
    """Limits of one watch from what real clients who are believed to be honest scored at each look.

    scores  NaN where a client did not come so far
    Raises Unsuited if they are too few for this alpha. All of them make the null, and back it: those who alarm are those
    who would if each were ranked among the others.
    """
    verdicts = (~scores.isnan()).any(0).nonzero()[:, 0].tolist()
    reached = looks[: max(verdicts, default=-1) + 1]  # a detector may give no verdict at the first looks
    if not reached:
        raise Unsuited(f"no client came as far as the first look, {looks[0]} queries. Give a longer log.")
    null = Ranked.of(scores[:, : len(reached)], reached)
    return Limits(null, alpha, Backing("clients", 0, len(scores), math.floor(alpha * len(scores))))


def limits_of_counts(scores: Float[Tensor, "clients looks"], alpha: float, looks: tuple[int, ...]) -> Limits:
    """The same for a watch that counts flags: from ENOUGH clients on, how much they differ is measured.

    The null is beta-binomial, or binomial where they differ no more than chance makes them. Its rate is an upper bound from
    as many independent queries as theirs are worth; how much they differ is an estimate, which few clients make rough.
    """
    seen = ~scores.isnan()
    reached = looks[: int(seen.any(0).sum())]
    last = seen.sum(1)
    if int((last > 0).sum()) < ENOUGH:
        return limits_at_looks(scores, alpha, looks)
    places = (last[last > 0] - 1)[:, None]
    flagged = scores[last > 0].double().gather(1, places)[:, 0]
    n = torch.tensor(looks, dtype=torch.float64)[places[:, 0]]
    rho = overdispersion(flagged, n)
    worth = n / (1 + (n - 1) * rho)
    share = float(flagged.sum() / n.sum())
    queries = int(worth.sum())
    rate = upper_bound(math.ceil(share * queries), queries)
    null: Null = BetaBinomial(reached, rate, rho) if 0 < rho < 1 and rate < 1 else Binomial(reached, rate)
    alarmed = sum(
        min(null.p(i, score) for i, score in enumerate(row[: len(reached)])) <= alpha for row in scores.tolist()
    )
    return Limits(null, alpha, Backing("clients", 0, len(flagged), alarmed))


def overdispersion(flagged: Float[Tensor, " c"], n: Float[Tensor, " c"]) -> float:
    """The correlation of two queries of one client, by moments: of sum (f - n q)^2 / q (1 - q); 0 at least.

    flagged  how many of the n queries of each client were
    """
    share = flagged.sum() / n.sum()
    if not 0 < share < 1:
        return 0.0
    squares = (flagged - n * share).square().sum() / (share * (1 - share))
    return min(1.0, max(0.0, float((squares - n.sum()) / (n * (n - 1)).sum())))


def backing(kind: Kind, watch: Watch, null: Null, alpha: float, others: Benign, looks: tuple[int, ...]) -> Backing:
    """How many disjoint clients of the longest look that the other inputs allow alarm."""
    length = max((look for look in looks if look <= len(others) // SHARE), default=len(others))
    clients = alarmed = 0
    for each in others.clients(length):
        scores = at_looks(each.scores(watch), null.looks).tolist()
        clients += 1
        alarmed += min(null.p(i, score) for i, score in enumerate(scores)) <= alpha
    return Backing(kind, len(others), clients, alarmed)
