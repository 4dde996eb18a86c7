"""Limits on disk come back bit for bit, and only where they belong."""

from pathlib import Path

import pytest
import torch

from gamekeeper.detectors.limits import Backing, Binomial, Limits, Ranked
from gamekeeper.detectors.limits_file import load_limits, save_limits
from gamekeeper.errors import BadConfig

SCORES = torch.tensor([[0.1, torch.nan], [1 / 3, 7.0], [torch.nan, torch.nan], [2e-17, 3.0]], dtype=torch.float64)
LIMITS = {
    "flags": Limits(Binomial((20, 50), 0.1 + 0.2), 0.001, Backing("binomial", 7, 3, 1)),
    "silent": Limits(Ranked.of(torch.full((3, 2), torch.nan), (20, 50)), 0.25, Backing("streams", 7, 3)),
    "score": Limits(Ranked.of(SCORES, (20, 50)), 0.25, Backing("streams", 7, 3)),
}


def test_limits_come_back_bit_for_bit(tmp_path: Path):
    save_limits(tmp_path / "limits.json", "this", LIMITS)
    assert repr(load_limits(tmp_path / "limits.json", "this")) == repr(LIMITS)
    assert [path.name for path in tmp_path.iterdir()] == ["limits.json"]


def test_limits_of_something_else_are_refused(tmp_path: Path):
    save_limits(tmp_path / "limits.json", "this", LIMITS)
    with pytest.raises(BadConfig, match="another model"):
        load_limits(tmp_path / "limits.json", "that")


@pytest.mark.parametrize("damage", [b"", b"{}", b"[]", b'{"format": 1, "for": "this", "limits": {"a": {}}}'])
def test_a_damaged_file_is_named(tmp_path: Path, damage: bytes):
    (tmp_path / "limits.json").write_bytes(damage)
    with pytest.raises(BadConfig, match=r"limits\.json"):
        load_limits(tmp_path / "limits.json", "this")
