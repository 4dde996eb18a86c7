"""Lines: what stands before the damage is read, and no line, however long, fills memory."""

import gzip
import os
import tracemalloc
import zlib
from pathlib import Path

import pytest

from gamekeeper.errors import BadConfig
from gamekeeper.logs.lines import LogLine, log_files, opened

BODY = b"".join(b'{"who": "client %d", "noise": "%s"}\n' % (i, os.urandom(30).hex().encode()) for i in range(3000))


def lines_of(path: Path, offset: int = 0, number: int = 1, limit: int = 2**20) -> tuple[list[LogLine], str]:
    with opened(path) as file:
        return list(file.lines(offset, number, limit)), file.damage


def test_offsets_and_numbers_lead_back_to_every_line(log):
    path = log(b"\xef\xbb\xbfone\r\n\ntwo\nthree")
    lines, damage = lines_of(path)
    assert [line.text for line in lines] == [b"one", b"", b"two", b"three"]
    assert [line.cut for line in lines] == [False, False, False, True]
    assert damage == ""
    for place, line in enumerate(lines):
        assert lines_of(path, line.offset, line.number)[0] == lines[place:]


@pytest.mark.parametrize("name", ["a.jsonl", "a.gz"])
def test_gzip_is_told_by_content_and_not_by_name(log, name):
    plain, packed = lines_of(log(BODY, name=name))[0], lines_of(log(gzip.compress(BODY), name=name))[0]
    assert packed == plain
    assert len(plain) == 3000


def test_gzip_files_laid_end_to_end_are_one(log):
    half = BODY.index(b"\n", len(BODY) // 2) - 5  # not at the end of a line
    assert lines_of(log(gzip.compress(BODY[:half]) + gzip.compress(BODY[half:])))[0] == lines_of(log(BODY))[0]


@pytest.mark.parametrize("share", [0.999, 0.7, 0.3])
def test_of_a_truncated_gzip_file_every_whole_line_before_the_end_is_read(log, share):
    packed = gzip.compress(BODY)
    part = packed[: int(share * len(packed))]
    whole = zlib.decompressobj(31).decompress(part).count(b"\n")
    lines, damage = lines_of(log(part))
    assert len(lines) == whole > 500
    assert lines == lines_of(log(BODY, name="b"))[0][:whole]
    assert "cut off" in damage
    assert "a.jsonl" in damage


def test_of_a_gzip_file_with_a_wrong_checksum_everything_is_read_and_the_damage_named(log):
    packed = bytearray(gzip.compress(BODY))
    packed[-6] ^= 1
    lines, damage = lines_of(log(bytes(packed)))
    assert len(lines) == 3000
    assert "CRC" in damage


def test_a_gzip_bomb_of_one_line_is_passed_over_in_bounded_memory(tmp_path):
    path = tmp_path / "bomb.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        for _ in range(100):
            file.write(b"\0" * 2**20)
        file.write(b"\nlast\n")
    assert path.stat().st_size < 2**20
    tracemalloc.start()
    lines, damage = lines_of(path, limit=2**20)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [(line.text, line.number, line.size) for line in lines] == [(None, 1, 100 * 2**20 + 1), (b"last", 2, 5)]
    assert damage == ""
    assert peak < 8 * 2**20


def test_a_line_of_exactly_the_limit_is_read_and_one_byte_more_is_not(log):
    lines, _ = lines_of(log(b"a" * 99 + b"\n" + b"b" * 100 + b"\n" + b"c" * 101 + b"\n"), limit=100)
    assert [line.text and line.text[:1] for line in lines] == [b"a", b"b", None]
    assert lines_of(log(b"c" * 101), limit=100)[0] == [LogLine(None, 1, 0, 101)]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"who": "a"}\n'.encode("utf-16"), "UTF-16"),
        ('{"who": "a"}\n'.encode("utf-16-be"), "UTF-16"),
        ('{"who": "a"}\n'.encode("utf-16-le"), "UTF-16"),
        ('{"who": "a"}\n'.encode("utf-32-le"), "UTF-16 or UTF-32"),
        (b"\x28\xb5\x2f\xfdxxxx", "zstd -d"),
        (b"PAR1xxxxxxxxxxx", "Parquet"),
    ],
)
def test_what_is_no_text_is_named_with_what_to_do(log, content, words):
    with pytest.raises(BadConfig, match=words):
        opened(log(content))


def test_nul_bytes_before_a_line_are_what_a_crash_left(log):
    assert [line.text for line in lines_of(log(b"\0" * 500 + b'{"who": "a"}\n'))[0]] == [b'{"who": "a"}']


def test_a_log_that_became_shorter_is_not_read_on(log):
    for content in (b"one\n", gzip.compress(b"one\n")):
        with pytest.raises(BadConfig, match="replaced or shortened"):
            lines_of(log(content), offset=5)


def test_files_of_a_folder_come_in_the_order_of_their_names_with_numbers_by_value(tmp_path):
    for name in ["b.log.10", "b.log.9", "a.log", "b.log", ".hidden"]:
        (tmp_path / name).touch()
    (tmp_path / "folder").mkdir()
    assert [path.name for path in log_files(tmp_path)] == ["a.log", "b.log", "b.log.9", "b.log.10"]
    with pytest.raises(BadConfig, match="holds no files"):
        log_files(tmp_path / "folder")
    with pytest.raises(BadConfig, match="neither a file nor a folder"):
        log_files(tmp_path / "nowhere")
