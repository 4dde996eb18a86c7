"""Both ends of one exchange with a server: a model as clients see it, what they ask of it, what is sent back.

A protocol is a Wire: it reads a request and writes the answer to it, without sockets, clocks or memory. Whatever is wrong with
a request is refused by `read`, so that nothing is charged for it.
"""

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float

from gamekeeper.data.scale import AS_PIXELS, BYTES
from gamekeeper.errors import BadConfig, Malformed
from gamekeeper.protocols.bodies import Header, Response
from gamekeeper.protocols.strict import Most
from gamekeeper.types import Batch, Box, Domain, Reply

Numbers = Float[np.ndarray, "n ..."]
TEXT, NUMBER, NESTING = 65_536, 64, 64
"""Bytes that everything but the inputs may take, and each number of them; lists and keys that are not the inputs'."""


@dataclass(frozen=True)
class Limits:
    """What one request may hold at most.

    body  bytes, as sent and once decompressed
    rows  inputs
    name  characters of an id
    """

    body: int = 64 * 2**20
    rows: int = 256
    name: int = 256

    def __post_init__(self) -> None:
        if min(self.body, self.rows, self.name) < 1:
            raise BadConfig(f"the limits of a request must be 1 or more. Got {self}.")


@dataclass(frozen=True)
class Served:
    """A model as its clients see it.

    domain    which inputs it takes
    classes   numbers in every answer
    datatype  of inputs, as its metadata declare it; others of the protocol are read as well
    columns   names of a table's columns, in the model's order; () if they have none
    maps      the name of the output with attribution maps; None: none are sold
    """

    name: str
    domain: Domain
    classes: int
    datatype: str = "FP32"
    input: str = "input-0"
    output: str = "probabilities"
    maps: str | None = None
    columns: tuple[str, ...] = ()
    version: str = "1"

    def __post_init__(self) -> None:
        if not self.name or self.name != self.name.strip("/ "):
            raise BadConfig(f"a served model needs a name without outer spaces and slashes. Got {self.name!r}.")
        if self.maps == self.output:
            raise BadConfig(f"the two outputs of a served model need different names; both are {self.output!r}.")
        if (self.columns and (len(self.columns),) != self.domain.shape) or len(set(self.columns)) < len(self.columns):
            raise BadConfig(
                f"a served table needs as many distinct names of columns as columns, {self.domain.shape}; got"
                f" {len(self.columns)} names, {len(set(self.columns))} of them distinct."
            )

    @property
    def values(self) -> int:
        """Numbers in one input."""
        return math.prod(self.domain.shape)

    @property
    def pixels(self) -> tuple[float, float] | None:
        """The range that bytes of 0 to 255 are mapped to, as in files (`data/scale.py`); None: bytes are in the model's units."""
        if not isinstance(self.domain, Box) or len(self.domain.shape) != 3:
            return None
        own = (self.domain.low, self.domain.high)
        return own if own in AS_PIXELS and own != BYTES else None

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of what it sells with every answer."""
        return (self.output,) if self.maps is None else (self.output, self.maps)

    def body(self, limits: Limits) -> int:
        """Bytes that a request can need at most: those of its numbers as text, and of the names beside them."""
        row = NUMBER * self.values + sum(len(name.encode()) + 8 for name in self.columns)
        return min(limits.body, limits.rows * row + TEXT)

    def most(self, limits: Limits) -> Most:
        """What the JSON of the largest request holds: a key for each column where inputs are rows, and a few of everything."""
        shape, rows = self.domain.shape, limits.rows
        lists = rows * sum(math.prod(shape[:depth]) for depth in range(len(shape)))
        keys = rows * (self.values if len(shape) == 1 else 1)
        return Most(rows * self.values, lists + NESTING, keys + NESTING)


@dataclass(frozen=True)
class Wanted:
    """An output that a client wants back; `binary`: behind the JSON instead of in it."""

    name: str
    binary: bool = False


@dataclass(frozen=True, eq=False)
class Question:
    """What a client asks, read and checked.

    x         inputs, (n, *shape), float32 in the domain of the model
    outputs   which outputs the client wants, in order
    id        the client's name for the request; None if it gave none
    encoding  how the answer may be compressed: gzip, deflate or None
    """

    x: Batch
    outputs: tuple[Wanted, ...]
    id: str | None = None
    encoding: str | None = None


@runtime_checkable
class Wire(Protocol):
    """One protocol before one model, the server's side."""

    @property
    def most(self) -> int:
        """Bytes of the longest body that `read` accepts; a server need not receive more."""
        ...

    def read(self, headers: "tuple[Header, ...]", body: bytes, /) -> Question:
        """What a request asks. Raises BadRequest, and nothing else, for one that cannot be answered."""
        ...

    def write(self, question: Question, reply: Reply, /) -> Response:
        """The answer to it. Raises Malformed if the reply is not one: rows missing, NaN or infinity."""
        ...

    def refuse(self, status: int, message: str, /) -> Response:
        """An error in the protocol's own form; `status` is HTTP's."""
        ...


def published(question: Question, reply: Reply, served: Served) -> dict[str, Numbers]:
    """The outputs that were asked for, as float32 by name, finite. Raises Malformed."""
    tensors = {served.output: reply.y} | ({} if served.maps is None else {served.maps: reply.maps})
    n = question.x.shape[0]  # ten times as quick as len()
    if tuple(reply.y.shape) != (n, served.classes):
        raise Malformed(
            f"an answer of shape ({n}, {served.classes}) was needed; the model gave {tuple(reply.y.shape)}."
        )
    arrays: dict[str, Numbers] = {}
    for output in question.outputs:
        tensor = tensors.get(output.name)
        if tensor is None or tensor.shape[0] != n:
            raise Malformed(f"the model gave no {output.name} for each of {n} inputs.")
        array = np.ascontiguousarray(tensor.detach().to("cpu", torch.float32).numpy(), dtype="<f4")
        if not np.isfinite(array).all():
            raise Malformed(f"the model's {output.name} hold NaN or infinity, which no answer may. Nothing was sent.")
        arrays[output.name] = array
    return arrays
