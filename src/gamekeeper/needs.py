"""What a method needs of the victim and its owner, and the sentence that says so where it is missing."""

from gamekeeper.errors import Unsuited
from gamekeeper.types import Batch, Model, Owner


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


def auxiliary(owner: Owner, method: str) -> Batch:
    """The owner's auxiliary inputs. Raises Unsuited without, naming the option that gives them."""
    if owner.ood is None or len(owner.ood) == 0:
        raise Unsuited(
            f"{method} trains on auxiliary inputs of another kind than the owner's, and there are none. Give them with"
            " --auxiliary related, unrelated or a data file (in a target file: data.auxiliary)."
        )
    return owner.ood
