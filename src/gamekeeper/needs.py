"""What a method needs from the victim and its owner, and the error message if that is missing."""

from gamekeeper.errors import Unsuited
from gamekeeper.types import Batch, Model, Owner


def classes_of(victim: Model, method: str) -> int:
    """The number of classes of the victim's posteriors. Raises Unsuited if there are fewer than two."""
    classes = victim.task.classes
    if classes < 2:
        raise Unsuited(
            f"{method} needs posteriors over two classes or more; this victim's task has {classes}. Leave it out."
        )
    return classes


def needs_inputs(owner: Owner, what_for: str) -> None:
    """Raises Unsuited if the owner has no inputs. what_for: how the message begins, such as `Knn is fitted on`."""
    if len(owner.x) == 0:
        raise Unsuited(
            f"{what_for} inputs from the owner; none were given. Give the target some, or leave the method out."
        )


def auxiliary(owner: Owner, method: str) -> Batch:
    """The owner's auxiliary inputs. Raises Unsuited if there are none, naming the option that supplies them."""
    if owner.ood is None or len(owner.ood) == 0:
        raise Unsuited(
            f"{method} trains on auxiliary inputs, of another kind than the owner's, and there are none. Give some with"
            " --auxiliary related, unrelated or a data file (in a target file: data.auxiliary)."
        )
    return owner.ood
