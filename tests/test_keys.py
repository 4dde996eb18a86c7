"""An owner's secret: HKDF against RFC 5869, and key files that are refused unless they are whole and private."""

import os
from pathlib import Path

import pytest
import torch

from gamekeeper.architectures import Mlp
from gamekeeper.errors import BadConfig
from gamekeeper.keys import derived, hkdf, make_key, read_key
from gamekeeper.types import Box, Owner

POSIX = pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX's")


@pytest.mark.parametrize(
    ("material", "salt", "info", "okm"),
    [
        (
            "0b" * 22,
            "000102030405060708090a0b0c",
            "f0f1f2f3f4f5f6f7f8f9",
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
        ),
        (
            bytes(range(0x00, 0x50)).hex(),
            bytes(range(0x60, 0xB0)).hex(),
            bytes(range(0xB0, 0x100)).hex(),
            "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c"
            "59045a99cac7827271cb41c65e590e09da3275600c2f09b8367793a9aca3db71"
            "cc30c58179ec3e87c14c01d5c1f3434f1d87",
        ),
        (
            "0b" * 22,
            "",
            "",
            "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
        ),
    ],
    ids=["A.1", "A.2", "A.3"],
)
def test_hkdf_is_the_first_block_of_rfc_5869(material: str, salt: str, info: str, okm: str):
    assert hkdf(*(bytes.fromhex(part) for part in (material, salt, info))).hex() == okm[:64]


def test_every_use_of_a_secret_and_every_secret_has_a_key_of_its_own():
    one, other = bytes(32), bytes([1] * 32)
    keys = [derived(secret, use) for secret in (one, other) for use in ("a", "b", "ab", "")]
    assert {len(key) for key in keys} == {32}
    assert len({one, other, *keys}) == 10
    assert derived(one, "a") == keys[0]


def test_a_key_that_was_made_is_read_again_and_no_other_is_like_it(tmp_path: Path):
    first, second = tmp_path / "first.key", tmp_path / "second.key"
    make_key(first)
    make_key(second)
    assert len(read_key(first)) == 32
    assert read_key(first) == read_key(first) != read_key(second)
    assert sorted(tmp_path.iterdir()) == [first, second]


@POSIX
def test_a_key_file_is_its_owners_alone(tmp_path: Path):
    path = tmp_path / "key"
    make_key(path)
    assert path.stat().st_mode & 0o777 == 0o600
    for mode in (0o640, 0o604, 0o620, 0o644):
        path.chmod(mode)
        with pytest.raises(BadConfig, match=rf"open to others \(mode {mode:04o}\). Run: chmod 600"):
            read_key(path)
    path.chmod(0o400)
    read_key(path)


def test_a_key_is_not_overwritten(tmp_path: Path):
    path = tmp_path / "key"
    make_key(path)
    before = read_key(path)
    with pytest.raises(BadConfig, match="already exists"):
        make_key(path)
    assert read_key(path) == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("text", ["", "00" * 31, "00" * 33, "zz" * 32, "00" * 31 + "0", "ü" * 32, "00" * 500])
def test_a_file_that_is_no_key_is_refused_without_being_shown(tmp_path: Path, text: str):
    path = tmp_path / "key"
    path.touch(0o600)
    path.write_text(text, encoding="utf-8")
    with pytest.raises(BadConfig, match="must hold 64 hexadecimal digits") as refused:
        read_key(path)
    assert not text or text not in str(refused.value)


def test_files_that_cannot_be_read_or_written_are_named(tmp_path: Path):
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(BadConfig, match=f"{path.name} cannot be read"):
            read_key(path)
    with pytest.raises(BadConfig, match="key cannot be written"):
        make_key(tmp_path / "none" / "key")


def test_an_owner_takes_32_bytes_and_does_not_print_them():
    with pytest.raises(BadConfig, match="must be 32 bytes"):
        owner(b"short")
    assert "swordfish" not in repr(owner(b"swordfish".ljust(32)))


def owner(secret: bytes) -> Owner:
    return Owner(torch.empty(0, 3), torch.empty(0, dtype=torch.long), Box((3,)), Mlp((3,), 2), secret=secret)
