"""An armed defense that is a pure function of the posterior."""

from collections.abc import Callable
from dataclasses import dataclass

from gamekeeper.errors import BadConfig
from gamekeeper.types import Batch, Posterior, Reply


@dataclass(frozen=True)
class Stateless:
    """Answers `fn(y)`, whatever the client and the input; attribution maps pass through."""

    fn: Callable[[Posterior], Posterior]

    def fresh(self) -> None:
        return None

    def respond(self, x: Batch, reply: Reply, memory: None) -> Reply:
        return Reply(self.fn(reply.y), reply.maps)


def check_l1(eps: float, method: str) -> None:
    """Raises BadConfig unless eps is a possible L1 distance between posteriors, 0 to 2."""
    if not 0 <= eps <= 2:
        raise BadConfig(f"The eps of {method} must be from 0 to 2. Got {eps}.")
