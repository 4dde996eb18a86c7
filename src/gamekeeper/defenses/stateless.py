"""A pure function of the posterior, worn as an armed defense; and what such defenses ask of a victim."""

from collections.abc import Callable
from dataclasses import dataclass

from gamekeeper.errors import BadConfig, Unsuited
from gamekeeper.types import Batch, Model, Owner, Posterior, Reply


@dataclass(frozen=True)
class Stateless:
    """Answers `fn(y)` whoever asks and whatever the input; `why` passes through."""

    fn: Callable[[Posterior], Posterior]

    def fresh(self) -> None:
        return None

    def respond(self, x: Batch, reply: Reply, memory: None) -> Reply:
        return Reply(self.fn(reply.y), reply.why)


def classes_of(victim: Model, method: str) -> int:
    """The number of classes of the victim's posteriors. Raises Unsuited where there are fewer than two."""
    classes = victim.task.classes
    if classes < 2:
        raise Unsuited(
            f"{method} changes posteriors over two classes or more; this victim's task has {classes}. Leave it out."
        )
    return classes


def needs_inputs(owner: Owner, what_for: str) -> None:
    """Raises Unsuited if the owner holds none. what_for: the sentence up to there, `Knn is fitted on`."""
    if len(owner.x) == 0:
        raise Unsuited(f"{what_for} inputs of the owner's; none given.")


def check_l1(eps: float, method: str) -> None:
    """Raises BadConfig unless eps is a distance between posteriors in L1."""
    if not 0 <= eps <= 2:
        raise BadConfig(f"The eps of {method} must be from 0 to 2. Got {eps}.")
