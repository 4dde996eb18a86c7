"""The nouns of gamekeeper. Nothing in this file knows a paper.

Left of the wire stand the owner's things (Model, Defense, Owner), right of it the thief's
(Querying, Learner, Attack, Knowledge); what crosses the wire is an input and a Reply.

A recipe (Defense, Querying, Learner, Architecture) is a frozen dataclass of plain values: it prints, hashes,
crosses processes and is the key of a result row. Live things (Armed, Model) are made from recipes.

Batches are tensors whose first dimension is n. A posterior has shape (n, k); its rows lie on the simplex, or
below it where an API truncates them. One input is one query.
"""

import math
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from gamekeeper.errors import BadConfig, BadQuery, Unsuited

Batch = Shaped[Tensor, "n ..."]
Posterior = Float[Tensor, "n k"]
SECRET = 32
"""Bytes of an owner's secret."""


@dataclass(frozen=True)
class Reply:
    """All that an API says about a batch. Tensors are detached.

    y    posterior, (n, k); a label is a one-hot posterior, so thieves need no branch for it
    why  attribution maps, (n, h, w), where the API sells them
    """

    y: Posterior
    maps: Float[Tensor, "n h w"] | None = None

    def __len__(self) -> int:
        return len(self.y)

    def take(self, rows: Tensor | slice) -> "Reply":
        """The given rows, in the given order."""
        return Reply(self.y[rows], None if self.maps is None else self.maps[rows])


@runtime_checkable
class Oracle(Protocol):
    """All that a client can do: ask."""

    def __call__(self, x: Batch, /) -> Reply: ...


@runtime_checkable
class Task(Protocol):
    """What an answer means."""

    @property
    def classes(self) -> int: ...
    def answer(self, out: Float[Tensor, "n k"]) -> Posterior:
        """Network output to what an API would publish."""
        ...

    def target(self, truth: Shaped[Tensor, " n"]) -> Posterior:
        """Ground truth to what a loss compares with."""
        ...

    def loss(self, out: Float[Tensor, "n k"], y: Posterior) -> Float[Tensor, ""]:
        """How a network learns from answers."""
        ...

    def right(self, y: Posterior, truth: Shaped[Tensor, " n"]) -> Shaped[Tensor, " n"]:
        """Which answers are right, as booleans."""
        ...


@runtime_checkable
class Model(Protocol):
    """An oracle somebody owns. A property, so that frozen dataclasses satisfy the protocol."""

    @property
    def task(self) -> Task: ...
    def __call__(self, x: Batch, /) -> Reply: ...


@runtime_checkable
class Caveats(Protocol):
    """A stolen model whose thief saw signs that it is not whole."""

    @property
    def caveats(self) -> tuple[str, ...]:
        """Names of flags of `analysis/checks.py`, which end in the result row."""
        ...


@runtime_checkable
class Architecture(Protocol):
    """Recipe of a network: calling it makes a fresh one (see `architectures.fresh` for a seeded one)."""

    def __call__(self) -> nn.Module: ...


@runtime_checkable
class Domain(Protocol):
    """The public input domain: what may be asked. Plain values; its repr stands in messages.

    `Box` and `Ranges` are two. What needs no more than these three takes any; what needs a range calls `need_box`.
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one input."""
        ...

    def check(self, x: Tensor, /) -> None:
        """Raises BadQuery unless x is a non-empty batch (n, *shape) of inputs of this domain."""
        ...

    def uniform(self, n: int, seed: int) -> Batch:
        """n inputs drawn at random, (n, *shape), each as likely as any other; the seed decides."""
        ...


@dataclass(frozen=True)
class Box:
    """The domain of images and scaled tables: one input's shape and the range of all entries, before any normalisation."""

    shape: tuple[int, ...]
    low: float = 0.0
    high: float = 1.0

    def check(self, x: Tensor) -> None:
        """Raises BadQuery unless x is a non-empty, finite float batch of this shape and range."""
        if not x.is_floating_point():
            raise BadQuery(
                f"inputs must be floating point in [{self.low:g}, {self.high:g}]; got {x.dtype}. Scale them first."
            )
        if x.ndim != len(self.shape) + 1 or tuple(x.shape[1:]) != self.shape:
            raise BadQuery(f"inputs must have shape (n, {', '.join(map(str, self.shape))}); got {tuple(x.shape)}.")
        if len(x) == 0:
            raise BadQuery("an empty batch was asked; give at least one input.")
        low, high = torch.aminmax(x)
        # NaN fails both comparisons, infinities fail one: no separate pass over the batch is needed
        if not (low >= self.low and high <= self.high):
            raise BadQuery(
                f"inputs must lie in [{self.low:g}, {self.high:g}]; got {low:g} to {high:g}"
                " (NaN and infinities are refused). Scale or clip them first."
            )

    def uniform(self, n: int, seed: int) -> Float[Tensor, "n ..."]:
        """n inputs drawn uniformly from the box."""
        generator = torch.Generator().manual_seed(seed)
        return torch.rand((n, *self.shape), generator=generator) * (self.high - self.low) + self.low


@dataclass(frozen=True)
class Ranges:
    """The domain of a table in natural units: each column has a range of its own.

    closed  whether inputs outside the ranges are refused: declared ranges are what may be asked. Ranges read off a pool
            say only where inputs usually lie; any finite number may then be asked

    A method made for a box works in one all the same: `units.py` gives it these columns as the unit box.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]
    closed: bool = True

    def __post_init__(self) -> None:
        if len(self.low) != len(self.high) or not self.low:
            raise BadConfig(
                "Ranges need a low and a high end for every column, and at least one column. Got"
                f" {len(self.low)} and {len(self.high)}."
            )
        for column, (low, high) in enumerate(zip(self.low, self.high, strict=True), 1):
            if not (math.isfinite(low) and math.isfinite(high) and low <= high):
                raise BadConfig(
                    f"Ranges need finite ends, low not above high. Column {column} has {low:g} and {high:g}."
                )

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.low),)

    def __str__(self) -> str:
        """The first columns, for a sentence; the repr has them all."""
        some = [f"{low:g} to {high:g}" for low, high in zip(self.low[:3], self.high[:3], strict=True)]
        more = f" and {len(self.low) - 3} more columns" if len(self.low) > 3 else ""
        return f"{', '.join(some)}{more}{'' if self.closed else ', as in the pool'}"

    @property
    def ends(self) -> tuple[Float[Tensor, " d"], Float[Tensor, " d"]]:
        """low and high as float32, the dtype of inputs."""
        return torch.tensor(self.low), torch.tensor(self.high)

    def check(self, x: Tensor) -> None:
        """Raises BadQuery, naming the column, unless x is a non-empty, finite float batch of such rows."""
        if not x.is_floating_point():
            raise BadQuery(f"inputs must be floating point, in the units of the data; got {x.dtype}.")
        if x.ndim != 2 or x.shape[1] != len(self.low):
            raise BadQuery(f"inputs must have shape (n, {len(self.low)}); got {tuple(x.shape)}.")
        if len(x) == 0:
            raise BadQuery("an empty batch was asked; give at least one input.")
        low, high = self.ends if self.closed else (torch.tensor(-torch.inf), torch.tensor(torch.inf))
        wrong = ~(x.isfinite() & (x >= low) & (x <= high)).all(0)
        if wrong.any():
            column = int(wrong.nonzero()[0])
            ends = f"lie in [{self.low[column]:g}, {self.high[column]:g}]" if self.closed else "be finite"
            raise BadQuery(
                f"column {column + 1} must {ends}; got {x[:, column].min():g} to {x[:, column].max():g}"
                " (NaN and infinities are refused)."
            )

    def uniform(self, n: int, seed: int) -> Float[Tensor, "n d"]:
        """n rows, every column drawn uniformly from its range."""
        low, high = self.ends
        share = torch.rand((n, len(self.low)), generator=torch.Generator().manual_seed(seed))
        return torch.lerp(low, high, share).clamp(low, high)


def ranges_of(x: Float[Tensor, "n d"]) -> Ranges:
    """The ranges of a table's columns, open: what lies outside may be asked as well."""
    low, high = torch.aminmax(x, dim=0)
    return Ranges(tuple(low.tolist()), tuple(high.tolist()), closed=False)


def need_box(domain: Domain, method: str) -> Box:
    """The domain, for a method that clips inputs to a range or measures steps by it. Raises Unsuited for another kind.

    Called before anything is asked.
    """
    if not isinstance(domain, Box):
        raise Unsuited(
            f"{method} needs inputs from a box, numbers that all lie in one range; this target's domain is {domain}."
            " Leave it out, or take a method for any input, such as knockoff+labels."
        )
    return domain


@dataclass(frozen=True, eq=False)
class Owner:
    """What a defender holds when a defense is armed.

    x, truth      training inputs (n, ...) and labels (n,); may be empty for somebody else's API
    box           the public input domain
    architecture  the network an owner would take for a surrogate: his own, or a like one
    ood           auxiliary inputs of another kind, for the defenses that train on such; never the thief's pool
    secret        32 bytes that keyed defenses draw from (`keys.read_key`); without them, as in an audit, from the seed
    """

    x: Batch
    truth: Shaped[Tensor, " n"]
    box: Domain
    architecture: Architecture
    ood: Shaped[Tensor, "m ..."] | None = None
    secret: bytes | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.secret is not None and len(self.secret) != SECRET:
            raise BadConfig(f"The secret of an Owner must be {SECRET} bytes. Got {len(self.secret)}.")


@runtime_checkable
class CloneCache(Protocol):
    """Where finished networks are kept by the hash of everything they were made from."""

    def find(self, key: str, net: nn.Module) -> bool: ...
    def keep(self, key: str, net: nn.Module, seconds: float) -> None: ...


@dataclass(frozen=True)
class Knowledge:
    """What a thief holds. The test set is not in it, nor the victim.

    pool      inputs he can ask about, (n, ...)
    box       the public input domain
    task      what an answer means
    student   the network he trains; every budget gets a fresh one
    seeds     a few inputs like the victim's own, for the attacks that start from such
    groups    his own classes of the pool's inputs (n,), which need not be the victim's; for attacks that pick by class
    defenses  recipes he knows to stand before the victim (the method and its strength, never its seed or secret)
    shelf     finished clones, so that the same answers are not learnt twice
    """

    pool: Batch
    box: Domain
    task: Task
    student: Architecture
    seeds: Shaped[Tensor, "m ..."] | None = None
    groups: Shaped[Tensor, " n"] | None = None
    defenses: "tuple[Defense, ...]" = ()
    clones: CloneCache | None = None


@dataclass(frozen=True)
class Transfer:
    """What was asked and answered, in order: the rows of the ledger a thief paid for.

    cost is in queries; it exceeds len(x) where an input was asked more than once.
    """

    x: Batch
    reply: Reply
    cost: int


@runtime_checkable
class Armed(Protocol):
    """A defense made ready for one victim. What it remembers of a client is passed in, never kept."""

    def fresh(self) -> Any:
        """Memory for a new client; None if the defense needs none."""
        ...

    def respond(self, x: Batch, reply: Reply, memory: Any) -> Reply:
        """The answer to give instead of `reply`. May update `memory`, last, so that an error leaves it whole; never self."""
        ...


@runtime_checkable
class Defense(Protocol):
    """Recipe of a defense. `keeps_top1`: it never changes the top-1 class of any posterior."""

    @property
    def keeps_top1(self) -> bool: ...
    def arm(self, victim: Model, owner: Owner, seed: int) -> Armed:
        """Raises Unsuited if the victim lacks what the method needs."""
        ...


Scores = Float[Tensor, " n"]


@runtime_checkable
class Watch(Protocol):
    """A detector made ready for one victim. It sees clean answers and can change none.

    What it remembers of a client is passed in, never kept.
    """

    def fresh(self) -> Any:
        """Memory for a new client; None if it needs none."""
        ...

    def score(self, x: Batch, clean: Reply, at: float, memory: Any) -> Scores:
        """After each row, in order: larger is more suspicious, NaN where there is no verdict. May update `memory`.

        at  when the request came in, in seconds since 1970; NaN where nobody knows
        """
        ...


@runtime_checkable
class Meter(Protocol):
    """The only door a thief has: an oracle that counts, and refuses a batch over budget before it is sent."""

    def __call__(self, x: Batch, /) -> Reply: ...
    @property
    def budget(self) -> int: ...
    @property
    def left(self) -> int: ...


@runtime_checkable
class Querying(Protocol):
    """How to ask: spends the meter's whole budget and returns what was asked and answered.

    `prefix`: the questions of a larger budget start with those of a smaller one, so that budgets can share answers.
    """

    @property
    def prefix(self) -> bool: ...
    def __call__(self, oracle: Meter, knows: Knowledge, seed: int) -> Transfer: ...


@runtime_checkable
class Learner(Protocol):
    """How to learn from answers already paid for: no further query."""

    def __call__(self, transfer: Transfer, knows: Knowledge, seed: int) -> Model: ...


@runtime_checkable
class Attack(Protocol):
    """Calling it steals. `Theft(querying, learner)` is the common one; exact attacks are Attacks of their own."""

    def __call__(self, oracle: Meter, knows: Knowledge, seed: int) -> Model: ...
