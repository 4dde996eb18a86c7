"""Memories on disk: every bit comes back, and nothing else is taken for one."""

import math
import struct
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from gamekeeper.errors import Malformed
from gamekeeper.service.stored import packed, unpacked


@dataclass
class Memory:
    rows: Tensor
    seen: int
    mean: float
    armed: bool


@dataclass
class Other:
    rows: Tensor


@dataclass
class Wrong:
    names: list[str]


def test_every_bit_comes_back():
    odd = struct.unpack("<d", bytes.fromhex("0123456789abf87f"))[0]  # NaN with a payload
    for rows in (torch.randn(3, 4), torch.empty(0, 7, dtype=torch.uint8), torch.tensor([-0.0, torch.nan, torch.inf])):
        before = Memory(rows, 2**62 + 1, odd, True)
        after = unpacked(Memory, packed(before))
        assert after.rows.dtype == rows.dtype
        assert after.rows.shape == rows.shape
        assert after.rows.numpy().tobytes() == rows.numpy().tobytes()
        assert after.seen == before.seen
        assert after.armed is True
        assert math.isnan(after.mean)
        assert struct.pack("<d", after.mean) == struct.pack("<d", odd)
        assert packed(after) == packed(before)


def test_what_is_not_this_memory_is_refused():
    data = packed(Memory(torch.ones(2), 1, 2.0, False))
    with pytest.raises(Malformed, match="not a memory of Other"):
        unpacked(Other, data)
    for damaged in (data[:-1], b"", b"\x80\x04K\x01.", data[:8] + b"[" + data[9:]):
        with pytest.raises(Malformed, match="cannot be read"):
            unpacked(Memory, damaged)


def test_a_memory_holds_tensors_and_numbers_only():
    with pytest.raises(TypeError, match="list"):
        packed(Wrong(["a"]))
