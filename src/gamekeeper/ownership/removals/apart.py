"""Apart: what a remover trains on is never evidence. Otherwise survival would be measured on inputs that were unlearnt."""

from collections.abc import Mapping

from torch import Tensor

from gamekeeper.data.splits import overlap
from gamekeeper.errors import BadConfig
from gamekeeper.models.network import TorchModel
from gamekeeper.ownership.claim import Claim
from gamekeeper.ownership.recipes import Removal
from gamekeeper.types import Batch, Model, Owner


def applied(
    removal: Removal, stolen: TorchModel, data: Owner, claim: Claim, held: Mapping[str, Tensor], seed: int
) -> Model:
    """The copy after the removal.

    held  inputs that measure it, by name: a test set, say. Raises BadConfig if the remover has one of these, or of the claim's
    """
    inputs = {f"the claim's '{name}'": tensor for name, tensor in claim.tensors.items() if name != "y"}
    need_apart(data.x, {**inputs, **held})
    return removal(stolen, data, seed)


def need_apart(x: Batch, held: Mapping[str, Tensor]) -> None:
    """Raises BadConfig if a row of x is among the inputs held by one of these names."""
    for name, inputs in held.items():
        shared = overlap(x, inputs.to(x.dtype)) if len(x) and len(inputs) else 0
        if shared:
            raise BadConfig(
                f"a remover's inputs must be apart from {name}: {shared:,} of {len(x):,} are among them. Leave them out."
            )
