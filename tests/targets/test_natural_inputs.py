"""The owner's natural inputs: what they change, what gates make of them, and what is refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import binom

from gamekeeper.data import batteries
from gamekeeper.defenses.keyed_misinformation import KeyedMisinformation
from gamekeeper.defenses.mad.recipe import MAD
from gamekeeper.defenses.ood_gate import OodGate
from gamekeeper.defenses.when import When
from gamekeeper.detectors.ood import Msp, calibrated
from gamekeeper.engine.grid import Audit, expand
from gamekeeper.errors import BadConfig, Unsuited
from gamekeeper.targets.choice import Choice, header_entry
from gamekeeper.targets.load import load_target
from gamekeeper.targets.target import Target
from tests.targets.test_auxiliary import FILE

GATES = (OodGate("msp"), OodGate("energy"), OodGate("mahalanobis"), OodGate("knn"), KeyedMisinformation())


def flagged(armed: When, target: Target) -> float:
    """Share of the test set that a gate flags."""
    return float(armed.suspicious(target.test.x, target.victim(target.test.x)).double().mean())


@pytest.mark.parametrize("name", ["mnist", "fashion"])
def test_a_gate_stated_at_1_percent_flags_1_percent_of_fresh_natural_inputs(name: str):
    """Within what 2,000 fresh inputs and a threshold set on 2,000 others bring: a beta-binomial, here a binomial of 1,000."""
    target = load_target(name)
    low, high = binom.interval(0.999, 1_000, 0.01)
    for gate in GATES:
        assert low / 1_000 <= flagged(gate.arm(target.victim, target.owner, 0), target) <= high / 1_000


def test_set_on_training_inputs_it_flags_three_times_as_many():
    target = load_target("mnist")
    assert (
        flagged(OodGate("msp").arm(target.victim, replace(target.owner, natural=None, natural_truth=None), 0), target)
        > 0.03
    )


def test_the_score_is_fitted_on_all_training_inputs_and_the_threshold_set_on_half_of_the_natural_ones():
    target = load_target("mnist")
    found = calibrated(Msp(), target.victim, target.owner, 0)
    assert target.owner.natural is not None
    scores = target.victim(target.owner.natural).y.double().amax(1)
    assert len(found.benign) == 2_000
    assert torch.isclose(found.benign[:, None], scores, rtol=0, atol=1e-6).any(1).all()
    with pytest.raises(Unsuited, match="at least 2 of the owner's natural inputs"):
        calibrated(Msp(), target.victim, replace(target.owner, natural=target.owner.natural[:1], natural_truth=None), 0)


def test_they_enter_the_question_of_those_that_calibrate_on_them_alone():
    target = load_target("mnist")
    without = replace(target, owner=replace(target.owner, natural=None, natural_truth=None))
    fewer = replace(target, owner=replace(target.owner, natural=target.owner.natural[:100], natural_truth=None))
    assert target.digest_behind([MAD(0.5)]) == target.digest_behind([]) == target.digest
    assert without.digest_behind([OodGate()]) == target.digest
    digests = {each.digest_behind([MAD(0.5), OodGate()]) for each in (target, without, fewer)}
    assert len(digests) == 3


def asked(choice: Choice) -> None:
    expand(Audit(choice, ["knockoff"], ["none"], [10], [0]), choice.load())


def test_a_target_file_names_them_and_they_enter_its_digest(tmp_path: Path):
    (tmp_path / "plain.toml").write_text(FILE)
    (tmp_path / "natural.toml").write_text(FILE + 'natural = "mnist-natural"\n')
    plain, natural = (load_target(str(tmp_path / f"{name}.toml")) for name in ("plain", "natural"))
    assert natural.owner.natural is not None
    assert torch.equal(natural.owner.natural, batteries.load("mnist-natural").x)
    assert plain.digest != natural.digest
    assert header_entry(natural)["sizes"]["natural"] == 4_000
    assert "natural" not in header_entry(plain)["sizes"]
    asked(Choice(str(tmp_path / "natural.toml")))


@pytest.mark.parametrize(
    ("battery", "where"), [("mnist-train", "data.train"), ("letters", "pool"), ("mnist-test", "test")]
)
def test_inputs_that_are_in_another_part_are_refused_before_anything_is_asked(tmp_path: Path, battery: str, where: str):
    some = torch.cat([batteries.load("mnist-natural").x[:9], batteries.load(battery).x[:3]])
    np.savez(tmp_path / "mixed.npz", x=some.numpy())
    (tmp_path / "mixed.toml").write_text(FILE + 'natural = "mixed.npz"\n')
    with pytest.raises(BadConfig, match=rf"3 of the 12 natural inputs .* also in .*{where}"):
        asked(Choice(str(tmp_path / "mixed.toml")))
