"""Harm under shift: what is counted, what is asked, and that no harm is seen where there is none."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import orjson
import pytest
import torch

from gamekeeper.analysis.checks import raised
from gamekeeper.analysis.shifts import harms_shifted, shift_losses, worst_shift
from gamekeeper.data import shifts
from gamekeeper.data.dataset import Dataset
from gamekeeper.defenses.guarantees import guarantees
from gamekeeper.engine import shift_harm
from gamekeeper.engine.evaluate import CloneMetrics, UtilityMetrics
from gamekeeper.errors import BadConfig
from gamekeeper.metrics import UNSHIFTED, ShiftHarm
from gamekeeper.results import Row, from_json, to_line
from gamekeeper.service.service import Service
from gamekeeper.targets.builtin import digits
from gamekeeper.targets.load import load_target
from gamekeeper.tasks import Classify
from gamekeeper.types import Batch, Reply
from tests.analysis.rows import row


def harm(name: str, lost: int = 0, gained: int = 0, n: int = 500) -> ShiftHarm:
    return ShiftHarm(name, n, 480, lost, gained, 3, 9)


@dataclass(frozen=True)
class Dims:
    """Armed: answers dark images with the last class, surely."""

    def fresh(self) -> None:
        return None

    def respond(self, x: Batch, reply: Reply, memory: None) -> Reply:
        dark = x.flatten(1).amax(1) < 0.7
        wrong = torch.zeros_like(reply.y)
        wrong[:, -1] = 1.0
        return Reply(torch.where(dark[:, None], wrong, reply.y))


def metrics(*defenses: Dims) -> UtilityMetrics:
    target = digits()
    there = CloneMetrics(target, lambda: target.victim, 0)
    return UtilityMetrics(there, Service(target.victim, defenses), guarantees(()))


def test_without_a_defense_nothing_is_lost_under_any_shift():
    found = metrics().shifted
    assert found is not None
    assert [one.name for one in found][:2] == [UNSHIFTED, "rotated"]
    assert all((one.lost, one.gained) == (0, 0) and one.sure == one.sure_defended for one in found)


def test_a_defense_that_refuses_dark_images_harms_those_alone_with_confident_errors():
    found = {one.name: one for one in metrics(Dims()).shifted or ()}
    test = digits().test
    assert found[UNSHIFTED].lost == 0
    dark = found["dimmed"]
    assert dark.lost == dark.right - int(((test.y == 9) & (digits().victim(dimmed(test)).y.argmax(1) == 9)).sum())
    assert dark.sure_defended == int((test.y != 9).sum())
    worst = worst_shift(shift_losses([list(found.values())]))
    assert worst is not None
    assert worst.name == "dimmed"


def dimmed(test: Dataset) -> Batch:
    return shifts.Dimmed()(test.x, digits().box, shift_harm.SEED)


def test_shifts_of_strength_0_lose_what_inputs_as_they_are_lose(monkeypatch: pytest.MonkeyPatch):
    still = (shifts.Dimmed(0.0), shifts.Noisy(0.0), shifts.Moved(0.0), shifts.Thinner(0.0), shifts.Occluded(0.0))
    monkeypatch.setattr(shift_harm, "suitable", lambda x, domain: still)
    plain, *others = metrics(Dims()).shifted or ()
    assert len(others) == len(still)
    assert all(replace(one, name=UNSHIFTED) == plain for one in others)


def test_counts_by_hand():
    clean = torch.tensor([[0.95, 0.05], [0.95, 0.05], [0.4, 0.6], [0.2, 0.8]])
    given = torch.tensor([[0.05, 0.95], [0.95, 0.05], [0.8, 0.2], [0.6, 0.4]])
    found = shift_harm.harm("x", clean, given, torch.tensor([0, 1, 0, 1]), Classify(2).right)
    assert found == ShiftHarm("x", 4, right=2, lost=2, gained=1, sure=1, sure_defended=2)
    assert found.loss == 0.25


def test_the_interval_is_that_of_matched_proportions_and_two_equal_seeds_have_it_too():
    one = [harm(UNSHIFTED), harm("dimmed", 40, 10)]
    (_, loss), (_, twice) = shift_losses([one]), shift_losses([one, one])
    half = 1.959964 * ((40 + 10 + 1 - 30**2 / 502) ** 0.5) / 502
    assert (loss.loss, loss.high - loss.loss) == (pytest.approx(0.06), pytest.approx(half, rel=1e-6))
    assert twice == loss


def test_the_interval_covers_the_true_loss_as_often_as_it_says():
    generator = np.random.default_rng(0)
    draws = generator.multinomial(500, [0.06, 0.01, 0.93], 2_000)
    losses = [shift_losses([[harm("dimmed", int(lost), int(gained))]])[0] for lost, gained, _ in draws]
    assert np.mean([one.low <= 0.05 <= one.high for one in losses]) == pytest.approx(0.95, abs=0.015)


def rows(*seeds: Sequence[ShiftHarm]) -> list[Row]:
    made = [row("mad", seed=seed) for seed in range(len(seeds))]
    return [
        replace(one, utility=replace(one.utility, shifted=list(harms)))
        for one, harms in zip(made, seeds, strict=True)
        if one.utility
    ]


@pytest.mark.parametrize(
    ("plain", "lost", "flagged"),
    [(0, 100, True), (0, 30, False), (80, 100, False), (0, 0, False)],  # 30: six points, within the noise of five
)
def test_the_flag_needs_a_clear_loss_beyond_the_unshifted_one(plain: int, lost: int, flagged: bool):
    found = rows([harm(UNSHIFTED, plain), harm("rotated"), harm("dimmed", lost)])
    assert harms_shifted(found) == flagged
    assert ("harms-shifted-users" in raised(found)[found[0].cell]) == flagged


def test_seeds_that_differ_widely_are_not_clear_and_older_rows_say_nothing():
    assert harms_shifted(rows(*[[harm(UNSHIFTED), harm("dimmed", 100)]] * 2))
    assert not harms_shifted(rows([harm(UNSHIFTED), harm("dimmed", 200)], [harm(UNSHIFTED), harm("dimmed", 0)]))
    assert not harms_shifted([row("mad")])


def test_a_row_keeps_them():
    (before,) = rows([harm(UNSHIFTED), harm("dimmed", 9)])
    assert from_json(orjson.loads(to_line(before))) == before


TOML = """
kind = "torch"
answers = "logits"
classes = 10
[model]
file = "mnist-lenet"
architecture = "lenet"
[input]
shape = [1, 28, 28]
[data]
test = "mnist-test"
pool = "letters"
"""


def test_the_owners_own_shifted_set_is_asked_and_enters_the_digest(tmp_path: Path):
    for name, more in (("plain", ""), ("shifted", 'shifted = "digits-other"\n')):
        (tmp_path / f"{name}.toml").write_text(TOML + more)
    plain, target = (load_target(str(tmp_path / f"{name}.toml")) for name in ("plain", "shifted"))
    assert plain.digest != target.digest
    assert shift_harm.shifted_queries(target) == shift_harm.shifted_queries(plain) + 500
    assert [name for name, _ in shift_harm.shifted_sets(target)][-1] == "data.shifted"
    remote = replace(target, remote=True)
    assert [name for name, _ in shift_harm.shifted_sets(remote)] == ["data.shifted"]
    assert shift_harm.shifted_queries(remote) == 500
    assert shift_harm.shifted_queries(replace(plain, remote=True)) == 0


def test_shifted_inputs_without_labels_are_refused(tmp_path: Path):
    np.savez(tmp_path / "few.npz", x=np.zeros((4, 1, 28, 28), np.float32))
    (tmp_path / "t.toml").write_text(TOML + 'shifted = "few.npz"\n')
    with pytest.raises(BadConfig, match=r"data\.shifted: it needs labels"):
        load_target(str(tmp_path / "t.toml"))


@dataclass(frozen=True, eq=False)
class Counting:
    """A victim that counts the inputs it is asked."""

    counts: list[int]
    task: Classify = Classify(10)

    def __call__(self, x: Batch, /) -> Reply:
        self.counts.append(len(x))
        return digits().victim(x)


def test_however_many_defenses_each_shifted_input_is_asked_once():
    counting = Counting([])
    target = replace(digits(), remote=True, shifted={"mine": digits().test.take(torch.arange(50))})
    there = CloneMetrics(target, lambda: counting, 0)
    for defenses in ((), (Dims(),), (Dims(), Dims())):
        metrics = UtilityMetrics(there, Service(counting, defenses), guarantees(()))
        assert metrics.clone_metrics.shifted
        asked = len(counting.counts)
        plain = shift_harm.unshifted(there.clean, there.clean, there.truth, counting.task)
        assert [one.name for one in shift_harm.harms(plain, there.shifted, metrics.service, counting.task)] == [
            UNSHIFTED,
            "mine",
        ]
        assert len(counting.counts) <= asked + (not defenses)
    assert counting.counts.count(50) == 1
