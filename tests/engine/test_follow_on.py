"""--follow-on through the engine: what is measured where, what is kept, and what stays as it was without it."""

from dataclasses import replace

import numpy as np
import orjson
import pytest
import torch

from gamekeeper.engine.evaluate import CloneMetrics
from gamekeeper.engine.follow_on import NO_GRADIENT, NO_MEMBERS, FollowOnEvaluator, correlation
from gamekeeper.engine.grid import EVADED, Audit, expand, queries
from gamekeeper.engine.pictures import Pictures, find, keep, strip
from gamekeeper.engine.run import run_cell
from gamekeeper.errors import BadConfig
from gamekeeper.models.network import TorchModel
from gamekeeper.results import from_json, to_line
from gamekeeper.service.oracles import Metered
from gamekeeper.targets.choice import Choice
from gamekeeper.types import Box
from tests.analysis.rows import row

pytestmark = pytest.mark.thorough

DIGITS = Choice("digits")
AUDIT = Audit(DIGITS, ["knockoff"], ["none"], [60, 240], [0], uniform=0, follow_on=True)


@pytest.fixture(scope="module")
def target():
    return DIGITS.load()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("run")


@pytest.fixture(scope="module")
def rows(folder, target):
    found = [run_cell(cell, folder) for cell in expand(AUDIT, target)]
    assert [each.error for each in found] == [None, None]
    return found


def follow_on_evaluator(target) -> FollowOnEvaluator:
    return FollowOnEvaluator(CloneMetrics(target, lambda: target.victim, 0))


def test_only_cells_of_the_largest_budget_are_followed_and_only_their_ids_change(target):
    plain, followed = expand(replace(AUDIT, follow_on=False), target), expand(AUDIT, target)
    assert [cell.follow_on for cell in followed] == [False, True]
    assert followed[0].id == plain[0].id
    assert followed[1].id != plain[1].id
    assert replace(followed[1], follow_on=False).id == plain[1].id


def test_a_copy_of_the_digits_fools_the_model_beyond_noise_and_less_than_the_model_itself(rows):
    small, large = rows
    assert small.follow_on is None
    found = large.follow_on
    assert found.lacking == []
    copy, itself = found.evasion, found.itself.evasion
    assert copy.eps == 0.3
    assert copy.noise.high < copy.fgsm.low
    assert copy.noise_targeted.high < copy.pgd_targeted.low
    assert itself.pgd.value > 0.99
    assert copy.pgd_targeted.value < itself.pgd_targeted.value
    assert copy.noise == itself.noise
    assert copy.pgd.n <= 397
    assert found.inversion.recognised.n == 10
    assert found.inversion.confidence > 0.3
    assert found.itself.inversion.confidence > 0.8
    assert found.itself.itself is None


def test_members_of_a_random_split_that_were_not_learnt_by_heart_cannot_be_told(rows):
    for found in (rows[1].follow_on.membership, rows[1].follow_on.itself.membership):
        assert found.loss_auc.low < 0.5 < found.loss_auc.high
        assert found.loss_caught.value < 0.05


def test_pictures_lie_beside_the_results_under_the_cell(rows, folder):
    assert find(folder, rows[0].cell) is None
    kept = find(folder, rows[1].cell)
    assert kept is not None
    assert kept.copy.shape == kept.itself.shape == kept.average.shape == (10, 8, 8, 1)
    assert kept.classes.tolist() == list(range(10))
    assert [path.suffix for path in (folder / "pictures").iterdir()] == [".npz"]


def test_a_row_comes_back_as_it_was_written_and_old_rows_load(rows):
    assert from_json(orjson.loads(to_line(rows[1]))) == rows[1]
    old = orjson.loads(to_line(row()))
    del old["follow_on"]
    assert from_json(old) == row()
    newer = orjson.loads(to_line(rows[1]))
    newer["follow_on"]["itself"]["evasion"]["later"] = 1
    assert from_json(newer) == rows[1]


def test_the_plan_counts_every_answer_the_judge_takes(target):
    cells = expand(AUDIT, target)
    met = Metered(target.victim, 10**6, target.box)
    judge = FollowOnEvaluator(CloneMetrics(target, lambda: Model(met, target.victim.task), 0))
    judge.measure(TorchModel(target.student(), target.victim.task))
    planned = queries(cells, target) - queries(expand(replace(AUDIT, follow_on=False), target), target)
    # the model behind a meter has no gradients, so that it is not tried in the copy's place as well
    least = 5 * len(judge.rows) + 10 + len(target.test) + len(judge.members[0])
    assert met.spent == least
    assert least <= planned + len(target.test)


class Model:
    """A counted victim."""

    def __init__(self, oracle, task):
        self.oracle, self.task = oracle, task

    def __call__(self, x):
        return self.oracle(x)


def test_the_model_in_the_copys_place_fools_itself_and_inputs_are_those_it_is_right_about(target):
    judge = follow_on_evaluator(target)
    found, _ = judge.measure(target.victim)
    assert found.evasion == found.itself.evasion
    assert found.evasion.pgd.value > 0.98
    assert torch.equal(judge.clone_metrics.clean.argmax(1)[judge.rows], judge.clone_metrics.truth[judge.rows])
    assert len(judge.rows) == min(EVADED, int((judge.clone_metrics.clean.argmax(1) == judge.clone_metrics.truth).sum()))
    assert len(judge.rows.unique()) == len(judge.rows)
    assert not (judge.wanted == judge.clone_metrics.truth[judge.rows]).any()


def test_a_copy_without_gradients_is_measured_where_it_can_be_and_says_why_not(target):
    judge = follow_on_evaluator(target)
    formula = Model(target.victim, target.victim.task)
    found, pictures = judge.measure(formula)
    assert (found.evasion, found.inversion, pictures) == (None, None, None)
    assert found.lacking == [NO_GRADIENT]
    assert found.membership == found.itself.membership


def test_without_the_owners_inputs_membership_is_not_measured(target):
    empty = replace(target.owner, x=target.owner.x[:0], truth=target.owner.truth[:0])
    judge = follow_on_evaluator(replace(target, owner=empty))
    found, _ = judge.measure(TorchModel(target.student(), target.victim.task))
    assert found.membership is None
    assert found.lacking == [NO_MEMBERS]


def test_members_are_inputs_that_no_thief_holds(target):
    lent = replace(target, seeds=target.owner.x[:900])
    inside, outside = follow_on_evaluator(lent).members
    assert len(inside) == len(outside) == 100
    assert inside.min() >= 900


def test_somebody_elses_api_is_refused(target):
    with pytest.raises(BadConfig, match="every answer of digits costs"):
        expand(AUDIT, replace(target, remote=True))


def test_correlation_is_pearsons():
    a, b = Box((1, 4, 4)).uniform(3, 0), Box((1, 4, 4)).uniform(5, 1)
    wanted = np.corrcoef(a.flatten(1).numpy(), b.flatten(1).numpy())[:3, 3:]
    assert np.allclose(correlation(a, b).numpy(), wanted, atol=1e-5)
    assert correlation(torch.ones(1, 4), b[:1].flatten(1)[:, :4]).item() == 0


def test_a_damaged_picture_file_is_named(tmp_path):
    grey = strip(torch.rand(2, 1, 3, 3), Box((1, 3, 3)))
    keep(tmp_path, "cell", Pictures(np.arange(2), grey, grey))
    kept = find(tmp_path, "cell")
    assert kept is not None
    assert kept.itself is None
    assert np.array_equal(kept.copy, grey)
    path = tmp_path / "pictures" / "cell.npz"
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(BadConfig, match=r"cell\.npz cannot be read"):
        find(tmp_path, "cell")


def test_a_strip_puts_the_boxs_low_end_at_black():
    x = torch.tensor([-1.0, 0.0, 1.0, 3.0]).reshape(1, 1, 2, 2)
    assert strip(x, Box((1, 2, 2), -1.0, 1.0)).flatten().tolist() == [0, 128, 255, 255]
