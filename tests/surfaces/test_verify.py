"""A dispute by the command line: an owner makes and registers a claim, a judge tries it, somebody else verifies the bundle."""

import json
import shutil

import numpy as np
import pytest
import torch
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from examples.local_authority import authority
from safetensors.torch import save_file

from gamekeeper.ownership import register
from gamekeeper.ownership.claim import load_claim
from gamekeeper.ownership.draws import Draw
from gamekeeper.ownership.procedures import inputs_digest
from gamekeeper.surfaces.cli import guarded
from gamekeeper.surfaces.verify import seconds
from tests.ownership.trials import BEACON, MARKS, marked, points, stranger, triggers
from tests.targets.server import serving

pytestmark = [
    pytest.mark.thorough,
    pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the program openssl"),
]

TOML = """
kind = "{kind}"
answers = "{answers}"
classes = 10
price = 0.01
{model}
[input]
shape = [12]
low = 0
high = 1
[data]
test = "test.npz"
pool = "test.npz"
train = "train.npz"
{more}
"""


def torch_target(folder, name, model, hidden):
    save_file(model.net.state_dict(), folder / f"{name}.safetensors")
    text = f'[model]\nfile = "{name}.safetensors"\narchitecture = "mlp:hidden={hidden}"'
    (folder / f"{name}.toml").write_text(TOML.format(kind="torch", answers="logits", model=text, more=""))


def pem(folder):
    key = Ed25519PrivateKey.generate()
    (folder / "judge.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (folder / "judge.pub").write_bytes(public)


@pytest.fixture(scope="module")
def dispute(tmp_path_factory):
    """A folder with everything, as an owner leaves it: inputs stamped, labels drawn, the claim stamped."""
    folder = tmp_path_factory.mktemp("dispute")
    local = authority(folder)
    for name, part in (("train", points(600, 7)), ("test", points(300, 99))):
        np.savez(folder / f"{name}.npz", x=part.x.numpy(), y=part.y.numpy())
    np.savez(folder / "inputs.npz", x=triggers().numpy())
    torch_target(folder, "own", marked(), 128)
    torch_target(folder, "stranger", stranger(0), 32)
    pem(folder)
    claim, beacon = folder / "claim.safetensors", ["--beacon", BEACON.hex(), "--classes", "10"]
    for file in (folder / "inputs.npz", claim):
        if file == claim:
            run("claim", "make", folder / "inputs.npz", *beacon, "--fact", "scheme=backdoor", "--out", claim)
        enter = ("claim", "register", file, "--register", folder / "register.jsonl")
        run(*enter, "--stamp-request", folder / "q.tsq")
        (folder / "q.tsr").write_bytes(local.stamp((folder / "q.tsq").read_bytes()))
        run(*enter, "--stamp", folder / "q.tsr", "--trust", folder / "root.pem")
    return folder


def run(*arguments, code: int = 0) -> None:
    assert guarded([str(each) for each in arguments]) == code


def trial(folder, suspect, out, *more, openings=("claim.safetensors",)):
    keys = [item for name in openings for item in ("--opening", folder / f"{name}.opening")]
    return (
        "verify", folder / "claim.safetensors", suspect, "--register", folder / "register.jsonl", *keys,
        "--own", folder / "own.toml", "--data", folder / "stranger.toml", "--public-since", "2100-01-01",
        "--trust", folder / "root.pem", "--architecture", "mlp:hidden=32", "--architecture", "mlp:hidden=48",
        "--checks", "200", "--out", out, *more,
    )  # fmt: skip


@pytest.fixture(scope="module")
def judged_copy(dispute, tmp_path_factory):
    out = tmp_path_factory.mktemp("copy")
    run(*trial(dispute, dispute / "own.toml", out, "--key", dispute / "judge.pem", "--quiet"))
    return out


def test_an_owner_registers_in_two_steps_and_the_files_hold_what_was_said(dispute):
    entries = register.read(dispute / "register.jsonl")
    assert [len(entry.stamps) for entry in entries] == [1, 1]
    claim = load_claim(dispute / "claim.safetensors")
    assert claim.facts == {"scheme": "backdoor", "beacon": BEACON.hex(), "classes": 10}
    assert (dispute / "claim.safetensors.opening").stat().st_mode & 0o077 == 0


def test_a_copy_is_supported_and_the_page_says_all(dispute, judged_copy, capsys):
    run("verify", "--bundle", judged_copy, "--signed-by", dispute / "judge.pub")
    text = capsys.readouterr().out
    for part in (
        "Verdict: supports", "supports the claim that own was derived from the owner's model", "p = ",
        "the chance that another model like those of the panel hits", f"of {MARKS}:", "accuracy 0.9",
        "open  committed first", "What would change this:", "hits or more of 40 support the claim",
        "What was not checked:", "the judge's word", "Signed by a key that you named.", "gamekeeper verify --bundle",
    ):  # fmt: skip
        assert part in text
    assert "the 10 models of the panel" in text
    assert "SHUT" not in text


def test_the_report_says_the_same_sentence_and_whoever_verifies_again_may_have_their_own(judged_copy, tmp_path, capsys):
    sentence = "The evidence supports the claim that own was derived from the owner&#39;s model."
    page = (judged_copy / "verdict.html").read_text()
    assert f"<h1>{sentence}</h1>" in page
    assert "queries of the suspect, free" in page
    assert (judged_copy / "verdict.svg").exists()
    assert (judged_copy / "verdict.png").exists()
    run("verify", "--bundle", judged_copy, "--out", tmp_path / "mine", "--quiet")
    assert f"report: {tmp_path / 'mine' / 'verdict.html'}" in capsys.readouterr().out
    again = (tmp_path / "mine" / "verdict.html").read_text()
    assert f"<h1>{sentence}</h1>" in again
    assert "the bundle does not say what they cost" in again


def test_verifying_again_says_the_same_to_the_letter(judged_copy, capsys):
    run("verify", "--bundle", judged_copy / "bundle", "--json")
    first = capsys.readouterr().out
    run("verify", "--bundle", judged_copy, "--json")
    assert capsys.readouterr().out == first
    said = json.loads(first)
    assert (said["decision"], said["n"], len(said["panel"])) == ("supports", MARKS, 10)


def test_a_stranger_is_not_shown_and_a_late_claim_is_void(dispute, judged_copy, capsys):
    for options, decision in (
        (("--public-since", "2100-01-01"), "not shown"),
        (("--public-since", "2000-01-01"), "void"),
    ):
        run(*trial(dispute, dispute / "stranger.toml", judged_copy, *options, "--json"))
        assert json.loads(capsys.readouterr().out)["decision"] == decision


def test_drawn_labels_are_a_null_of_their_own(dispute, judged_copy, capsys):
    both = ("inputs.npz", "claim.safetensors")
    options = ("--beacon", BEACON.hex(), "--beacon-at", "2099-01-01", "--json")
    run(*trial(dispute, dispute / "own.toml", judged_copy, *options, openings=both))
    said = json.loads(capsys.readouterr().out)
    assert said["null"] == "a model that cannot know labels drawn from 10"
    early = ("--beacon", BEACON.hex(), "--beacon-at", "2020-01-01")
    run(*trial(dispute, dispute / "own.toml", judged_copy, *early, openings=both), code=4)
    assert "must be older than the beacon" in capsys.readouterr().err


def test_a_live_api_needs_consent_and_every_query_is_paid_once(dispute, judged_copy, tmp_path, capsys):
    rows = []

    def answer(x: np.ndarray) -> np.ndarray:
        rows.append(len(x))
        return marked()(torch.from_numpy(x.astype(np.float32))).y.numpy()

    shutil.copytree(judged_copy / "clones", tmp_path / "clones")
    with serving(answer, (12,)) as api:
        more = f'[http]\nurl = "{api.url}"\nmodel = "m"\nbatch = 64'
        (dispute / "live.toml").write_text(TOML.format(kind="http", answers="probabilities", model="", more=more))
        go = trial(dispute, dispute / "live.toml", tmp_path)
        run(*go, code=4)
        assert "add --yes" in capsys.readouterr().err
        run(*go, "--dry-run", "--json")
        assert json.loads(capsys.readouterr().out)["plan"]["suspect"] == MARKS + 200
        assert rows == []
        run(*go, "--yes", "--json")
        said = json.loads(capsys.readouterr().out)
        assert said["decision"] == "supports"
        assert f"{MARKS + 200} queries of the suspect, 2.40" in (tmp_path / "verdict.html").read_text()
        assert sum(rows) == said["queries"] == MARKS + 200
        run(*go, "--yes", "--json")
        assert json.loads(capsys.readouterr().out) == said
    assert sum(rows) == MARKS + 200


def test_opening_a_claim_in_the_register_needs_no_file_afterwards(dispute, judged_copy, tmp_path, capsys):
    shutil.copytree(dispute, tmp_path / "d")
    run("claim", "open", tmp_path / "d" / "claim.safetensors", "--register", tmp_path / "d" / "register.jsonl")
    run(*trial(tmp_path / "d", dispute / "own.toml", judged_copy, "--quiet", openings=()))
    assert "supports the claim" in capsys.readouterr().out
    run("claim", "open", tmp_path / "d" / "claim.safetensors", "--register", tmp_path / "d" / "register.jsonl", code=4)


def test_what_makes_no_sense_ends_in_a_sentence(dispute, tmp_path, capsys):
    claim, book = dispute / "claim.safetensors", dispute / "register.jsonl"
    (tmp_path / "hostile.safetensors").write_bytes(b"\x80\x02c__builtin__\neval\n")
    (tmp_path / "other.opening").write_text("00" * 32)
    (tmp_path / "other.opening").chmod(0o600)
    go = trial(dispute, dispute / "own.toml", tmp_path / "out")
    for arguments, reason in (
        (("verify", claim), "a claim is judged with SUSPECT"),
        (trial(dispute, dispute / "own.toml", tmp_path, openings=()), "no commitment to this claim"),
        ((*go, "--opening", tmp_path / "none"), "cannot be read"),
        ((*go, "--public-since", "yesterday"), "--public-since must be a date"),
        ((*go, "--beacon", "ab" * 16), "--beacon needs --beacon-at"),
        ((*go, "--key", dispute / "judge.pub"), "ed25519 private key"),
        ((*go, "--trust", dispute / "register.jsonl"), "must hold certificates"),
        ((*go, "--head", "00" * 31 + "01"), "must hold the entry"),
        ((*go, "--register", tmp_path / "none"), "there is no register"),
        (("verify", tmp_path / "hostile.safetensors", *go[2:]), "must be a safetensors file"),
        (("verify", "--bundle", tmp_path), "holds no bundle"),
        (("claim", "make", dispute / "inputs.npz", "--out", tmp_path / "c"), "with --beacon and --classes"),
        (("claim", "register", dispute / "test.npz", "--register", tmp_path / "r"), "Make a claim of it first"),
        (("claim", "register", claim, "--register", book), "commit to a new claim"),
        (("claim", "register", claim, "--register", tmp_path / "r", "--stamp", dispute / "q.tsr"), "with --trust"),
        (
            (
                "claim",
                "register",
                claim,
                "--register",
                tmp_path / "r",
                "--stamp",
                dispute / "q.tsr",
                "--trust",
                dispute / "root.pem",
            ),
            "ask for a new one",
        ),
        (("claim", "make", dispute / "test.npz", "--fact", "x", "--out", tmp_path / "c"), "--fact takes name=value"),
    ):
        run(*arguments, code=4)
        message = capsys.readouterr().err
        assert message.startswith("gamekeeper: ")
        assert reason in " ".join(message.split()), message


def test_schemes_make_claims_and_inputs_to_commit_to(tmp_path, capsys):
    claim, inputs = tmp_path / "m.safetensors", tmp_path / "t.npz"
    run("claim", "mistakes", "mnist", "--most", "20", "--out", claim)
    assert load_claim(claim).facts["scheme"] == "own_mistakes"
    assert len(load_claim(claim).tensors["y"]) == 20
    run("claim", "triggers", "mnist", "--count", "30", "--out", inputs)
    run("claim", "make", inputs, "--beacon", BEACON.hex(), "--classes", "10", "--out", claim)
    x, y = load_claim(claim).tensors["x"], load_claim(claim).tensors["y"]
    assert torch.equal(y, Draw(BEACON, inputs_digest(x)).labels("labels", 10, 30))
    assert x.shape == (30, 1, 28, 28)
    assert inputs_digest(x) in capsys.readouterr().out
    run("claim", "triggers", "mnist", "--kind", "loud", "--out", inputs, code=4)


def test_dates_are_utc_and_begin_with_the_day():
    assert seconds("1970-01-02", "--x") == 86_400
    assert seconds("1970-01-01T01:00:00+01:00", "--x") == 0
    assert seconds("1970-01-01T00:00:01.9", "--x") == 1
