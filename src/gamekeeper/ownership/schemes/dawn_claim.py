"""The claim on a clone trained on one client's answers from behind DAWN: their marked inputs, with the wrong labels given.

Source      Szyller, Atli, Marchal, Asokan, "DAWN: Dynamic adversarial watermarking of neural networks" (ACM MM 2021), 3.4
Assumes     the memory of the client, from behind a DAWN that was armed on the owner's secret
Deviations  the paper holds a suspect's error on the marks against a fixed threshold. Here the judge holds the hits against
            a panel of models that copied nothing
Keeps       what is claimed is of one client: another client's clone misses it, and so does a copy of the weights. For the
            gate `own model`, a clone trained on the client's answers must pass, not the victim

With `cells` several marks may share a cell, and then one wrong class: hits are no independent trials. The null of a panel
allows for models that differ, not for that.
"""

import torch
from jaxtyping import Bool
from torch import Tensor

from gamekeeper.defenses.dawn import DAWN, ArmedDAWN, Marks
from gamekeeper.errors import Unsuited
from gamekeeper.ownership.claim import Claim


def dawn_claim(marks: Marks, recipe: DAWN) -> Claim:
    """The claim on whoever trained on this client's answers. Raises Unsuited if none of them was marked."""
    if len(marks.y) == 0:
        raise Unsuited(
            f"a claim needs marked answers; this client was given none at a share of {recipe.share:g}. Wait until they ask"
            " more, or mark a larger share."
        )
    facts = {"scheme": "dawn", "mapping": recipe.mapping, "share": f"{recipe.share:g}", "not_remembered": marks.beyond}
    return Claim("matches", {"x": marks.x, "y": marks.y}, facts)


def drawn_by(claim: Claim, armed: ArmedDAWN, key: bytes, classes: int) -> Bool[Tensor, " n"]:
    """Which inputs of a claim a client's key marks. All of an honest claim; of another client's about the share.

    A judge who is given the key (`ArmedDAWN.client_key`) sees so that the inputs were not picked by what a suspect answers.
    """
    return torch.as_tensor(armed.drawn(claim.tensors["x"], key, classes) > 0)
