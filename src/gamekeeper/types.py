"""The nouns of gamekeeper. Nothing in this file depends on a particular paper.

On one side of the wire are the owner's things (Model, Defense, Owner), on the other the thief's (Querying, Learner,
Attack, Knowledge). Inputs cross it in one direction, a Reply in the other.

A recipe (Defense, Querying, Learner, Architecture) is a frozen dataclass of plain values: it can be printed, hashed
and sent to another process, and its repr identifies the rows of a results file. Live objects (Armed, Model) are made
from recipes.

Batches are tensors whose first dimension is n. A posterior has shape (n, k); its rows sum to 1, or to less where an
API truncates them. One input costs one query.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn

from gamekeeper.errors import BadConfig, BadQuery, Unsuited

Batch = Shaped[Tensor, "n ..."]
Posterior = Float[Tensor, "n k"]
SECRET = 32
"""Length of an owner's secret, in bytes."""


@dataclass(frozen=True)
class Reply:
    """Everything an API returns for a batch. Tensors are detached.

    y     posteriors, (n, k); a label is a one-hot posterior, so attacks need no special case for it. A row of NaN is an input
          that a live API did not answer, though it may have charged for it: see `answered`
    maps  attribution maps, (n, h, w); None where the API does not return any
    """

    y: Posterior
    maps: Float[Tensor, "n h w"] | None = None

    def __len__(self) -> int:
        return len(self.y)

    def take(self, rows: Tensor | slice) -> "Reply":
        """The given rows, in the given order."""
        return Reply(self.y[rows], None if self.maps is None else self.maps[rows])


def answered(reply: Reply) -> Bool[Tensor, " n"]:
    """Which inputs have an answer, as booleans."""
    return torch.isfinite(reply.y).all(1) if reply.y.shape[1] else torch.zeros(len(reply), dtype=torch.bool)


@runtime_checkable
class Oracle(Protocol):
    """An API as a client sees it: a batch of inputs in, a Reply out."""

    def __call__(self, x: Batch, /) -> Reply: ...


@runtime_checkable
class Task(Protocol):
    """What an answer means: how outputs become answers, and how answers are learnt from and checked."""

    @property
    def classes(self) -> int: ...
    def answer(self, out: Float[Tensor, "n k"]) -> Posterior:
        """Turns network outputs into the answers an API would publish."""
        ...

    def target(self, truth: Shaped[Tensor, " n"]) -> Posterior:
        """Turns ground truth into the targets of `loss`."""
        ...

    def loss(self, out: Float[Tensor, "n k"], y: Posterior) -> Float[Tensor, ""]:
        """The training loss of network outputs against answers or targets y."""
        ...

    def right(self, y: Posterior, truth: Shaped[Tensor, " n"]) -> Shaped[Tensor, " n"]:
        """Which answers are correct, as booleans."""
        ...


@runtime_checkable
class Model(Protocol):
    """An oracle together with its task: a victim or a clone. `task` is a property so that frozen dataclasses fit."""

    @property
    def task(self) -> Task: ...
    def __call__(self, x: Batch, /) -> Reply: ...


@runtime_checkable
class Caveats(Protocol):
    """A clone that reports signs of an incomplete theft."""

    @property
    def caveats(self) -> tuple[str, ...]:
        """Names of flags in `analysis/flags.py`, to be written into the result row."""
        ...


@runtime_checkable
class Architecture(Protocol):
    """Recipe of a network: each call builds a new one (`architectures.fresh` builds one from a seed)."""

    def __call__(self) -> nn.Module: ...


@runtime_checkable
class Domain(Protocol):
    """The public input domain: which inputs a client may send. A plain value; its repr appears in error messages.

    `Box` and `Ranges` are two. A method that uses only these three members works on any domain; one that needs a range of values
    calls `need_box`.
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one input."""
        ...

    def check(self, x: Tensor, /) -> None:
        """Raises BadQuery unless x is a non-empty batch (n, *shape) of inputs from this domain."""
        ...

    def uniform(self, n: int, seed: int) -> Batch:
        """n inputs drawn uniformly at random from the domain, (n, *shape); the seed determines them."""
        ...


@dataclass(frozen=True)
class Box:
    """The domain of images and scaled tables: one input's shape and the range of its entries, before normalisation."""

    shape: tuple[int, ...]
    low: float = 0.0
    high: float = 1.0

    def check(self, x: Tensor) -> None:
        """Raises BadQuery unless x is a non-empty, finite float batch of this shape and range."""
        if not x.is_floating_point():
            raise BadQuery(
                f"inputs must be floating point in [{self.low:g}, {self.high:g}]; got {x.dtype}. Scale them first."
            )
        if x.shape[1:] != self.shape or x.ndim == 0:
            raise BadQuery(f"inputs must have shape (n, {', '.join(map(str, self.shape))}); got {tuple(x.shape)}.")
        if x.shape[0] == 0:
            raise BadQuery("got an empty batch; give at least one input.")
        low, high = torch.aminmax(x)
        # as Python's floats first: ten times as quick, and what passes so passes in float32
        if float(low) >= self.low and float(high) <= self.high:
            return
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


def need_box(domain: Domain, method: str) -> Box:
    """The domain as a Box, for a method that clips inputs or scales its steps to a range. Raises Unsuited otherwise.

    Call it before the first query.
    """
    if not isinstance(domain, Box):
        raise Unsuited(
            f"{method} needs inputs from a box, numbers that all lie in one range; this target's domain is {domain}."
            " Leave it out, or use a method that works on any input, such as knockoff+labels."
        )
    return domain


@dataclass(frozen=True, eq=False)
class Owner:
    """What a defender has when a defense is armed.

    x, truth      training inputs (n, ...) and their labels (n,); may be empty where the API is somebody else's
    box           the public input domain
    architecture  the network an owner would use as a surrogate: the victim's architecture, or a similar one
    ood           out-of-distribution inputs (m, ...), for defenses that train on them; never from the thief's pool
    natural       inputs like a user's that the victim was never trained on (r, ...), for gates that set a threshold; never
                  from the test set or the thief's pool
    secret        32 bytes that keyed defenses draw from (`keys.read_key`); None, as in an audit, to draw from the seed
    natural_truth  the labels of `natural`, (r,); None: not known
    """

    x: Batch
    truth: Shaped[Tensor, " n"]
    box: Domain
    architecture: Architecture
    ood: Shaped[Tensor, "m ..."] | None = None
    secret: bytes | None = field(default=None, repr=False)
    natural: Shaped[Tensor, "r ..."] | None = None
    natural_truth: Shaped[Tensor, " r"] | None = None

    def __post_init__(self) -> None:
        if self.secret is not None and len(self.secret) != SECRET:
            raise BadConfig(f"The secret of an Owner must be {SECRET} bytes. Got {len(self.secret)}.")


@runtime_checkable
class CloneCache(Protocol):
    """A store of trained clones, each under a hash of everything it was made from."""

    def find(self, key: str, net: nn.Module) -> bool: ...
    def keep(self, key: str, net: nn.Module, seconds: float) -> None: ...


@runtime_checkable
class Drawings(Protocol):
    """Inputs that a thief can make without the owner's, knowing what the classes are called. A recipe of plain values."""

    def __call__(self, n: int, seed: int, /) -> tuple[Batch, Int[Tensor, " n"]]:
        """The first n drawings of the stream that the seed names, (n, *shape), and the class each was drawn as.

        No input comes twice, and more drawings begin with the same ones. May give fewer where there are no more.
        """
        ...


@dataclass(frozen=True)
class Style:
    """What everybody knows of how pen strokes look in a data set, without having seen one of its images.

    pen      the least and the largest width of a stroke in pixels
    slant    how far a stroke leans to the right for each pixel it rises: mean and standard deviation
    size     the longer side of what is written, in pixels
    edge     within how many pixels ink fades out
    centred  whether the centre of mass is the middle of the image; else the middle of the box around it is
    """

    pen: tuple[float, float]
    slant: tuple[float, float]
    size: float
    edge: float = 1.0
    centred: bool = True

    def __post_init__(self) -> None:
        if not 0 < self.pen[0] <= self.pen[1] or self.size <= 0 or self.edge <= 0 or self.slant[1] < 0:
            raise BadConfig(
                f"a style needs a positive size, edge and pen, its least width first, and a slant that varies by 0 or more."
                f" Got {self}."
            )


@dataclass(frozen=True)
class Knowledge:
    """What a thief has. It includes neither the victim nor the test set.

    pool      inputs the thief can send, (n, ...)
    box       the public input domain
    task      what an answer means
    student   the network the thief trains; every budget starts from a fresh one
    seeds     a few inputs like the victim's own (m, ...), for attacks that start from such inputs
    groups    the thief's own classes of the pool (n,), not necessarily the victim's; for attacks that sample by class
    drawings  how the thief draws or generates inputs of each class; None if they cannot
    style     how strokes look in the victim's kind of images; None if nothing is known of it
    defenses  defenses the thief knows to be in place: the method and its strength, never its seed or secret
    clones    a cache of trained clones, so that no clone is trained twice on the same answers
    """

    pool: Batch
    box: Domain
    task: Task
    student: Architecture
    seeds: Shaped[Tensor, "m ..."] | None = None
    groups: Shaped[Tensor, " n"] | None = None
    drawings: Drawings | None = None
    style: Style | None = None
    defenses: "tuple[Defense, ...]" = ()
    clones: CloneCache | None = None


@dataclass(frozen=True)
class Transfer:
    """The inputs a thief sent and the answers to them, in order.

    cost is in queries; it exceeds len(x) where an input was sent more than once, or got no answer. drawn: the class that the
    thief drew each input as, (n,), -1 for an input that they did not draw; None where they drew none.
    """

    x: Batch
    reply: Reply
    cost: int
    drawn: Int[Tensor, " n"] | None = None

    def usable(self) -> "Transfer":
        """Without the inputs that brought no answer, at the same cost."""
        rows = answered(self.reply)
        if bool(rows.all()):
            return self
        drawn = None if self.drawn is None else self.drawn[rows]
        return Transfer(self.x[rows], self.reply.take(rows), self.cost, drawn)


@runtime_checkable
class Armed(Protocol):
    """A defense prepared for one victim. What it remembers of a client is passed in as `memory`, never held in self."""

    def fresh(self) -> Any:
        """Memory for a new client; None if the defense needs none."""
        ...

    def respond(self, x: Batch, reply: Reply, memory: Any) -> Reply:
        """The answer to give instead of `reply`. May update `memory`, last, so that an error leaves it intact."""
        ...


@runtime_checkable
class PerClient(Protocol):
    """An armed defense that answers every client in a way of their own; its `fresh` is for a client without a name."""

    def fresh_for(self, client: str) -> Any:
        """Memory for a new client of this name, the same whenever it is made."""
        ...


@runtime_checkable
class Defense(Protocol):
    """Recipe of a defense. `keeps_top1`: whether it guarantees that no posterior's top-1 class changes."""

    @property
    def keeps_top1(self) -> bool: ...
    def arm(self, victim: Model, owner: Owner, seed: int) -> Armed:
        """Prepares the defense for this victim. Raises Unsuited if the victim lacks what the method needs."""
        ...


Scores = Float[Tensor, " n"]


@runtime_checkable
class Watch(Protocol):
    """A detector prepared for one victim. It sees the clean answers and cannot change them.

    What it remembers of a client is passed in as `memory`, never held in self: a dataclass of tensors and numbers, which
    `service/stored.py` writes to disk.
    """

    def fresh(self) -> Any:
        """Memory for a new client; None if it needs none."""
        ...

    def score(self, x: Batch, clean: Reply, at: float, memory: Any) -> Scores:
        """The score after each row, in order: higher is more suspicious, NaN is no verdict. May update `memory`.

        at  when the request arrived, in seconds since 1970; NaN if unknown
        """
        ...


@runtime_checkable
class Mergeable(Protocol):
    """A watch that knows what it would remember of several clients had they been one."""

    def merged(self, memories: Sequence[Any], /) -> Any:
        """A new memory, the same as if one client had sent all their queries; the given ones stay as they are."""
        ...


@runtime_checkable
class Detector(Protocol):
    """Recipe of a detector. It never changes an answer."""

    def arm(self, victim: Model, owner: Owner, seed: int) -> Watch:
        """Prepares the detector for this victim. Raises Unsuited if the victim or the owner lacks what it needs."""
        ...


@runtime_checkable
class Meter(Protocol):
    """A thief's only access to the target: an oracle that counts queries and refuses a batch over budget unsent."""

    def __call__(self, x: Batch, /) -> Reply: ...
    @property
    def budget(self) -> int: ...
    @property
    def left(self) -> int: ...


@runtime_checkable
class Querying(Protocol):
    """How to choose and send queries: spends the meter's whole budget and returns the inputs with their answers.

    `prefix`: whether the queries of a larger budget start with those of a smaller one, so that budgets share answers.
    """

    @property
    def prefix(self) -> bool: ...
    def __call__(self, oracle: Meter, knows: Knowledge, seed: int) -> Transfer: ...


@runtime_checkable
class Learner(Protocol):
    """How to learn from answers already paid for. Sends no queries."""

    def __call__(self, transfer: Transfer, knows: Knowledge, seed: int) -> Model: ...


@runtime_checkable
class Attack(Protocol):
    """Calling it steals the model. Most are a `Theft(querying, learner)`; exact attacks satisfy it directly."""

    def __call__(self, oracle: Meter, knows: Knowledge, seed: int) -> Model: ...
