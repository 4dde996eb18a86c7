"""What a client can have learnt: nothing without queries, all of it with a copy, more with informative queries."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from gamekeeper.detectors.features import ObservedModel
from gamekeeper.detectors.warning import ExtractionWarning, Fidelity, Learnt, Seen, keys_of
from gamekeeper.errors import BadConfig, Unsuited
from gamekeeper.models.opaque import ExportedModel
from gamekeeper.service.stored import packed, unpacked
from gamekeeper.targets.builtin import digits
from gamekeeper.types import Batch, Mergeable, Owner, Reply, Watch

TARGET = digits()
POOL = TARGET.pool.x
VICTIM = ObservedModel(TARGET.victim.net, TARGET.victim.task)  # pyright: ignore[reportAttributeAccessIssue]
RECIPE = ExtractionWarning(most=200, looks=(20, 50, 100, 300))


@pytest.fixture(scope="module")
def watch() -> Learnt:
    return RECIPE.arm(VICTIM, TARGET.owner, seed=0)


def after(watch: Learnt, x: Batch, clean: Reply | None = None) -> Seen:
    memory = watch.fresh()
    watch.score(x, VICTIM(x) if clean is None else clean, float("nan"), memory)
    return memory


def same(a: Seen, b: Seen) -> bool:
    return packed(a) == packed(b)


def test_nothing_learnt_is_0_and_a_perfect_copy_is_1():
    corners = torch.tensor([[5.0, 0.0], [0.0, 5.0], [-5.0, -5.0]])
    classes = torch.arange(3).repeat(10)
    held = corners[classes] + 0.1 * torch.randn(30, 2, generator=torch.Generator().manual_seed(0))
    status = Fidelity(held, classes)
    assert status.guess == pytest.approx(1 / 3)
    assert status(held[:0], classes[:0]) == 0
    assert status(held[::3], classes[::3]) == 0  # one class is what a constant guess knows
    assert status(corners, torch.arange(3)) == 1
    # with two of three classes known, two thirds agree: half of what a guess leaves
    assert status(corners[:2], torch.arange(2)) == pytest.approx((2 / 3 - 1 / 3) / (1 - 1 / 3))
    wrong = status(corners, torch.tensor([1, 2, 0]))
    assert wrong == 0  # worse than guessing is not less than nothing


def test_a_status_is_never_outside_0_to_1(watch: Learnt):
    scores = watch.score(POOL[:300], TARGET.victim(POOL[:300]), 0.0, watch.fresh())
    looks = torch.tensor(RECIPE.looks) - 1
    assert torch.isfinite(scores)[looks].all()
    assert int(torch.isfinite(scores).sum()) == len(looks)
    assert scores[looks].ge(0).all()
    assert scores[looks].le(1).all()
    assert watch.status(watch.fresh()) == 0


def test_more_informative_queries_more_learnt(watch: Learnt):
    few, many = (watch.status(after(watch, TARGET.owner.x[:n])) for n in (20, 500))
    assert few + 0.2 < many
    one = TARGET.owner.x[TARGET.victim(TARGET.owner.x).y.argmax(1) == 3]
    assert watch.status(after(watch, one)) == 0


def test_colluders_have_learnt_together_what_one_who_sent_all_would_have(watch: Learnt):
    x, clean = POOL[:120], VICTIM(POOL[:120])
    parts = [slice(start, start + 40) for start in (0, 40, 80)]
    memories = [after(watch, x[part], VICTIM.take(clean, part)) for part in parts]
    before = [packed(memory) for memory in memories]
    union = watch.merged(memories)
    assert same(union, after(watch, x, clean))
    assert union.queries == 120
    assert [packed(memory) for memory in memories] == before
    assert watch.status(union) > max(watch.status(memory) for memory in memories)
    assert same(union, watch.merged(memories[::-1]))
    assert same(watch.merged([]), watch.fresh())


def test_the_sample_is_bounded_even_and_of_different_inputs(watch: Learnt):
    x = POOL[:400]
    memory = after(watch, x)
    least = keys_of(x, seed=0).sort().values[: RECIPE.most]
    assert torch.equal(memory.keys, least)
    assert memory.queries == 400
    again = after(watch, torch.cat([x, x, x[:7]]))
    assert torch.equal(again.keys, least)
    assert again.queries == 807
    halves = keys_of(POOL, seed=0) > 0
    assert abs(float(halves.double().mean()) - 0.5) < 3 * 0.5 / len(POOL) ** 0.5
    assert len(keys_of(POOL, seed=0).unique()) == len(POOL.unique(dim=0))
    assert not torch.equal(keys_of(POOL, seed=1), keys_of(POOL, seed=0))


def test_one_by_one_as_in_batches_and_after_a_restart(watch: Learnt):
    x = POOL[:310]
    clean = VICTIM(x)
    whole = watch.score(x, clean, 0.0, watch.fresh())
    memory, parts = watch.fresh(), []
    for row in range(len(x)):
        parts.append(watch.score(x[row : row + 1], VICTIM.take(clean, slice(row, row + 1)), 0.0, memory))
        if row == 57:
            memory = unpacked(Seen, packed(memory))
    assert torch.equal(torch.cat(parts).nan_to_num(-1), whole.nan_to_num(-1))


def test_how_classes_are_numbered_changes_nothing(watch: Learnt):
    @dataclass(frozen=True, eq=False)
    class Permuted:
        order: Tensor
        task = TARGET.victim.task

        def __call__(self, x: Batch, /) -> Reply:
            return Reply(TARGET.victim(x).y[:, self.order])

    victim = Permuted(torch.randperm(10, generator=torch.Generator().manual_seed(1)))
    plain = ExportedModel(lambda x: TARGET.victim(x).y, TARGET.victim.task, "probabilities")
    one, other = RECIPE.arm(plain, TARGET.owner, 0), RECIPE.arm(victim, TARGET.owner, 0)
    a = one.score(POOL[:100], plain(POOL[:100]), 0.0, one.fresh())
    b = other.score(POOL[:100], victim(POOL[:100]), 0.0, other.fresh())
    assert torch.equal(a.nan_to_num(-1), b.nan_to_num(-1))
    assert float(a[99]) > 0


def test_it_reads_the_features_of_the_answer(watch: Learnt):
    passes: list[int] = []
    handle = TARGET.victim.net.register_forward_hook(lambda *_: passes.append(1))  # pyright: ignore[reportAttributeAccessIssue]
    try:
        clean = VICTIM(POOL[:30])
        watch.score(POOL[:30], clean, 0.0, watch.fresh())
    finally:
        handle.remove()
    assert len(passes) == 1


def test_what_it_needs(watch: Learnt):
    assert isinstance(watch, Watch)
    assert isinstance(watch, Mergeable)
    one = TARGET.owner.x[TARGET.victim(TARGET.owner.x).y.argmax(1) == 3]
    with pytest.raises(Unsuited, match="at least 2 of the victim's classes"):
        RECIPE.arm(TARGET.victim, Owner(one, torch.full((len(one),), 3), TARGET.box, TARGET.student), 0)
    with pytest.raises(Unsuited, match="checks a copy on"):
        RECIPE.arm(TARGET.victim, Owner(one[:0], torch.empty(0), TARGET.box, TARGET.student), 0)
    with pytest.raises(BadConfig, match="at least 1"):
        ExtractionWarning(most=0)
