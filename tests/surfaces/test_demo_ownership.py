"""The demo of a dispute, played small: fewer letters, triggers and models of the judge's."""

import shutil

import pytest
from examples.demo_ownership import Stage, moment, play
from examples.local_authority import authority
from rich.console import Console

from gamekeeper.architectures import Mlp
from gamekeeper.ownership.forgeries.transferable import Untargeted
from gamekeeper.surfaces.verify import seconds
from gamekeeper.targets.load import load_target
from gamekeeper.training.fit import Fit

pytestmark = [
    pytest.mark.thorough,
    pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the program openssl"),
]


def test_a_dispute_ends_as_it_should(tmp_path):
    mnist = load_target("mnist")
    small, forgery = Mlp(mnist.box.shape, 10, (64,)), Untargeted(steps=20, models=3, n=40, candidates=100)
    stage = Stage(tmp_path, authority(tmp_path), mnist, 600, 40, Fit(epochs=8), 2, (small,), forgery)
    tried, suspects = play(stage, Console(quiet=True))
    hits = {(each.claim, each.suspect): each.verdict.hits / each.verdict.n for each in tried}
    assert len(hits) == 3 * len(suspects) == 12
    assert hits["backdoor", "weight-copy"] > 0.9, hits
    assert hits["backdoor", "mnist"] < 0.4
    for each in tried:
        assert each.verdict.gates["opened"]
        assert each.verdict.gates["committed first"], each.verdict.reasons
    forged = [each.verdict for each in tried if each.claim == "forged"]
    assert all(verdict.decision == "void" and verdict.hits > 0.6 * verdict.n for verdict in forged)
    assert not any(each.verdict.decision == "supports" for each in tried if each.suspect == "mnist")


def test_moments_are_read_as_they_are_written():
    assert seconds(moment(1_800_000_000.7), "--public-since") == 1_800_000_000
