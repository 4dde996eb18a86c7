"""The wire: what stands between a thief and the target.

thief → wrappers → Metered → Recorded (ledger) → Service → target
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from gamekeeper.errors import BudgetExceeded
from gamekeeper.types import Batch, Domain, Oracle, Reply


@dataclass
class Metered:
    """Counts inputs and refuses a batch whole, before it is sent, if it does not fit into the budget.

    Inputs are checked against the public domain first: a bad one costs nothing. A question answered from the ledger
    counts as well, since a thief starting afresh would have to pay for it.
    """

    oracle: Oracle
    budget: int
    box: Domain
    spent: int = field(default=0, init=False)

    @property
    def left(self) -> int:
        return self.budget - self.spent

    def __call__(self, x: Batch, /) -> Reply:
        self.box.check(x)
        if len(x) > self.left:
            raise BudgetExceeded(
                f"a batch of {len(x):,} inputs needs {len(x):,} queries; {self.left:,} of {self.budget:,} are left."
                " Nothing was sent. Ask fewer, or raise --budget."
            )
        reply = self.oracle(x)
        self.spent += len(x)
        return reply


@dataclass
class Transcript:
    """Keeps what passed through, for the judge who later compares it with the clean answers. Answers go by unchanged."""

    oracle: Oracle
    queries: list[Tensor] = field(default_factory=list[Tensor], init=False)
    answered: list[Tensor] = field(default_factory=list[Tensor], init=False)

    def __call__(self, x: Batch, /) -> Reply:
        reply = self.oracle(x)
        self.queries.append(x)
        self.answered.append(reply.y)
        return reply

    def seen(self, most: int) -> tuple[Tensor, Tensor]:
        """The first `most` inputs and their answers."""
        return torch.cat(self.queries)[:most], torch.cat(self.answered)[:most]
