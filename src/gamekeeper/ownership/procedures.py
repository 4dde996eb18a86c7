"""What a judge does with a claim: procedures that are the judge's own, since a claim is data and brings no code.

    matches    how often does the suspect answer y to x? Labels are enough; a posterior counts by its top class
    loss_gap   to come, with radioactive data
    margins    to come, with dataset inference

What is written down of an answer is its label, from which anybody can count again. An input that brings no answer is
asked for in vain: it counts as a miss, and the opinion says how many there were.

Source      none; the procedures of the schemes in `schemes/`, reduced to what a judge needs of them
Assumes     one answer per input; a suspect that answers differently when asked again is judged by the first answer
Deviations  ties go to the first class
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from gamekeeper.data.splits import row_keys
from gamekeeper.errors import BadClaim, Unsuited
from gamekeeper.ownership.canonical import model_digest
from gamekeeper.ownership.claim import Claim
from gamekeeper.ownership.draws import Draw
from gamekeeper.types import Batch, Oracle

MOST = 2_000
"""Most inputs that a judge counts; each costs a query, and the memory of a p-value grows with them."""
NO_ANSWER = -1
"""The label of an input that brought no answer."""


def inputs_of(claim: Claim) -> Float[Tensor, "n ..."]:
    """What is sent to the suspect, as float32. Raises BadClaim for more than MOST, or for rows that only float64 tells apart."""
    x = claim.tensors["x"].float()
    if len(x) > MOST:
        raise BadClaim(f"a judge asks about {MOST:,} inputs at most. The claim holds {len(x):,}; make one of fewer.")
    if len(set(row_keys(x))) < len(x):
        raise BadClaim("the inputs of a claim must differ as float32 numbers: one that comes twice would count twice.")
    return x


def labels(suspect: Oracle, x: Batch) -> Int[Tensor, " n"]:
    """The class that a suspect answers to each input, from 0; NO_ANSWER where a row is not finite, or says nothing."""
    y = suspect(x).y
    if y.shape[1] == 0:
        return torch.full((len(x),), NO_ANSWER)
    says = torch.isfinite(y).all(1) & (y > 0).any(1)
    return torch.where(says, torch.nan_to_num(y).argmax(1), NO_ANSWER)


def right(claim: Claim, answered: Int[Tensor, " n"]) -> Bool[Tensor, " n"]:
    """Which answers are as a claim of `matches` says. NO_ANSWER never is."""
    return answered == claim.tensors["y"]


def supported(claim: Claim) -> None:
    """Raises Unsuited for a procedure that is still to come."""
    if claim.procedure != "matches":
        schemes = {"loss_gap": "radioactive data", "margins": "dataset inference"}
        raise Unsuited(
            f"the procedure '{claim.procedure}' comes with {schemes[claim.procedure]}, in a later release. Today a judge"
            " tests claims of matches: inputs and the labels that a copy answers."
        )


def hits(claim: Claim, suspect: Oracle) -> Bool[Tensor, " n"]:
    """Which inputs of a claim the suspect answers as a copy would: a query each. Raises Unsuited or BadClaim."""
    supported(claim)
    return right(claim, labels(suspect, inputs_of(claim)))


def inputs_digest(x: Batch) -> str:
    """SHA-256 of inputs, 64 hexadecimal digits: what an owner commits to before a beacon draws their labels."""
    return model_digest({"inputs": x})


def as_drawn(claim: Claim, beacon: bytes, classes: int) -> bool:
    """Whether a claim's labels are those that a beacon draws for its inputs. Raises BadClaim for a beacon that is too short."""
    x, y = claim.tensors["x"], claim.tensors["y"]
    return torch.equal(Draw(beacon, inputs_digest(x)).labels("labels", classes, len(y)), y)
