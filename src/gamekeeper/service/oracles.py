"""The wire between a thief and the target.

thief → wrappers → Metered → Recorded (ledger) → Service → target
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from gamekeeper.errors import BudgetExceeded
from gamekeeper.types import Batch, Domain, Oracle, Reply


@dataclass
class Metered:
    """Counts inputs, and refuses a whole batch, before it is sent, if it exceeds the budget.

    Inputs are checked against the public domain first: a bad one costs nothing. Queries answered from the ledger count
    too, since a thief who starts from nothing would have to pay for them.
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
                " Nothing was sent. Send fewer, or raise --budget."
            )
        reply = self.oracle(x)
        self.spent += len(x)
        return reply


@dataclass
class Transcript:
    """Records queries and answers, so that the evaluation can compare them with the clean answers. Changes nothing."""

    oracle: Oracle
    queries: list[Tensor] = field(default_factory=list[Tensor], init=False)
    answered: list[Tensor] = field(default_factory=list[Tensor], init=False)

    def __call__(self, x: Batch, /) -> Reply:
        reply = self.oracle(x)
        self.queries.append(x)
        self.answered.append(reply.y)
        return reply

    def seen(self, most: int) -> tuple[Tensor, Tensor]:
        """The first `most` queries and their answers."""
        return torch.cat(self.queries)[:most], torch.cat(self.answered)[:most]
