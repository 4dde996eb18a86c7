"""A digest that changes with any bit, files that cannot run anything, and commitments that hide and bind."""

import contextlib
import json
import pickle
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save

from gamekeeper.errors import BadClaim
from gamekeeper.ownership.canonical import json_bytes, model_digest, read_json, tensor_bytes
from gamekeeper.ownership.claim import Claim, claim_of, commitment, fresh_opening, load_claim, opens, save_claim

X = torch.arange(24.0).reshape(4, 2, 3) / 8
Y = torch.tensor([3, 1, 4, 1])
CLAIM = Claim("matches", {"x": X, "y": Y}, {"scheme": "backdoor", "seed": 7})
ABOUT = {"format": 1, "procedure": "matches", "facts": {"scheme": "backdoor", "seed": 7}}


def raw(tensors, about=ABOUT, **more):
    return save({name: t.contiguous() for name, t in tensors.items()}, {"claim": json.dumps(about), **more})


def with_header(data: bytes, text: str) -> bytes:
    """The same file under another header."""
    length = int.from_bytes(data[:8], "little")
    return len(text).to_bytes(8, "little") + text.encode() + data[8 + length :]


def test_the_digest_is_this_one_on_every_machine():
    """A golden value: a change of the canonical bytes voids every claim that was ever registered."""
    assert CLAIM.digest() == "141e4ff1114a6174ba65f6fb83443aa354c81d95356a88a968017a5b0ca4edce"
    assert model_digest({"w": torch.ones(2)}) == "bac0ab9ae8756811d68ca94ea4c2ce900096e0be0d8677da0f74ca7409944531"


@given(st.integers(0, 24 * 32 - 1))
def test_any_bit_of_an_input_changes_the_digest(bit):
    words = X.clone().view(torch.int32).flatten()
    words[bit // 32] ^= torch.tensor(1 << (bit % 32), dtype=torch.int64).to(torch.int32)
    changed = words.view(torch.float32).reshape(X.shape)
    if torch.isfinite(changed).all():
        assert tensor_bytes({"x": changed}) != tensor_bytes({"x": X})
        assert replace(CLAIM, tensors={"x": changed, "y": Y}).digest() != CLAIM.digest()


@pytest.mark.parametrize(
    "other",
    [
        Claim("matches", {"x": X, "y": Y + 1}, CLAIM.facts),
        Claim("matches", {"x": X.double(), "y": Y}, CLAIM.facts),
        Claim("matches", {"x": X.reshape(4, 3, 2), "y": Y}, CLAIM.facts),
        Claim("matches", {"x": X, "y": Y}, {"scheme": "backdoor", "seed": "7"}),
        Claim("matches", {"x": X, "y": Y}, {"scheme": "backdoors", "seed": 7}),
        Claim("matches", {"x": X, "y": Y}, {"scheme": "backdoor"}),
        Claim("margins", {"members": X, "others": X}, CLAIM.facts),
    ],
)
def test_every_part_of_a_claim_changes_the_digest(other):
    assert other.digest() != CLAIM.digest()


def test_how_a_tensor_lies_in_memory_and_the_order_of_names_do_not():
    strided = X.permute(2, 1, 0).contiguous().permute(2, 1, 0)
    assert not strided.is_contiguous()
    same = Claim("matches", {"y": Y, "x": strided}, {"seed": 7, "scheme": "backdoor"})
    assert same.digest() == CLAIM.digest()


def test_boundaries_between_parts_are_part_of_the_bytes():
    a, b = torch.tensor([1], dtype=torch.uint8), torch.tensor([2], dtype=torch.uint8)
    assert tensor_bytes({"a": a, "ab": b}) != tensor_bytes({"aa": a, "b": b})
    assert tensor_bytes({"a": torch.zeros(2, 0)}) != tensor_bytes({"a": torch.zeros(0, 2)})


def test_a_claim_does_not_change_with_the_tensors_it_was_made_from():
    x = X.clone()
    claim = Claim("matches", {"x": x, "y": Y}, {})
    before = claim.digest()
    x[0] = 100
    assert claim.digest() == before


def test_one_ulp_changes_a_model_and_the_order_of_its_parameters_does_not():
    w, b = torch.randn(3, 4, generator=torch.Generator().manual_seed(0)), torch.zeros(3)
    ulp = w.clone()
    ulp[1, 1] = torch.nextafter(ulp[1, 1], torch.tensor(9.0))
    assert model_digest({"w": w, "b": b}) == model_digest({"b": b, "w": w}) != model_digest({"w": ulp, "b": b})


def test_a_claim_comes_back_from_its_file_bit_for_bit(tmp_path):
    save_claim(CLAIM, tmp_path / "claim.safetensors")
    again = load_claim(tmp_path / "claim.safetensors")
    assert again.digest() == CLAIM.digest()
    assert again.facts == CLAIM.facts
    assert torch.equal(again.tensors["x"], X)
    assert [path.name for path in tmp_path.iterdir()] == ["claim.safetensors"]


class Canary:
    def __reduce__(self):
        return (pytest.fail, ("a claim ran code",))


XY = {"x": X, "y": Y}
NAN = torch.cat([X, torch.full((1, 2, 3), torch.nan)])
HOSTILE = {
    "a pickle": (pickle.dumps(Canary()), "safetensors"),
    "nothing": (b"", "safetensors"),
    "a header longer than the file": ((2**40).to_bytes(8, "little") + b"{}", "announce a header"),
    "cut short": (raw(XY)[:-1], "not a whole safetensors file"),
    "bytes after the end": (raw(XY) + b"\0", "not a whole safetensors file"),
    "no metadata": (save(XY), "something else"),
    "other metadata as well": (raw(XY, code="import os"), "something else"),
    "an unknown procedure": (raw(XY, ABOUT | {"procedure": "os.system"}), "procedure must be one of"),
    "a procedure that is no text": (raw(XY, ABOUT | {"procedure": ["matches"]}), "procedure must be one of"),
    "another format": (raw(XY, ABOUT | {"format": 2}), "another program or release"),
    "a float among the facts": (raw(XY, ABOUT | {"facts": {"alpha": 0.1}}), "is a float"),
    "nested facts": (raw(XY, ABOUT | {"facts": {"a": {"b": 1}}}), "must be printable text"),
    "facts that are a list": (raw(XY, ABOUT | {"facts": [1]}), "must be names with values"),
    "a truth value": (raw(XY, ABOUT | {"facts": {"a": True}}), "must be printable text"),
    "an escape sequence": (raw(XY, ABOUT | {"facts": {"a": "\x1b[2J"}}), "must be printable text"),
    "a path as a name": (raw(XY, ABOUT | {"facts": {"../a": 1}}), "fact's name"),
    "a huge number": (raw(XY, ABOUT | {"facts": {"a": 2**63}}), "64 bits"),
    "bfloat16": (raw({"x": X.bfloat16(), "y": Y}), "dtype"),
    "a tensor too many": (raw(XY | {"code": Y + 1}), "must hold the tensors x, y"),
    "a tensor missing": (raw({"x": X}), "must hold the tensors x, y"),
    "labels that are floats": (raw({"x": X, "y": Y.double()}), "int64"),
    "a negative label": (raw({"x": X, "y": Y - 2}), "int64"),
    "labels in a column": (raw({"x": X, "y": Y[:, None]}), "int64"),
    "a label too few": (raw({"x": X, "y": Y[:3]}), "needs its label"),
    "no inputs": (raw({"x": X[:0], "y": Y[:0]}), "inputs of shape|int64"),
    "NaN": (raw({"x": NAN, "y": torch.cat([Y, Y[:1]])}), "finite"),
    "a trigger twice": (raw({"x": X[[0, 1, 2, 0]], "y": Y}), "comes twice"),
    "a trigger twice, once as minus zero": (raw({"x": torch.tensor([[0.0], [-0.0]]), "y": Y[:2]}), "comes twice"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused_with_a_sentence(name):
    data, reason = HOSTILE[name]
    with pytest.raises(BadClaim, match=reason):
        claim_of(data)


def test_a_header_that_two_readers_could_read_differently_is_refused():
    data = raw(XY)
    text = data[8 : 8 + int.from_bytes(data[:8], "little")].decode()
    assert claim_of(with_header(data, text)).digest() == CLAIM.digest()
    twice = text.rstrip()[:-1] + ',"y":{"dtype":"I64","shape":[4],"data_offsets":[96,128]}}'
    with pytest.raises(BadClaim, match="comes twice"):
        claim_of(with_header(data, twice))
    with pytest.raises(BadClaim, match="comes twice"):
        claim_of(with_header(data, text.replace("seed", "scheme")))


@given(st.binary(max_size=200), st.integers(0, 400))
def test_no_file_raises_anything_else(noise, at):
    whole = raw(XY)
    for data in (noise, whole[:at] + noise + whole[at + len(noise) :], whole[:at]):
        with contextlib.suppress(BadClaim):
            claim_of(data)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(BadClaim, match=r"none\.safetensors cannot be read"):
        load_claim(tmp_path / "none.safetensors")


def test_facts_hold_no_floats():
    with pytest.raises(BadClaim, match="floats"):
        json_bytes({"a": [1, {"b": 0.5}]})
    with pytest.raises(BadClaim, match="is a float"):
        read_json(b'{"a": NaN}', "it")
    with pytest.raises(BadClaim, match=r"cannot be read|nested too deeply"):
        read_json(b'{"a":' + b"[" * 100_000, "it")


def test_a_commitment_opens_with_its_claim_and_opening_only():
    opening, digest = bytes(range(32)), CLAIM.digest()
    committed = commitment(digest, opening)
    assert committed == "a0603306cf74c0ce1244791db159cbe7b210b64621a1c1e919c4e75fc20cfd0a"
    assert opens(committed, digest, opening)
    assert not opens(committed, digest, fresh_opening())
    assert not opens(committed, Claim("matches", XY, {}).digest(), opening)
    assert not opens("", digest, opening)
    with pytest.raises(BadClaim, match="32 bytes"):
        commitment(digest, b"short")
    for text in (digest.upper(), digest[:-1], digest + "\n", "xyz"):
        with pytest.raises(BadClaim, match="64 lower-case"):
            commitment(text, opening)


def test_commitments_to_one_claim_do_not_look_alike():
    """Without the opening, somebody who guesses the claim would know it from its commitment."""
    committed = {commitment(CLAIM.digest(), fresh_opening()) for _ in range(100)}
    assert len(committed) == 100
    assert CLAIM.digest() not in committed
