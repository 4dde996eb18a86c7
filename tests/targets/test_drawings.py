"""Drawings of a target: built in, from a folder, or the user's own; none changes the digest of a built-in target."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gamekeeper.attacks.drawn import Drawn
from gamekeeper.data.dataset import Dataset
from gamekeeper.data.drawn.digits import Digits
from gamekeeper.engine.grid import Audit, expand
from gamekeeper.errors import BadConfig
from gamekeeper.service.oracles import Metered
from gamekeeper.targets.builtin import POOL, SEED
from gamekeeper.targets.choice import Choice, assumptions
from gamekeeper.targets.drawings import held, own
from gamekeeper.targets.load import load_target
from gamekeeper.targets.target import Target
from gamekeeper.types import Drawings, Knowledge
from tests.targets.test_auxiliary import FILE


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


@dataclass(frozen=True)
class Faint(Own):
    """The same, fainter or not: one class of drawings, two ways to draw."""

    ink: float = 0.5


def cells(target: Target) -> set[str]:
    """The ids of two thieves' cells, one of whom draws, and of the clone that asks nothing."""
    audit = Audit(Choice("mnist"), ["drawn", "knockoff"], ["none", "label"], [10], [0])
    return {cell.id for cell in expand(audit, target)}


def test_two_ways_to_draw_share_no_cell_and_the_built_in_one_keeps_its_cells():
    plain = load_target("mnist")
    assert repr(plain.drawings) == plain.drawn_by
    assert repr(load_target("fashion").drawings) == load_target("fashion").drawn_by
    others = [replace(plain, drawings=each) for each in (Own(), Faint(), Faint(0.25), Digits(bend=0.2))]
    others += [Choice("mnist", drawings=f"{__name__}.{name}").load() for name in ("Own", "Faint")]
    ids = [cells(each) for each in (plain, *others)]
    assert len(set.union(*ids)) == sum(map(len, ids))
    assert plain.digest_behind(()) == plain.digest


def folder(path: Path, bright: int) -> None:
    """Three images of each digit, which differ by one pixel."""
    for digit in range(10):
        (path / str(digit)).mkdir(parents=True)
        for number in range(3):
            image = np.zeros((28, 28), np.uint8)
            image[digit, number] = bright
            Image.fromarray(image).save(path / str(digit) / f"{number}.png")


def test_a_target_file_names_a_folder_of_drawings(tmp_path: Path):
    for name, bright in (("drawn", 255), ("other", 200)):
        folder(tmp_path / name, bright)
        (tmp_path / f"{name}.toml").write_text(f'{FILE}[thief]\ndrawings = "{name}"\n')
    (tmp_path / "plain.toml").write_text(FILE)
    plain, target, other = (load_target(str(tmp_path / f"{name}.toml")) for name in ("plain", "drawn", "other"))
    assert plain.drawings is None
    assert target.drawings is not None
    x, classes = target.drawings(100, 0)
    assert len(x) == 30
    assert torch.equal(x.amax(3).argmax(2).flatten(), classes)  # the class is the folder's, the lit row that digit's
    assert len({plain.digest, target.digest, other.digest}) == 3
    assert target.digest_behind(()) == target.digest
    assert cells(target).isdisjoint(cells(other))
    assert "what the classes are called" in " ".join(assumptions(target, target.student))
    asked = Metered(target.victim, 20, target.box)
    transfer = Drawn()(
        asked, Knowledge(target.pool.x, target.box, target.victim.task, target.student, drawings=target.drawings), 0
    )
    assert asked.left == 0
    assert torch.equal(transfer.x, target.drawings(20, 0)[0])


def test_a_folder_of_drawings_without_classes_is_refused(tmp_path: Path):
    (tmp_path / "drawn").mkdir()
    Image.fromarray(np.zeros((28, 28), np.uint8)).save(tmp_path / "drawn" / "one.png")
    (tmp_path / "t.toml").write_text(f'{FILE}[thief]\ndrawings = "drawn"\n')
    with pytest.raises(BadConfig):
        load_target(str(tmp_path / "t.toml"))
