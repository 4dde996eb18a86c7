"""Links: accounts that send near-identical queries are taken for one client, and judged together.

Source      SEAT: Zhang, Chen, Wagner, "SEAT: similarity encoder by adversarial training for detecting model extraction
            attack queries" (AISec 2021), without its encoder
Equations   two queries are near if |p(x) - p(x')|^2 < t, with p the projection on 64 principal directions of the owner's
            inputs; two groups are linked if min(a, b) >= max(pairs, share * smaller, chance), with a and b how many
            different queries of each are near one of the other, and chance what two honest groups reach once in
            1,000 if they have as many pairs within 4 t; linked groups are one group, until nothing changes
Assumes     thieves split what belongs together over accounts: a query in one, a small step from it in another. Honest inputs
            that differ in five directions or more, within one class, too
Deviations  SEAT counts near pairs within an account and cancels it; here pairs across accounts link them. No encoder is
            trained. A query that is near one the account itself sent counts once. A query that more than `crowd`
            queries of others are near is popular and counts for nothing
Keeps       the last `rows` different queries of all accounts together, 64 numbers each, and at most 16 near ones for each;
            what is older is dropped, and an account without rows is forgotten. No answer is changed

The search is exact: every new query is compared with all rows. It says who sends alike queries, not who steals: honest users
of one application that sends much the same inputs (its demo pictures) are linked, too, if fewer than `crowd` of them do.
Thieves who send different natural inputs from each account are not linked.
"""

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from safetensors.torch import load, save
from scipy.stats import poisson
from torch import Tensor

from gamekeeper.detectors.projection import Projection
from gamekeeper.errors import BadConfig, Unsuited
from gamekeeper.needs import needs_inputs
from gamekeeper.types import Batch, Box, Mergeable, Owner, Watch

DIMS = 64
MOST = 3_000
"""Honest inputs whose pairs set the threshold; 4.5 million pairs."""
NEIGHBOURS = 16
"""Near queries that are remembered with a new one."""
BLOCK = 64
"""Queries that are compared with all rows at a time."""
CHANCE = 1e-3
"""How likely two honest groups of one kind are to have as many near queries as link them."""
DIMENSIONS = 5
"""Least number of directions in which honest inputs differ: within twice the distance are 2^5 times as many pairs."""
SLACK = 1e-5
"""Bound on what float32 loses of a squared distance, in parts of both rows' squared lengths."""
Pairs = tuple[Int[Tensor, " e"], Int[Tensor, " e"], Float[Tensor, " e"]]
"""The rows of each pair, and their squared distance."""
Wide = Callable[[Tensor, Tensor], int]
"""How many pairs of these rows and those are within twice the distance of near ones."""


def within(a: Float[Tensor, "n p"], b: Float[Tensor, "m p"], norms: Float[Tensor, " m"], reach: float) -> Pairs:
    """Every pair of rows whose squared distance is below `reach`, in order of the first; `norms` are b's squared.

    Rows are float32. The expanded square says quickly which pairs may be; it has lost the last digits where rows are near,
    so these few are computed again from their difference, in float64.
    """
    mine = a.square().sum(1)
    rough = torch.addmm(norms, a, b.T, alpha=-2)
    slack = SLACK * (float(mine.max()) + float(norms.max())) if len(a) and len(b) else 0.0
    new, old = (rough < (reach + slack - mine)[:, None]).nonzero(as_tuple=True)
    distance = (a[new].double() - b[old].double()).square().sum(1)
    sure = distance < reach
    return new[sure], old[sure], distance[sure]


def threshold(f: Float[Tensor, "n p"], closest: float) -> float:
    """The squared distance below which a share `closest` of the pairs of these honest inputs lie.

    With too few pairs for that, the smallest distance times the share of a pair that there should be: the number of pairs
    below t grows at least in proportion to t, in two dimensions or more.
    """
    distance = torch.pdist(f.double()).square()
    expected = closest * len(distance)
    if expected < 1:
        return expected * float(distance.min())
    return float(distance.kthvalue(int(expected)).values)


def needed(smaller: int, wide: int, pairs: int, share: float) -> int:
    """How many queries of each of two groups must be near one of the other.

    smaller  different queries of the smaller one
    wide     pairs across the two within twice the distance, from which chance is estimated: honest inputs of one kind,
             digits 1 say, are close to each other, but then far more of them are a little less close
    """
    by_chance = int(poisson.isf(CHANCE, wide / 2**DIMENSIONS)) + 1
    return max(pairs, by_chance, math.ceil(share * smaller - 1e-9))


@dataclass
class Links:
    """Near queries across accounts, as they come. Live; `add` every client's queries, then ask for the `groups`.

    near, repeat  squared distances below which two queries are near, and are the same
    total         different queries so far
    """

    onto: Projection
    near: float
    repeat: float
    recipe: "Linking"
    total: int = field(default=0, init=False)
    numbers: dict[str, int] = field(default_factory=dict[str, int], init=False)
    accounts: int = field(default=0, init=False)
    stored: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        width = self.onto.axes.shape[1]
        self.rows, self.norms = torch.zeros(self.recipe.rows, width), torch.zeros(self.recipe.rows)
        self.account = torch.full((self.recipe.rows,), -1)
        self.crowd = torch.zeros(self.recipe.rows, dtype=torch.int64)
        self.edges: list[Tensor] = []
        """Pairs of rows (2, e), numbered from the first that ever came: row i is at i modulo the number of rows."""

    def add(self, client: str, x: Batch) -> None:
        """The client's queries, in order."""
        if client not in self.numbers:
            self.numbers[client] = self.accounts
            self.accounts += 1
        for part in self.onto(x).split(min(BLOCK, self.recipe.rows)):
            self._add(self.numbers[client], part)
        if self.stored > 2 * NEIGHBOURS * self.recipe.rows or len(self.edges) > self.recipe.rows:
            self.edges = [self.live()]
            self.stored = self.edges[0].shape[1]
        if len(self.numbers) > 2 * self.recipe.rows:
            held = set(self.account.tolist())
            self.numbers = {name: number for name, number in self.numbers.items() if number in held}

    def _add(self, account: int, f: Float[Tensor, "n p"]) -> None:
        """At most as many as there are rows, so that no new row overwrites another."""
        full = min(self.total, self.recipe.rows)
        new, old, distance = within(f, self.rows[:full], self.norms[:full], self.near)
        mine = self.account[old] == account
        known = torch.zeros(len(f), dtype=torch.bool).index_fill(0, new[mine & (distance < self.repeat)], True)
        fresh = unrepeated(known, torch.cdist(f.double(), f.double()).square() < self.repeat)
        # of each row, its number if it stays; one that it pushes out is not compared with those after it
        number = self.total - 1 + fresh.cumsum(0)
        across = fresh[new] & ~mine & (self.number(old) >= number[new] - self.recipe.rows)
        pairs = (number[new[across]], self.number(old[across]), distance[across])
        if len(pairs[0]):
            self.edges.append(nearest(pairs))
            self.stored += self.edges[-1].shape[1]
        count = int(fresh.sum())
        slots = (self.total + torch.arange(count)) % self.recipe.rows
        self.crowd += torch.bincount(old[across], minlength=self.recipe.rows)
        self.crowd[slots] = torch.bincount(pairs[0] - self.total, minlength=count)
        self.rows[slots], self.norms[slots], self.account[slots] = f[fresh], f[fresh].square().sum(1), account
        self.total += count

    def number(self, slot: Tensor) -> Tensor:
        """The number of the row that is in a slot now."""
        last = (self.total - 1) // self.recipe.rows * self.recipe.rows + slot
        return torch.where(last < self.total, last, last - self.recipe.rows)

    def live(self) -> Tensor:
        """The near pairs, (2, e), of which neither row has been dropped."""
        edges = torch.cat([torch.empty(2, 0, dtype=torch.int64), *self.edges], 1)
        return edges[:, (edges >= self.total - self.recipe.rows).all(0)]

    def groups(self) -> list[set[str]]:
        """Accounts that are linked, two or more to a group; sorted by their first names."""
        edges = self.live() % self.recipe.rows
        edges = edges[:, (self.crowd[edges] <= self.recipe.crowd).all(0)]
        held, number = torch.unique(self.account[: min(self.total, self.recipe.rows)], return_inverse=True)
        group = linked(edges, number, len(held), self.recipe, self.wide)
        place = {account: group[i] for i, account in enumerate(held.tolist())}
        members: dict[int, set[str]] = {}
        for name, account in self.numbers.items():
            if account in place:
                members.setdefault(place[account], set()).add(name)
        return sorted((names for names in members.values() if len(names) > 1), key=min)

    def saved(self) -> bytes:
        """All that was seen, from which `restore` goes on to the same groups."""
        tensors = {
            "rows": self.rows[: self.total],
            "account": self.account[: self.total],
            "crowd": self.crowd[: self.total],
            "edges": torch.cat([torch.empty(2, 0, dtype=torch.int64), *self.edges], 1),
        }
        counts = {"total": self.total, "accounts": self.accounts, "numbers": self.numbers}
        return save({name: each.contiguous() for name, each in tensors.items()}, {"counts": json.dumps(counts)})

    def restore(self, data: bytes) -> None:
        """What was saved by links of the same recipe and owner."""
        tensors, counts = load(data), json.loads(header(data)["counts"])
        n = len(tensors["rows"])
        self.rows[:n], self.account[:n], self.crowd[:n] = tensors["rows"], tensors["account"], tensors["crowd"]
        self.norms[:n] = self.rows[:n].square().sum(1)
        self.edges = [tensors["edges"]]
        self.stored = self.edges[0].shape[1]
        self.total, self.accounts, self.numbers = counts["total"], counts["accounts"], counts["numbers"]

    def wide(self, a: Tensor, b: Tensor) -> int:
        """How many pairs of the rows in these slots are within twice the distance of near ones."""
        far, norms = self.rows[b].T, self.norms[b]
        blocks = zip(self.rows[a].split(BLOCK), self.norms[a].split(BLOCK), strict=True)
        return sum(
            int((torch.addmm(norms, f, far, alpha=-2) < (4 * self.near - own)[:, None]).sum()) for f, own in blocks
        )


def header(data: bytes) -> dict[str, str]:
    """The metadata of a safetensors file."""
    return json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]


def nearest(pairs: Pairs) -> Tensor:
    """The pairs (2, e) with the nearest NEIGHBOURS of each new row."""
    order = pairs[2].argsort(stable=True)
    order = order[pairs[0][order].argsort(stable=True)]
    new = pairs[0][order]
    rank = torch.arange(len(new)) - torch.searchsorted(new, new)
    return torch.stack([new, pairs[1][order]])[:, rank < NEIGHBOURS]


def unrepeated(known: Bool[Tensor, " n"], alike: Bool[Tensor, "n n"]) -> Bool[Tensor, " n"]:
    """Which rows of a batch are like no row that their account sent before, in this batch or earlier."""
    fresh = ~known
    again = (alike.tril(-1) & fresh).any(1) & fresh
    for row in again.nonzero()[:, 0].tolist():  # only where there are repeats: whether one counts depends on the others
        fresh[row] = not bool((alike[row, :row] & fresh[:row]).any())
    return fresh


def linked(edges: Tensor, number: Tensor, accounts: int, recipe: "Linking", wide: Wide) -> list[int]:
    """The group of each account, given near pairs of rows (2, e) and the account of each row (m,)."""
    group = torch.arange(accounts)
    while True:
        joins = meeting(torch.cat([edges, edges.flip(0)], 1), group[number], recipe, wide)
        if not joins:
            return group.tolist()
        group = united(accounts, joins)[group]


def meeting(edges: Tensor, group: Tensor, recipe: "Linking", wide: Wide) -> list[tuple[int, int]]:
    """Pairs of groups that enough of their queries link, given near pairs of rows both ways and the group of each row."""
    across = edges[:, group[edges[0]] != group[edges[1]]]
    row, other = torch.unique(torch.stack([across[0], group[across[1]]]), dim=1)
    ways, count = torch.unique(torch.stack([group[row], other]), dim=1, return_counts=True)
    near: Mapping[tuple[int, int], int] = {
        (a, b): n for a, b, n in zip(*ways.tolist(), count.tolist(), strict=True) if n >= recipe.pairs
    }

    def enough(a: int, b: int) -> bool:
        rows = [(group == each).nonzero()[:, 0] for each in (a, b)]
        smaller, both = min(map(len, rows)), min(near[a, b], near.get((b, a), 0))
        return both >= needed(smaller, 0, recipe.pairs, recipe.share) and (
            both >= needed(smaller, wide(*rows), recipe.pairs, recipe.share)
        )

    return [(a, b) for a, b in near if a < b and enough(a, b)]


def united(n: int, joins: Iterable[tuple[int, int]]) -> Tensor:
    """Union-find: for each of n, the smallest that the joins connect it with."""
    root = list(range(n))

    def top(i: int) -> int:
        while root[i] != i:
            root[i] = root[root[i]]
            i = root[i]
        return i

    for a, b in joins:
        a, b = sorted((top(a), top(b)))
        root[b] = a
    return torch.tensor([top(i) for i in range(n)], dtype=torch.int64)


@dataclass(frozen=True)
class Linking:
    """Finds accounts that belong together by queries that are nearly the same.

    pairs    near queries that each of two accounts must have in the other
    share    and at least this share of the smaller account's different queries
    crowd    a query that more queries of other accounts are near is popular, and counts for nothing
    closest  two queries are near if they are closer than all but this share of the pairs of honest inputs
    jitter   what is no new query: noise of this standard deviation, in units of the box or of a column's deviation
    rows     different queries that are remembered, of all accounts together
    """

    pairs: int = 3
    share: float = 0.1
    crowd: int = 8
    closest: float = 1e-6
    jitter: float = 0.02
    rows: int = 20_000

    def __post_init__(self) -> None:
        if min(self.pairs, self.crowd, self.rows) < 1 or not (0 <= self.share <= 1 and 0 < self.closest < 1):
            raise BadConfig(
                "Linking needs pairs, crowd and rows of at least 1, a share from 0 to 1 and a closest share between 0 and 1."
                f" Got {self}."
            )
        if self.jitter < 0:
            raise BadConfig(f"The jitter of Linking must be at least 0. Got {self.jitter}.")

    def arm(self, owner: Owner, seed: int) -> Links:
        """Raises Unsuited where honest inputs are as near each other as one that is sent twice with noise."""
        natural = owner.x if owner.natural is None or len(owner.natural) < 2 else owner.natural
        if len(natural) < 2:
            needs_inputs(owner, "Linking sets its threshold on pairs of")
        onto = Projection.inputs(natural if len(owner.x) < 2 else owner.x, DIMS)
        honest = natural[:MOST]
        near = threshold(onto(honest), self.closest)
        moved = honest + self.jitter * self.noise(honest, owner, seed)
        repeat = float((onto(moved) - onto(honest)).double().square().sum(1).quantile(0.99))
        if near <= repeat:
            raise Unsuited(
                f"Linking needs honest inputs that differ more than noise of {self.jitter:g} makes of one; a share"
                f" {self.closest:g} of their pairs is within {near:g} (squared), and noise reaches {repeat:g}. Here equal inputs"
                " say nothing about who sent them: leave it out, or give it a smaller jitter."
            )
        return Links(onto, near, repeat, self)

    def noise(self, x: Batch, owner: Owner, seed: int) -> Tensor:
        """Normal noise in units of the domain: of a box its width, of a table each column's deviation."""
        unit = owner.box.high - owner.box.low if isinstance(owner.box, Box) else x.std(0, correction=0)
        return unit * torch.randn(x.shape, generator=torch.Generator().manual_seed(seed))


def pooled(watch: Watch, group: Iterable[str], memories: Mapping[str, Any]) -> Any | None:
    """What a watch would remember of a group had it been one client; None if it cannot say so exactly."""
    of: Sequence[Any] = [memories[name] for name in sorted(group) if name in memories]
    return watch.merged(of) if isinstance(watch, Mergeable) else None
