"""PRADA against the published loop, written out: the same decisions at every step, in batches and after a restart too."""

import math
from collections.abc import Callable
from dataclasses import fields
from functools import cache

import numpy as np
import pytest
import torch
from scipy.stats import shapiro
from torch import Tensor

from gamekeeper.architectures import Mlp
from gamekeeper.detectors.growing_set import GrowingSets
from gamekeeper.detectors.prada import Prada, PradaWatch, normality, stream
from gamekeeper.detectors.shapiro_wilk import w
from gamekeeper.errors import BadConfig, BadQuery, Unsuited
from gamekeeper.service.stored import packed, unpacked
from gamekeeper.tasks import Classify
from gamekeeper.types import Box, Detector, Mergeable, Owner, Reply, Watch

CLASSES, SIDE = 10, 8
Stream = tuple[np.ndarray, np.ndarray]


def published(x: np.ndarray, labels: np.ndarray, delta: float, change: str = "") -> tuple[np.ndarray, np.ndarray, dict]:
    """What the paper's code does, one query after the other, or with one thing changed."""
    growing, threshold, joined, distances = {}, {}, {}, {}
    alarm, alarms, tests = False, [], []
    for number, (query, label) in enumerate(
        zip(x.reshape(len(x), -1).astype(np.float64), labels.tolist(), strict=True)
    ):
        if label not in growing:
            growing[label], threshold[label], distances[label] = [query], 0.0, []
            joined[label] = [] if change == "no first zero" else [0.0]
        else:
            nearest = min(np.sqrt(np.sum((g - query) ** 2)) for g in growing[label])
            distances[label].append(nearest)
            joins = nearest > threshold[label]
            if joins or change == "all queries":
                growing[label].append(query)
            if joins:
                joined[label].append(nearest)
                sd = np.std(joined[label], ddof=1 if change == "sample sd" and len(joined[label]) > 1 else 0)
                threshold[label] = max(threshold[label], np.mean(joined[label]) - sd)
        test = math.nan
        if number % 10 == 0:
            least = 0 if change == "no class floor" else 10
            whole = np.array([d for found in distances.values() if len(found) >= least for d in found])
            if len(whole):
                whole = whole[abs(whole - np.mean(whole)) < 3 * np.std(whole)]
            if len(whole) > 100:
                test = shapiro(whole).statistic
                alarm = test < delta
        alarms.append(bool(alarm))
        tests.append(test)
    return np.array(tests), np.array(alarms), {"growing": growing, "threshold": threshold, "distances": distances}


@cache
def digits() -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))
    return (x[order] / 16).astype(np.float32).reshape(-1, 1, SIDE, SIDE), y[order]


def natural() -> Stream:
    x, y = digits()
    return x[:600], y[:600]


def small_steps() -> Stream:
    """150 natural digits, then copies of copies, each a small step of every pixel away."""
    x, y = digits()
    draw, queries, labels = np.random.default_rng(1), list(x[:150]), list(y[:150])
    while len(queries) < 600:
        parent = draw.integers(len(queries))
        step = 0.1 * draw.choice([-1, 1], (1, SIDE, SIDE))
        queries.append(np.clip(queries[parent] + step, 0, 1).astype(np.float32))
        labels.append(labels[parent])
    return np.stack(queries), np.array(labels)


def repeats() -> Stream:
    """Every other query was sent before; noise of one part in ten million comes with every tenth."""
    x, y = digits()
    draw, which = np.random.default_rng(2), []
    for number in range(600):
        which.append(number if number % 2 == 0 else which[draw.integers(number)])
    queries = x[which].copy()
    queries[::10] += 1e-7 * draw.standard_normal(queries[::10].shape).astype(np.float32)
    return queries, y[which]


def uniform() -> Stream:
    draw = np.random.default_rng(3)
    return draw.random((600, 1, SIDE, SIDE)).astype(np.float32), draw.integers(0, CLASSES, 600)


STREAMS: dict[str, Callable[[], Stream]] = {f.__name__: f for f in (natural, small_steps, repeats, uniform)}


@pytest.mark.parametrize("make", STREAMS.values(), ids=list(STREAMS))
@pytest.mark.parametrize("kind", ["float32", "float64"])
def test_the_published_decisions(make: Callable[[], Stream], kind: str):
    x, labels = make()
    x = x.astype(kind)
    tests, alarms, _ = published(x, labels, 0.95)
    ours, ours_alarms = stream(x, labels, 0.95)
    assert np.array_equal(np.isnan(ours), np.isnan(tests))
    assert np.nanmax(np.abs(ours - tests)) < 1e-7
    assert ours_alarms.tolist() == alarms.tolist()
    assert stream(x, labels, 0.95, sticky=True)[1].tolist() == np.logical_or.accumulate(alarms).tolist()


def test_what_is_noticed_and_what_is_not():
    alarmed = {name: bool(stream(*make(), 0.9)[1].any()) for name, make in STREAMS.items()}
    assert alarmed == {"natural": False, "small_steps": True, "repeats": True, "uniform": False}
    assert np.isnan(stream(*small_steps(), 0.9)[0][:101]).all()


GOLDEN = {
    "": 0.8471344899, "all queries": 0.7582400644, "no first zero": 0.9552088979, "sample sd": 0.8452338614, "no class floor": 0.8441220536,
}  # fmt: skip


def mixed() -> Stream:
    """Small steps with two rare classes, so that each of the published details decides something."""
    x, labels = small_steps()
    labels = labels.copy()
    labels[::80], labels[40::80] = 10, 11
    return x[:400], labels[:400]


@pytest.mark.parametrize("change", GOLDEN)
def test_each_detail_of_the_published_code_shows_in_w(change: str):
    x, labels = mixed()
    tests = published(x, labels, 0.9, change)[0]
    assert tests[390] == pytest.approx(GOLDEN[change], abs=1e-7)
    assert (abs(stream(x, labels, 0.9)[0][390] - tests[390]) < 1e-7) == (change == "")


def test_classes_are_only_names():
    x, labels = small_steps()
    names = np.random.default_rng(0).permutation(CLASSES)
    assert np.array_equal(stream(x, labels, 0.9)[0], stream(x, names[labels] - 1_000, 0.9)[0], equal_nan=True)


@pytest.mark.parametrize("n", [101, 102, 499, 500, 4_999, 5_000, 20_000])
def test_w_is_that_of_scipy(n: int):
    sample = np.random.default_rng(n).gamma(2.0, size=n)
    expected = shapiro(sample).statistic if n <= 5_000 else quiet(sample)
    assert w(np.sort(sample)) == pytest.approx(expected, abs=1e-8)


def quiet(sample: np.ndarray) -> float:
    """scipy's W where it warns that its p-value, which nobody asks for, may be wrong."""
    with pytest.warns(UserWarning, match="p-value"):
        return shapiro(sample).statistic


def test_normal_distances_never_alarm():
    draw = np.random.default_rng(0)
    for _ in range(1_000):
        assert normality(np.sort(draw.standard_normal(int(draw.integers(101, 400)) + 10))) > 0.9


# the watch


class Answers:
    """A victim who is never asked: the tests give the answers."""

    task = Classify(CLASSES)

    def __call__(self, x: Tensor, /) -> Reply:
        raise AssertionError


BOX, PUBLISHED = Box((1, SIDE, SIDE)), Prada(floor=0.0)


def watch(recipe: Prada = PUBLISHED, box: Box = BOX) -> PradaWatch:
    none = torch.zeros(0, *box.shape)
    return recipe.arm(Answers(), Owner(none, torch.zeros(0).long(), box, Mlp(box.shape, CLASSES)), 0)


def replied(labels: np.ndarray) -> Reply:
    return Reply(torch.nn.functional.one_hot(torch.tensor(labels), CLASSES).float())


def scores(armed: PradaWatch, given: Stream, memory: GrowingSets, batch: int = 600, at: float = 0.0) -> Tensor:
    x, labels = given
    parts = [slice(start, start + batch) for start in range(0, len(x), batch)]
    return torch.cat([armed.score(torch.tensor(x[p]), replied(labels[p]), at, memory) for p in parts])


def alike(a: GrowingSets, b: GrowingSets) -> None:
    """The same queries, numbers and decisions; the last bits of shadows depend on the batch."""
    for mine, theirs in zip(a.queries(), b.queries(), strict=True):
        assert np.array_equal(mine, theirs, equal_nan=True)
    for field in fields(GrowingSets):
        if field.name != "shadows":
            mine, theirs = (torch.as_tensor(getattr(memory, field.name)) for memory in (a, b))
            assert torch.equal(mine.nan_to_num(-1), theirs.nan_to_num(-1)), field.name


def test_it_is_a_detector():
    assert isinstance(Prada(), Detector)
    assert isinstance(watch(), Watch)
    assert isinstance(watch(), Mergeable)
    assert watch(Prada(delta=0.9)).threshold == pytest.approx(0.1)
    for wrong in ({"delta": 0.0}, {"every": 0}, {"most": 0}, {"floor": -1.0}):
        with pytest.raises(BadConfig, match="Prada needs"):
            Prada(**wrong)


@pytest.mark.parametrize("make", STREAMS.values(), ids=list(STREAMS))
def test_the_score_is_one_less_the_least_w(make: Callable[[], Stream]):
    tests, _ = stream(*make(), 0.9)
    least = np.fmin.accumulate(tests)
    assert np.array_equal(scores(watch(), make(), watch().fresh()).numpy(), 1 - least, equal_nan=True)


@pytest.mark.parametrize("floor", [0.0, 0.3])
@pytest.mark.parametrize("make", [small_steps, repeats])
def test_batches_change_no_bit(make: Callable[[], Stream], floor: float):
    armed, given = watch(Prada(floor=floor)), (make()[0][:300], make()[1][:300])
    memories = [armed.fresh() for _ in range(3)]
    several = [scores(armed, given, memory, batch) for memory, batch in zip(memories, (1, 7, 64), strict=True)]
    for memory, one in zip(memories, several, strict=True):
        assert torch.equal(one.view(torch.int64), several[0].view(torch.int64))
        alike(memory, memories[0])


def test_a_restart_changes_no_bit():
    armed, (x, labels) = watch(), small_steps()
    whole, half = armed.fresh(), armed.fresh()
    expected = scores(armed, (x, labels), whole, 50)
    scores(armed, (x[:250], labels[:250]), half, 50)
    again = unpacked(GrowingSets, packed(half))
    assert torch.equal(scores(armed, (x[250:], labels[250:]), again, 50), expected[250:])
    alike(again, whole)


@pytest.mark.parametrize("floor", [0.0, 0.3, 1.5])
def test_merging_replays_the_union(floor: float):
    x, labels = (np.concatenate([a[100:200], b[:100]]) for a, b in zip(small_steps(), repeats(), strict=True))
    order = np.random.default_rng(0).permutation(len(x))
    armed = watch(Prada(floor=floor))
    one, clients = armed.fresh(), [armed.fresh() for _ in range(3)]
    for turn, i in enumerate(order.tolist()):
        for memory in (one, clients[turn % 3]):
            scores(armed, (x[i : i + 1], labels[i : i + 1]), memory, at=float(turn))
    before = [packed(memory) for memory in clients]
    merged = armed.merged(clients)
    assert [packed(memory) for memory in clients] == before
    alike(merged, one)
    alike(armed.merged([]), armed.fresh())


def test_what_grows_and_what_is_counted():
    x, labels = small_steps()
    _, _, state = published(x, labels, 0.9)
    armed, memory, last = watch(), watch().fresh(), torch.zeros(CLASSES, dtype=torch.float64)
    for i in range(len(x)):
        scores(armed, (x[i : i + 1], labels[i : i + 1]), memory)
        assert (memory.joining[:, 3] >= last).all()
        last = memory.joining[:, 3].clone()
        assert int(memory.counts.sum()) == i + 1 - len(np.unique(labels[: i + 1]))
    assert memory.joining[:, 0].tolist() == [len(state["growing"][c]) for c in range(CLASSES)]
    assert memory.joining[:, 3].tolist() == pytest.approx([state["threshold"][c] for c in range(CLASSES)])
    assert memory.stored == memory.seen == len(x)


def test_exact_repeats_blind_it():
    x, labels = natural()
    many = np.repeat(x[:1], 500, 0), np.repeat(labels[:1], 500)
    memory = watch().fresh()
    assert scores(watch(), many, memory).isnan().all()
    assert int(memory.joining[:, 0].sum()) == 1
    assert memory.sorted_distances().tolist() == [0.0] * 499
    # also among small steps: an exact copy of each leaves half of the distances at 0, and the others as they were
    assert not stream(*many, 1.0)[1].any()


# the floor


def test_the_floor_keeps_repeats_out():
    x, labels = (part[:200] for part in natural())
    draw = np.random.default_rng(0)
    frames = np.repeat(x, 10, 0)
    frames = np.clip(frames + 0.02 * draw.standard_normal(frames.shape), 0, 1).astype(np.float32)
    armed, memory = watch(Prada()), watch(Prada()).fresh()
    assert 0.2 < armed.floor < 0.35
    score = scores(armed, (frames, np.repeat(labels, 10)), memory)
    assert float(score[-1]) < 0.1
    assert 200 <= memory.seen <= 210
    plain = scores(watch(), (frames, np.repeat(labels, 10)), watch().fresh())
    assert float(plain[-1]) > 0.2
    # retries cost no memory and no test
    retried = watch(Prada()).fresh()
    once = scores(armed, (x, labels), retried)
    assert torch.equal(scores(armed, (x, labels), retried), once[-1].expand(200))
    assert retried.stored == retried.seen == 200


def test_the_floor_is_within_a_class():
    x = np.zeros((2, 1, SIDE, SIDE), np.float32)
    for labels, seen in (([1, 1], 1), ([1, 2], 2)):
        memory = watch(Prada()).fresh()
        scores(watch(Prada()), (x, np.array(labels)), memory)
        assert memory.seen == seen


def test_small_steps_below_the_floor_add_up():
    """A thief whose steps are each a repeat of the last query does not stay hidden."""
    x = (np.arange(200) * 0.2 / SIDE / 20)[:, None, None, None] * np.ones((1, SIDE, SIDE))
    memory = watch(Prada(floor=0.25)).fresh()
    scores(watch(Prada(floor=0.25)), (x.astype(np.float32), np.zeros(200, int)), memory)
    assert memory.seen > 5


# bounds and hostile inputs


@pytest.mark.parametrize("batch", [1, 64])
def test_memory_is_bounded(batch: int):
    armed, (x, labels) = watch(Prada(floor=0.0, most=150)), tuple(part[:300] for part in small_steps())
    memory, free = armed.fresh(), watch().fresh()
    given, expected = scores(armed, (x, labels), memory, batch), scores(watch(), (x[:150], labels[:150]), free)
    assert torch.equal(given.nan_to_num(), torch.cat([expected, expected[-1].expand(150)]).nan_to_num())
    assert memory.stored == 150
    whole = packed(memory)
    assert len(whole) < 2 * 256 * (8 * SIDE**2 + 40) + 2 * 256 * 8 + 120 * CLASSES + 5_000
    scores(armed, (x, labels), memory, batch)
    assert packed(memory) == whole


def test_hostile_inputs():
    x, labels = natural()
    bad = x.copy()
    bad[5, 0, 0, 0] = np.nan
    for given in ((bad, labels), (x, labels[:-1])):
        with pytest.raises(BadQuery, match="finite inputs and a label for each"):
            stream(*given, 0.9)
    tests, alarms = stream(x[:0], labels[:0], 0.9)
    assert tests.shape == alarms.shape == (0,)
    # squares that float32 cannot hold
    huge = (x * 1e30).astype(np.float32)
    assert np.allclose(stream(huge, labels, 0.9)[0], stream(x, labels, 0.9)[0], atol=1e-6, equal_nan=True)
    # equally distant inputs: no spread, no test, no alarm
    apart = np.eye(300, dtype=np.float32)
    assert not stream(apart, np.zeros(300, int), 0.95)[1].any()
    grey = (digits()[0] * 255).astype(np.uint8)[:300]
    assert np.array_equal(
        stream(grey, labels[:300], 0.9)[0], stream(grey.astype(float), labels[:300], 0.9)[0], equal_nan=True
    )


def test_a_victim_of_one_class_is_unsuited():
    class One(Answers):
        task = Classify(1)

    owner = Owner(torch.zeros(0, 1), torch.zeros(0).long(), Box((1,)), Mlp((1,), 2))
    with pytest.raises(Unsuited, match="two classes"):
        Prada().arm(One(), owner, 0)
