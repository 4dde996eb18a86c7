"""Drawings of a target: built in, from a folder, or the user's own; none changes the digest of a built-in target."""

from dataclasses import dataclass

import pytest
import torch

from gamekeeper.data.dataset import Dataset
from gamekeeper.data.drawn.digits import Digits
from gamekeeper.errors import BadConfig
from gamekeeper.targets.builtin import POOL, SEED
from gamekeeper.targets.choice import Choice, assumptions
from gamekeeper.targets.drawings import held, own
from gamekeeper.types import Drawings


@dataclass(frozen=True)
class Own:
    """Two classes of noise."""

    def __call__(self, n: int, seed: int, /) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.rand(n, 1, 28, 28, generator=torch.Generator().manual_seed(seed)), torch.arange(n) % 2


@dataclass(frozen=True)
class Mute:
    """No drawings."""


def test_the_built_in_targets_thieves_draw_and_the_report_says_so():
    target = Choice("mnist").load()
    assert target.drawings == Digits()
    told = " ".join(assumptions(target, target.student))
    assert "what the classes are called" in told
    assert "2 to 3.5 pixels" in told


def test_a_pool_can_be_drawn_where_there_are_drawings():
    target = Choice("mnist", pool="drawn").load()
    x, classes = Digits()(POOL, SEED)
    assert torch.equal(target.pool.x, x)
    assert target.pool.y is not None
    assert torch.equal(target.pool.y, classes)
    assert target.digest != Choice("mnist").load().digest
    with pytest.raises(BadConfig, match=r"thief\.drawings"):
        Choice("digits", pool="drawn").load()


def test_inputs_made_beforehand_come_once_and_first_ones_stay_first():
    x = torch.arange(12.0).view(6, 2)
    drawings = held(Dataset(torch.cat([x, x[:2]]), torch.arange(8) % 3))
    assert isinstance(drawings, Drawings)
    whole, classes = drawings(100, 1)
    assert whole.unique(dim=0).tolist() == x.tolist()
    assert len(whole) == 6
    assert torch.equal(classes, (whole[:, 0] / 2).long() % 3)
    assert torch.equal(drawings(4, 1)[0], whole[:4])
    assert not torch.equal(drawings(6, 2)[0], whole)


def test_the_users_own_drawings_are_imported_by_name_and_change_the_digest():
    target = Choice("mnist", drawings=f"{__name__}.Own").load()
    assert target.drawings == Own()
    assert target.digest != Choice("mnist").load().digest
    with pytest.raises(BadConfig, match="callable"):
        own(f"{__name__}.Mute")
