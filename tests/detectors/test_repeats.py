"""Repeats, volume and rate, against a plain loop; the same in batches, after a restart and with classes renamed."""

import math
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from torch import Tensor

from gamekeeper.architectures import Mlp
from gamekeeper.detectors.nearby import floor
from gamekeeper.detectors.repeats import Repeats, RepeatsMemory, RepeatsWatch, Traffic, drawn_from, hashes_of, traffic
from gamekeeper.errors import BadConfig, Unsuited
from gamekeeper.service.stored import packed, unpacked
from gamekeeper.tasks import Classify
from gamekeeper.types import Box, Detector, Mergeable, Owner, Ranges, Reply, Watch

D = 6


class Answers:
    task = Classify(2)

    def __call__(self, x: Tensor, /) -> Reply:
        raise AssertionError


def watch(recipe: Repeats) -> RepeatsWatch:
    box = Box((D,))
    return recipe.arm(Answers(), Owner(torch.zeros(0, D), torch.zeros(0).long(), box, Mlp((D,), 2)), 0)


def queries() -> Tensor:
    """New inputs, exact repeats and noisy ones of distances on both sides of the floor."""
    draw = np.random.default_rng(0)
    rows = [draw.random(D)]
    while len(rows) < 400:
        kind, parent = draw.integers(4), rows[draw.integers(max(0, len(rows) - 60), len(rows))]
        rows.append(draw.random(D) if kind < 2 else parent + (0.03 * draw.standard_normal(D) if kind == 3 else 0))
    return torch.tensor(np.array(rows), dtype=torch.float32)


def plain(x: Tensor, reach: float, recent: int, most: int) -> list[float]:
    known: set[bytes] = set()
    new: list[np.ndarray] = []
    score, repeated = [], 0
    for number, row in enumerate(x.numpy(), 1):
        if row.tobytes() in known:
            repeated += 1
        else:
            near = any(np.linalg.norm(row.astype(float) - old) <= reach for old in new[-recent:])
            repeated += near
            if not near:
                new.append(row.astype(float))
            if len(known) < most:
                known.add(row.tobytes())
        score.append(repeated / number)
    return score


def scores(armed: RepeatsWatch, x: Tensor, memory: RepeatsMemory, batch: int, at: float = math.nan) -> Tensor:
    return torch.cat([armed.score(part, Reply(torch.zeros(len(part), 2)), at, memory) for part in x.split(batch)])


@pytest.mark.parametrize(("recent", "most"), [(500, 1_000), (20, 1_000), (20, 50)])
def test_the_plain_loop(recent: int, most: int):
    armed, x = watch(Repeats(floor=0.08, recent=recent, most=most)), queries()
    whole = armed.fresh()
    expected = plain(x, 0.08, recent, most)
    assert 0.2 < expected[-1] < 0.6
    assert scores(armed, x, whole, 400).tolist() == expected
    for batch in (1, 7, 64):
        memory = armed.fresh()
        assert scores(armed, x, memory, batch).tolist() == expected
        assert packed(replace(memory, shadows=whole.shadows)) == packed(whole)
    assert len(whole.rows) <= recent
    assert len(whole.hashes) <= most


def test_small_steps_hide_no_walk():
    """From 0 to 1 in steps below the floor: what is further from every new row than the floor is new, however it came there."""
    armed = watch(Repeats(floor=0.1))
    x = torch.zeros(21, D)
    x[:, 0] = torch.arange(21) * 0.06
    for batch in (1, 4, 21):
        memory = armed.fresh()
        new = torch.cat([armed.new(part, math.nan, memory) for part in x.split(batch)])
        assert new.nonzero()[:, 0].tolist() == list(range(0, 21, 2))


def test_a_restart_changes_no_bit():
    armed, x = watch(Repeats()), queries()
    whole, half = armed.fresh(), armed.fresh()
    expected = scores(armed, x, whole, 50, 5.0)
    scores(armed, x[:200], half, 50, 5.0)
    again = unpacked(RepeatsMemory, packed(half))
    assert torch.equal(scores(armed, x[200:], again, 50, 5.0), expected[200:])
    assert packed(again) == packed(whole)


def test_it_is_a_detector_and_does_not_merge():
    armed = watch(Repeats())
    assert isinstance(Repeats(), Detector)
    assert isinstance(armed, Watch)
    assert not isinstance(armed, Mergeable)
    for wrong in ({"recent": 0}, {"most": 0}, {"floor": -0.1}):
        with pytest.raises(BadConfig, match="Repeats needs"):
            Repeats(**wrong)


def test_volume_and_rate():
    armed, memory, x = watch(Repeats(floor=0.0)), RepeatsMemory(), queries()[:4]
    assert asdict(traffic(memory)) == pytest.approx(asdict(Traffic(0, math.nan, 0, math.nan, math.nan)), nan_ok=True)
    scores(armed, x, memory, 4)  # at an unknown time
    assert math.isnan(traffic(memory).per_hour)
    hour = 3_600.0
    armed.count(10, 100 * hour, memory)
    armed.count(20, 100.5 * hour, memory)
    scores(armed, x, memory, 4, 102 * hour)
    found = traffic(memory)
    assert (found.queries, found.busiest) == (38, 30)
    assert found.per_hour == pytest.approx(34 / 2)
    assert (found.exact, found.near) == (pytest.approx(4 / 8 + memory_repeats(x) / 8), 0.0)
    armed.count(5, 99 * hour, memory)  # the clock goes back
    assert traffic(memory).per_hour == pytest.approx(39 / 3)


def memory_repeats(x: Tensor) -> int:
    """Exact repeats among these rows, counted twice: they repeat when sent again too, which the 4 above include."""
    return len(x) - len({row.numpy().tobytes() for row in x})


def test_hashes_stand_in_for_inputs():
    armed, x = watch(Repeats(floor=0.0)), queries()
    by_hash, by_input = RepeatsMemory(), RepeatsMemory()
    hashes = torch.from_numpy(hashes_of(x.numpy()))
    assert torch.equal(armed.score_hashes(hashes, 0.0, by_hash), scores(armed, x, by_input, 400, 0.0))
    assert traffic(by_hash) == traffic(by_input)


def test_hashes_differ_where_inputs_do():
    """Images of two values differ in few bits, which a plain sum would lose."""
    draw = np.random.default_rng(0)
    x = np.unique((draw.random((20_000, 30)) > 0.5).astype(np.float32), axis=0)
    assert len(np.unique(hashes_of(x))) == len(x)
    assert hashes_of(np.zeros((1, 3), np.float32)) == hashes_of(-np.zeros((1, 3), np.float32))


def test_hashes_are_the_owners_secret_where_there_is_one():
    x = queries()[:5].numpy()
    assert drawn_from(None) == 0
    keys = [0, *(drawn_from(bytes([n]) * 32) for n in range(2))]
    assert len({tuple(hashes_of(x, key).tolist()) for key in keys}) == 3
    owner = Owner(torch.zeros(0, D), torch.zeros(0).long(), Box((D,)), Mlp((D,), 2), secret=bytes(32))
    assert Repeats().arm(Answers(), owner, 0).key == keys[1]


def test_the_floor_holds_99_percent_of_noisy_copies():
    draw = np.random.default_rng(0)
    for box, width in ((Box((1, 28, 28)), np.ones(784)), (Ranges((0.0, 5.0), (10.0, 6.0)), np.array([10.0, 1.0]))):
        noise = 0.02 * np.sqrt(2) * width * draw.standard_normal((20_000, len(width)))
        within = (np.linalg.norm(noise, axis=1) <= floor(box)).mean()
        assert within == pytest.approx(0.99, abs=0.004)
    assert floor(Box((1, 28, 28))) == pytest.approx(0.8386, abs=1e-4)
    assert floor(Ranges((1.0,), (1.0,))) == 0.0

    class Elsewhere:
        shape = (3,)

        def check(self, x: Tensor, /) -> None: ...
        def uniform(self, n: int, seed: int) -> Tensor:
            return torch.zeros(n, 3)

    with pytest.raises(Unsuited, match="Give floor="):
        floor(Elsewhere())
