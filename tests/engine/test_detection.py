"""Detection runs: what clients send, what a row says, and that nothing leaks between calibration and the clients."""

import functools
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
import torch

from gamekeeper.analysis.detection import first_alarm, summarise
from gamekeeper.data.splits import overlap, row_keys
from gamekeeper.detection_rows import ANY, DetectionRow, from_json, to_line
from gamekeeper.detectors.calibrate import Benign
from gamekeeper.detectors.limits import Binomial
from gamekeeper.engine.detection import DetectionCell, dealt, mixed_in, run_cell, watched
from gamekeeper.engine.honest import KINDS, kinds
from gamekeeper.engine.scene import LIMITS, Scene, Setting, calibrated, scene
from gamekeeper.errors import BadConfig
from gamekeeper.surfaces.report.noticed import HIGH, noticed
from gamekeeper.targets.choice import Choice
from gamekeeper.types import Box

SETTING = Setting(Choice("mnist"), ("ood_share:score=mahalanobis", "mmd", "boundary"), 0.05, looks=(20, 50))


@functools.cache
def mnist() -> Scene:
    return scene(SETTING)


def test_honest_clients_send_nothing_that_anything_was_set_on():
    here = mnist()
    natural = here.target.owner.natural
    assert natural is not None
    for held in (natural, here.benign.x, here.target.owner.x):
        assert overlap(here.unseen.x, held) == 0
    assert overlap(here.benign.x, natural) == len(here.benign)  # the other half of them sets references


def test_every_kind_of_client_sends_as_many_queries_as_asked_for_from_the_domain():
    here = mnist()
    for name in kinds(here.unseen, here.target.box):
        client = KINDS[name](here.unseen, 40, 3, here.target.box)
        assert len(client) == (160 if name == "heavy user" else 40), name
        here.target.box.check(client.x)
        again = KINDS[name](here.unseen, 40, 3, here.target.box)
        assert torch.equal(client.x, again.x)
        torch.testing.assert_close(here.target.victim(client.x).y, client.clean.y)
    assert "thick strokes" not in kinds(here.unseen, Box((3, 28, 28)))


def test_kinds_are_what_they_say():
    here = mnist()
    retried = row_keys(KINDS["retries"](here.unseen, 200, 0, here.target.box).x)
    assert 70 <= len(set(retried)) <= 130
    assert len(set(row_keys(KINDS["natural"](here.unseen, 200, 0, here.target.box).x))) == 200
    shares = [
        torch.bincount(KINDS[name](here.unseen, 200, 5, here.target.box).clean.y.argmax(1), minlength=10).max().item()
        for name in ("natural", "class mix Dirichlet(.3)")
    ]
    assert shares[1] > 1.5 * shares[0]
    frames = KINDS["frame bursts"](here.unseen, 20, 0, here.target.box).x.flatten(1)
    assert torch.cdist(frames[:10], frames[:10]).max() < 1.2 < torch.cdist(frames[:10], frames[10:]).min()


def test_a_mix_keeps_the_thiefs_queries_in_order_and_accounts_share_them_all():
    victim = mnist().target.victim
    own = Benign.of(victim, torch.linspace(0, 1, 40).view(40, 1, 1, 1).expand(40, 1, 28, 28).contiguous())
    mixed = mixed_in(own, 0.25, mnist().unseen, 0)
    keys = row_keys(own.x)
    assert len(mixed) == 40
    assert [key for key in row_keys(mixed.x) if key in keys] == keys[:10]
    traffic = dealt(mixed, 3)
    assert traffic.account.bincount().tolist() == [14, 13, 13]
    assert mixed_in(own, 1.0, mnist().unseen, 0) is own


def test_a_run_notices_noise_and_neither_honest_clients_nor_the_insider(tmp_path: Path):
    here = mnist()
    limits = calibrated(here, tmp_path, lambda doing: None)
    assert set(limits) == {"ood_share:score=mahalanobis", "mmd"}  # evidence has none
    assert limits == calibrated(here, tmp_path, pytest.fail)  # from the file
    assert limits["mmd"].alpha == 0.025
    lookout = here.lookout(limits)
    _, delay = watched(dealt(Benign.of(here.target.victim, here.target.box.uniform(60, 0)), 1), lookout, 1)
    assert delay == {"ood_share:score=mahalanobis": 20, "mmd": 20, "boundary": 0}
    honest = run_cell(DetectionCell(SETTING, "natural", True, 60, 0, accounts=20), tmp_path)
    assert honest.error is None
    assert honest.clients == 20
    assert honest.alarmed[ANY] <= 3  # at most 1 in 20 is expected; 4 of 20 would come once in 60 runs
    assert honest.bytes > 1_000


def test_repeats_are_hidden_from_detectors_that_alarm(tmp_path: Path):
    here = scene(replace(SETTING, detectors=("repeats", "mmd"), alpha=0.01))
    lookout = here.lookout(calibrated(here, tmp_path, lambda doing: None))
    for seed in range(3):
        client = KINDS["retries"](here.unseen, 60, seed, here.target.box)
        memories: dict[str, Any] = {}
        lookout.look(client.x, client.clean, math.nan, memories)
        distinct = len(set(row_keys(client.x)))
        assert memories["standing"].seen + memories["standing"].before == distinct
        assert memories["repeats"].exact == 60 - distinct
        assert not lookout.alarms(memories)


def test_a_thiefs_row_says_what_they_had_learnt_by_the_alarm(tmp_path: Path):
    calibrated(mnist(), tmp_path, lambda doing: None)
    row = run_cell(DetectionCell(SETTING, "knockoff", False, 60, 0), tmp_path)
    assert row.error is None
    assert 0 < first_alarm(row) <= 60
    assert row.learnt is not None
    assert row.whole is not None
    assert row.learnt < row.whole
    evader = run_cell(DetectionCell(SETTING, "evader:knockoff", False, 60, 0), tmp_path)
    assert evader.mix < 1
    assert first_alarm(evader) == 0 or evader.mix == 0.02


def test_a_thief_who_cannot_ask_is_a_row_with_the_reason(tmp_path: Path):
    calibrated(mnist(), tmp_path, lambda doing: None)
    row = run_cell(DetectionCell(SETTING, "equation_solving", False, 60, 0), tmp_path)
    assert row.error is not None
    assert "not a way of asking" in row.error


def test_benign_inputs_of_the_victims_training_are_left_out(tmp_path: Path):

    here = mnist()
    x = torch.cat([here.target.owner.x[:100], here.unseen.x[:300]])
    np.savez(tmp_path / "benign.npz", x=x.numpy())
    given = scene(Setting(Choice("mnist"), ("mmd",), 0.2, str(tmp_path / "benign.npz"), (20,)))
    assert len(given.unseen) == 150
    assert overlap(given.unseen.x, here.target.owner.x) == 0
    np.savez(tmp_path / "few.npz", x=x[:120].numpy())
    with pytest.raises(BadConfig, match="not trained on 20"):
        scene(Setting(Choice("mnist"), ("mmd",), 0.2, str(tmp_path / "few.npz"), (20,)))


def test_without_natural_inputs_detect_says_what_to_give():
    with pytest.raises(BadConfig, match="--benign FILE"):
        scene(Setting(Choice("digits"), ("boundary",), 0.05))


def test_a_change_of_setting_makes_new_limits(tmp_path: Path):
    here = mnist()
    calibrated(here, tmp_path, lambda doing: None)
    other = scene(Setting(Choice("mnist"), SETTING.detectors, 0.1, looks=(20, 50)))
    said: list[str] = []
    assert calibrated(other, tmp_path, said.append)["mmd"].alpha == 0.05
    assert said
    assert isinstance(calibrated(here, tmp_path, lambda doing: None)["ood_share:score=mahalanobis"].null, Binomial)
    assert (tmp_path / LIMITS).exists()


def thief(seed: int, delay: int, learnt: float) -> DetectionRow:
    return DetectionRow(
        f"t{seed}",
        "1",
        "mnist",
        "x",
        False,
        500,
        seed,
        1.0,
        1,
        1,
        {ANY: int(delay > 0)},
        {"a": delay, "b": 0},
        learnt,
        0.8,
    )


def test_a_summary_counts_alarms_in_time_and_what_was_learnt():
    rows = [thief(0, 40, 0.4), thief(1, 60, 0.6), thief(2, 0, 0.8), thief(3, 500, 0.8)]
    line = summarise([from_json(orjson.loads(to_line(row))) for row in rows]).thieves[0]
    assert {n: rate.value for n, rate in line.noticed.items()} == {50: 0.25, 100: 0.5, 250: 0.5, 500: 0.75}
    assert line.delay == 60
    assert line.first == "a"
    assert line.learnt == pytest.approx((0.5 + 0.75 + 1 + 1) / 4)
    kinds_of = [DetectionRow(f"h{i}", "1", "m", "natural", True, 9, i, 1.0, 50, 50, {"a": i, ANY: i}) for i in range(3)]
    honest = summarise(kinds_of).honest[0]
    assert honest.clients == 150
    assert honest.alarmed[ANY].value == pytest.approx(3 / 150)
    assert list(honest.alarmed) == [ANY, "a"]
    failed = DetectionRow("f", "1", "m", "y", False, 9, 0, 1.0, 1, error="Unsuited: no")
    assert summarise([failed]).failed == {"y": "Unsuited: no"}


def test_the_figure_steps_up_where_runs_are_noticed_and_says_never_otherwise():
    lines = summarise([thief(0, 40, 0.4), thief(1, 60, 0.6), thief(2, 0, 0.8), thief(3, 500, 0.8)]).thieves
    assert (lines[0].alarms, lines[0].at_alarm) == ((40, 60, 500), pytest.approx(0.65))
    figure = noticed(lines)
    assert figure is not None
    (steps,) = [line for line in figure.axes[0].lines if len(line.get_xdata()) > 2]
    assert np.asarray(steps.get_xdata()).tolist() == [0, 40, 60, 500, 500]
    np.testing.assert_allclose(steps.get_ydata(), [HIGH * share for share in (0, 0.25, 0.5, 0.75, 0.75)])
    silent = noticed(summarise([thief(0, 0, 0.8)]).thieves)
    assert silent is not None
    assert [text.get_text() for text in silent.axes[0].texts] == ["never"]
    assert noticed(()) is None
