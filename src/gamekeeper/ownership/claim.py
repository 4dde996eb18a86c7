"""A claim: what an owner hands to a judge. Tensors, a few facts and the name of a procedure; never code.

    matches    x (n, ...), y (n,)             how often does the suspect answer y to x?
    loss_gap   x, twin (n, ...), y (n,)       how much lower is its loss at x than at x's twin?
    margins    members, others (n, ...)       how much further from a boundary are members than others?

The procedures are the judge's. A claim has one digest, which changes with any bit of it, and is committed to long before
a dispute: the commitment shows nothing of the claim until the owner opens it. On disk a claim is one safetensors file,
whose metadata holds the procedure and the facts as JSON.

Source      Adi, Baum, Cisse, Pinkas, Keshet, "Turning your weakness into a strength" (USENIX Security 2018):
            triggers are committed to, and opened when a judge asks; the format is ours
Assumes     nothing about who wrote a file: sizes, dtypes, shapes and numbers are checked before anything is used
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from gamekeeper.aside import replaced
from gamekeeper.errors import BadClaim
from gamekeeper.ownership.canonical import DTYPES, elements, hash_bytes, json_bytes, part, read_json, tensor_bytes

Procedure = Literal["matches", "loss_gap", "margins"]
TENSORS: Mapping[Procedure, frozenset[str]] = {
    "matches": frozenset({"x", "y"}),
    "loss_gap": frozenset({"x", "twin", "y"}),
    "margins": frozenset({"members", "others"}),
}
NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
FORMAT = 1
MOST_BYTES, MOST_HEADER, MOST_ROWS = 2**28, 2**16, 100_000
MOST_FACTS, MOST_TEXT = 64, 1_024
OPENING = 32
"""Length of what opens a commitment, in bytes."""


@dataclass(frozen=True, eq=False)
class Claim:
    """Evidence that a judge can test. Raises BadClaim for tensors or facts that do not fit the procedure.

    tensors  those of the procedure, and no others; y are labels (int64), inputs are finite, and no input comes twice
    facts    what a reader should know (scheme, date, settings): text and whole numbers, since floats have many spellings
    """

    procedure: Procedure
    tensors: Mapping[str, Tensor]
    facts: Mapping[str, str | int]

    def __post_init__(self) -> None:
        check_tensors(self.procedure, self.tensors)
        check_facts(self.facts)
        owned = {name: tensor.detach().cpu().clone() for name, tensor in self.tensors.items()}
        object.__setattr__(self, "tensors", MappingProxyType(owned))
        object.__setattr__(self, "facts", MappingProxyType(dict(self.facts)))

    def canonical(self) -> bytes:
        """Bytes that no other claim has."""
        head = part(b"gamekeeper claim 1") + part(self.procedure.encode()) + part(json_bytes(dict(self.facts)))
        return head + tensor_bytes(self.tensors)

    def digest(self) -> str:
        """SHA-256 of the canonical bytes, 64 hexadecimal digits."""
        return hashlib.sha256(self.canonical()).hexdigest()


def check_tensors(procedure: Procedure, tensors: Mapping[str, Tensor]) -> None:
    if frozenset(tensors) != TENSORS[procedure]:
        wanted, given = (", ".join(sorted(names)) or "none" for names in (TENSORS[procedure], tensors))
        raise BadClaim(f"a claim of {procedure} must hold the tensors {wanted}. Got {given}.")
    if sum(tensor.numel() * tensor.element_size() for tensor in tensors.values()) > MOST_BYTES:
        raise BadClaim(f"a claim may hold {MOST_BYTES:,} bytes of tensors at most. Give fewer inputs.")
    for name, tensor in tensors.items():
        if name == "y":
            check_labels(tensor)
        else:
            check_inputs(name, tensor)
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if ("y" in shapes and shapes["y"][0] != shapes["x"][0]) or ("twin" in shapes and shapes["twin"] != shapes["x"]):
        raise BadClaim(f"every input of a claim needs its label, and its twin if there are twins. Got shapes {shapes}.")


def check_labels(y: Tensor) -> None:
    if y.dtype != torch.int64 or y.ndim != 1 or len(y) == 0 or int(y.min()) < 0:
        raise BadClaim(f"labels must be one or more int64 numbers from 0. Got shape {tuple(y.shape)} of {y.dtype}.")


def check_inputs(name: str, x: Tensor) -> None:
    if x.dtype not in DTYPES or x.ndim < 2 or not 1 <= len(x) <= MOST_ROWS or x.numel() == 0:
        raise BadClaim(
            f"'{name}' must hold 1 to {MOST_ROWS:,} inputs of shape (n, ...) and dtype {', '.join(DTYPES.values())}."
            f" Got shape {tuple(x.shape)} of {x.dtype}."
        )
    if not torch.isfinite(x).all():
        raise BadClaim(f"'{name}' must be finite. It holds NaN or infinity.")
    rows = x if x.dtype == torch.bool else x + 0  # -0.0 + 0 is 0.0
    if len({hashlib.sha256(elements(row)).digest() for row in rows}) < len(x):
        raise BadClaim(f"the inputs of '{name}' must differ: one that comes twice would count twice. Leave it out.")


def check_facts(facts: object) -> None:
    """Raises BadClaim for anything but a few short texts and 64-bit whole numbers under plain names."""
    if not isinstance(facts, Mapping) or len(facts) > MOST_FACTS:
        raise BadClaim(f"a claim's facts must be names with values, {MOST_FACTS} at most. Got {str(facts)[:80]}.")
    for name, value in facts.items():
        if not NAME.fullmatch(str(name)):
            raise BadClaim(
                f"a fact's name must be lower-case letters, digits and _, 64 at most. Got {str(name)[:80]!r}."
            )
        if type(value) is int and -(2**63) <= value < 2**63:
            continue
        if type(value) is not str or len(value) > MOST_TEXT or not value.isprintable():
            raise BadClaim(
                f"the fact '{name}' must be printable text of {MOST_TEXT:,} characters at most, or a whole number of 64"
                f" bits; write other numbers as text. Got {str(value)[:80]!r} ({type(value).__name__})."
            )


def claim_bytes(claim: Claim) -> bytes:
    """A claim as a safetensors file; the same bytes for the same claim."""
    about = json_bytes({"format": FORMAT, "procedure": claim.procedure, "facts": dict(claim.facts)})
    return save({name: t.contiguous() for name, t in claim.tensors.items()}, {"claim": about.decode()})


def save_claim(claim: Claim, path: Path) -> None:
    """Written aside and renamed."""
    replaced(path, [claim_bytes(claim)])


def load_claim(path: Path) -> Claim:
    """The claim in a file that anybody may have written. Raises BadClaim."""
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + MOST_HEADER + 9)
    except OSError as error:
        raise BadClaim(f"the claim {path} cannot be read: {error.strerror}.") from error
    return claim_of(data)


def claim_of(data: bytes) -> Claim:
    """The claim in the bytes of a file. Raises BadClaim."""
    about = read_json(header(data).encode(), "the claim's metadata")
    if set(about) != {"format", "procedure", "facts"} or about["format"] != FORMAT:
        raise BadClaim(
            f"the claim's metadata must be format (which is {FORMAT}), procedure and facts. Got"
            f" {', '.join(sorted(about))[:80]}, format {str(about.get('format'))[:80]}. It was written by another program or"
            " release."
        )
    procedure: Procedure | None = next((name for name in TENSORS if name == about["procedure"]), None)
    if procedure is None:
        raise BadClaim(
            f"a claim's procedure must be one of {', '.join(TENSORS)}. Got {str(about['procedure'])[:80]!r}."
        )
    check_facts(about["facts"])
    try:
        tensors = load(data)
    except SafetensorError as error:
        raise BadClaim(f"the claim is not a whole safetensors file: {error}.") from None
    return Claim(procedure, tensors, about["facts"])


def header(data: bytes) -> str:
    """The JSON about a claim, from the head of a safetensors file whose tensors are few and of known dtypes.

    Raises BadClaim. The head is checked before any tensor is made: a dtype or a length could be beyond this machine.
    """
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or length > min(MOST_HEADER, len(data) - 8) or len(data) > MOST_BYTES + MOST_HEADER + 8:
        raise BadClaim(
            f"a claim must be a safetensors file of {MOST_BYTES:,} bytes of tensors at most, after a header of"
            f" {MOST_HEADER:,} at most. Got {len(data):,} bytes that announce a header of {length:,}."
        )
    head = read_json(data[8 : 8 + length], "the claim's header")
    metadata: Any = head.pop("__metadata__", None)
    if not isinstance(metadata, dict) or set(metadata) != {"claim"} or not isinstance(metadata["claim"], str):
        raise BadClaim(
            "a claim's metadata must be one text named 'claim'. This is a safetensors file of something else."
        )
    wrong = [
        name for name, entry in head.items() if not isinstance(entry, dict) or entry.get("dtype") not in DTYPES.values()
    ]
    if wrong:
        raise BadClaim(f"a claim's tensors must be of dtype {', '.join(DTYPES.values())}. Not so: {wrong[0][:80]!r}.")
    return metadata["claim"]


def fresh_opening() -> bytes:
    """32 random bytes that open one commitment. Whoever loses them cannot open it; they stay secret until then."""
    return secrets.token_bytes(OPENING)


def commitment(digest: str, opening: bytes) -> str:
    """What is published of a claim: HMAC-SHA256 of its digest under the opening, 64 hexadecimal digits.

    It hides the claim, even from somebody who can guess it, and no other claim or opening leads to it. Raises BadClaim.
    """
    if len(opening) != OPENING:
        raise BadClaim(f"what opens a commitment is {OPENING} bytes. Got {len(opening)}.")
    return hmac.digest(opening, part(b"gamekeeper commitment 1") + hash_bytes(digest), "sha256").hex()


def opens(committed: str, digest: str, opening: bytes) -> bool:
    """Whether a commitment was made to the claim of this digest with this opening."""
    return hmac.compare_digest(committed.encode(), commitment(digest, opening).encode())
