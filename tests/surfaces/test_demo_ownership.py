"""The demo of a dispute, played small: fewer letters, triggers and models of the judge's."""

import shutil

import pytest
from rich.console import Console

from examples.demo_ownership import Stage, moment, play
from examples.local_authority import authority
from gamekeeper.surfaces.verify import seconds
from gamekeeper.targets.load import load_target
from gamekeeper.training.fit import FAST

pytestmark = [
    pytest.mark.thorough,
    pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the program openssl"),
]


def test_a_dispute_ends_as_it_should(tmp_path):
    stage = Stage(tmp_path, authority(tmp_path), load_target("mnist"), 600, 40, FAST, 2)
    tried, suspects = play(stage, Console(quiet=True))
    hits = {(each.claim, each.suspect): each.verdict.hits / each.verdict.n for each in tried}
    assert len(hits) == 3 * len(suspects) == 12
    assert hits["backdoor", "weights"] > 0.9
    assert hits["backdoor", "mnist"] < 0.4
    for each in tried:
        assert each.verdict.gates["opened"]
        assert each.verdict.gates["committed first"], each.verdict.reasons
    forged = [each.verdict for each in tried if each.claim == "forged"]
    assert all(verdict.decision == "void" and verdict.hits > 0.8 * verdict.n for verdict in forged)
    assert not any(verdict.gates["panel agreement"] for verdict in forged)
    assert not any(each.verdict.decision == "supports" for each in tried if each.suspect == "mnist")


def test_moments_are_read_as_they_are_written():
    assert seconds(moment(1_800_000_000.7), "--public-since") == 1_800_000_000
