"""A claim's whole life: made, committed to, stamped, registered, opened, judged and signed; nothing in it is taken on trust."""

import shutil
from dataclasses import replace

import pytest
import torch
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from examples.local_authority import authority

from gamekeeper.ownership import register, stamps, statement
from gamekeeper.ownership.canonical import model_digest
from gamekeeper.ownership.claim import Claim, commitment, fresh_opening, load_claim, opens, save_claim
from gamekeeper.ownership.draws import Draw
from gamekeeper.ownership.evidence import Committed, Measured, PanelMeasured, agreement, variety
from gamekeeper.ownership.gates import Gates
from gamekeeper.ownership.judge import Verdict, verdict
from gamekeeper.ownership.nulls import OfPanel

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the program openssl")
N, CLASSES = 60, 10


@pytest.fixture(scope="module")
def life(tmp_path_factory):
    """(folder, authority, claim, opening, the verified place of the claim in the register)"""
    folder = tmp_path_factory.mktemp("life")
    local = authority(folder)
    inputs = torch.rand(N, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    labels = Draw(b"a beacon of the day", model_digest({"inputs": inputs})).labels("labels", CLASSES, N)
    claim, opening = Claim("matches", {"x": inputs, "y": labels}, {"scheme": "backdoor"}), fresh_opening()
    save_claim(claim, folder / "claim.safetensors")
    entry = register.upcoming(folder / "register.jsonl", commitment(claim.digest(), opening), 1)
    request = stamps.request(register.stamped(entry))
    response = local.stamp(request.body)
    stamps.verified(response, register.stamped(entry), [local.root], request.nonce)
    register.append(folder / "register.jsonl", replace(entry, stamps=(response,)))
    opened = register.upcoming(folder / "register.jsonl", entry.digest, 2, opening)
    register.append(folder / "register.jsonl", opened)
    return folder, local


def place(folder, local) -> Committed:
    """What a judge makes of the files, and of nothing else."""
    digest = load_claim(folder / "claim.safetensors").digest()
    entries = register.read(folder / "register.jsonl")
    opening = next(e.opening for e in entries if e.opening is not None and opens(e.digest, digest, e.opening))
    entry = next(e for e in entries if opens(e.digest, digest, opening) and e.opening is None)
    dated = tuple(stamps.verified(stamp, register.stamped(entry), [local.root]) for stamp in entry.stamps)
    return Committed(entry, digest, opening, dated)


def judged(life, suspect: torch.Tensor, public_after: int = 60) -> Verdict:
    """Of a suspect that answers these labels, against ten models that answer at random."""
    folder, local = life
    claim, committed = load_claim(folder / "claim.safetensors"), place(folder, local)
    y = claim.tensors["y"]
    panel = torch.randint(CLASSES, (10, N), generator=torch.Generator().manual_seed(1)) == y
    hits = tuple(int(row.sum()) for row in panel)
    of_panel = PanelMeasured(hits, (0.9,) * 10, own=N, agreement=agreement(panel), variety=variety(y, CLASSES))
    measured = Measured(int((suspect == y).sum()), N, N, 0.9)
    assert committed.since is not None
    return verdict(measured, of_panel, Gates(), committed, committed.since + public_after, {}, OfPanel())


def test_a_copy_is_supported_an_independent_model_is_not_and_a_late_claim_is_void(life):
    y = load_claim(life[0] / "claim.safetensors").tensors["y"]
    assert judged(life, y).decision == "supports"
    assert judged(life, y.roll(1)).decision == "not shown"  # labels shuffled
    assert judged(life, torch.zeros(N, dtype=torch.int64)).decision == "not shown"
    assert judged(life, y, public_after=0).decision == "void"
    assert judged(life, y) == judged(life, y)


def test_a_signed_verdict_names_the_suspect_and_can_be_read_by_others(life):
    found = judged(life, torch.zeros(N, dtype=torch.int64))
    key = Ed25519PrivateKey.generate()
    said = statement.Statement(
        {"suspect": model_digest({"w": torch.ones(3)})}, "urn:gamekeeper:verdict:v1", found.predicate()
    )
    assert statement.verified(statement.signed(said, key), [key.public_key()]).predicate["decision"] == "not shown"


def test_a_claim_that_was_swapped_after_registration_does_not_open(life, tmp_path):
    folder, local = life
    claim = load_claim(folder / "claim.safetensors")
    shutil.copy(folder / "register.jsonl", tmp_path)
    swapped = Claim(claim.procedure, {**claim.tensors, "y": (claim.tensors["y"] + 1) % CLASSES}, claim.facts)
    save_claim(swapped, tmp_path / "claim.safetensors")
    with pytest.raises(StopIteration):
        place(tmp_path, local)
