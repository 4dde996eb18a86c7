"""Lines of log files, in bounded memory: plain or gzip by content, one file or a folder of them.

Source      RFC 1952 for gzip; what other files start with, from their formats' own descriptions
Assumes     UTF-8, or bytes of no encoding; lines end in LF or CR LF
Keeps       one line
"""

import gzip
import io
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from gamekeeper.errors import BadConfig

LINE_LIMIT = 16 * 2**20
"""Bytes of the longest line that is read."""
STEP = 2**20
BUFFER = 2**17
GZIP = b"\x1f\x8b"
UTF8 = b"\xef\xbb\xbf"
OTHERS = {
    b"\xff\xfe": "is UTF-16; convert it with `iconv -f UTF-16 -t UTF-8`",
    b"\xfe\xff": "is UTF-16; convert it with `iconv -f UTF-16 -t UTF-8`",
    b"\x28\xb5\x2f\xfd": "is packed by zstd; unpack it with `zstd -d`",
    b"\xfd7zXZ\0": "is packed by xz; unpack it with `xz -d`",
    b"BZh": "is packed by bzip2; unpack it with `bzip2 -d`",
    b"PK\x03\x04": "is a zip archive; unpack it",
    b"PAR1": "is a Parquet file; export it as JSON lines or CSV",
    b"Obj\x01": "is an Avro file; export it as JSON lines or CSV",
}
"""What a file that is no text starts with, and what to do about it."""


@dataclass(frozen=True)
class LogLine:
    """One line without its end; `text` is None if it was too long to be held.

    cut  it is the last of its file and has no end
    odd  of a line that was too long: whether it holds an odd number of quotes
    """

    text: bytes | None
    number: int
    offset: int
    size: int
    cut: bool = False
    odd: bool = False


def log_files(path: Path) -> list[Path]:
    """The files of a log: the file itself, or those of the folder in the order of their names, numbers by value."""
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise BadConfig(f"{path} is neither a file nor a folder. Give a log file, or a folder that holds only such.")
    files = [each for each in path.iterdir() if each.is_file() and not each.name.startswith(".")]
    if not files:
        raise BadConfig(f"{path} holds no files. Give a log file, or a folder that holds only such.")
    return sorted(files, key=lambda each: _by_name(each.name))


def _by_name(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"([0-9]+)", name)]


@dataclass
class LogFile:
    """One file of a log while it is read.

    packed  whether it is gzip
    raw     the file on disk; `raw.tell()` is how far it has been read
    damage  why reading stopped before the end, once it has; one sentence without its full stop
    """

    path: Path
    packed: bool
    raw: io.BufferedIOBase
    stream: io.BufferedIOBase
    damage: str = field(default="")

    @property
    def name(self) -> str:
        return self.path.name

    def lines(self, offset: int, number: int, limit: int = LINE_LIMIT) -> Iterator[LogLine]:
        """The lines from a place on. A damaged gzip file ends where the damage begins, and `damage` says so."""
        if not self._skip(offset):
            return
        if offset == 0:
            offset = self._mark()
        while (text := self._next(limit + 1)) != b"":
            size, whole = len(text), text.endswith(b"\n")
            if not whole and size > limit:
                more, quotes = self._rest()
                size += more
                yield LogLine(None, number, offset, size, odd=(text.count(b'"') + quotes) % 2 == 1)
            else:
                yield LogLine(text.rstrip(b"\r\n").strip(b"\0"), number, offset, size, cut=not whole)
            offset, number = offset + size, number + 1

    def __enter__(self) -> "LogFile":
        return self

    def __exit__(self, *_: object) -> None:
        self.stream.close()
        self.raw.close()

    def _next(self, size: int) -> bytes:
        try:
            return self.stream.readline(size)
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            self.damage = f"{self.name} is damaged or cut off ({error}); what stands before that was read"
            return b""

    def _rest(self) -> tuple[int, int]:
        """Reads to the end of a line that is too long; how many bytes and how many quotes that passed."""
        total = quotes = 0
        while text := self._next(STEP):
            total, quotes = total + len(text), quotes + text.count(b'"')
            if text.endswith(b"\n"):
                break
        return total, quotes

    def _mark(self) -> int:
        """The length of the byte order mark at the beginning, which is passed over; then nothing else is."""
        try:
            start = self.stream.read(len(UTF8))
        except (gzip.BadGzipFile, EOFError, zlib.error):
            start = b""
        if start == UTF8:
            return len(UTF8)
        self.stream.seek(0)
        return 0

    def _skip(self, offset: int) -> bool:
        """Goes to an offset. Raises BadConfig if the file is shorter than that."""
        if not self.packed:
            size = self.path.stat().st_size
            self.stream.seek(min(offset, size))
            return self._reached(min(offset, size), offset)
        here = 0
        try:
            while here < offset and (part := self.stream.read(min(STEP, offset - here))):
                here += len(part)
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            self.damage = f"{self.name} is damaged or cut off ({error}) before the place from which to go on"
            return False
        return self._reached(here, offset)

    def _reached(self, here: int, offset: int) -> bool:
        if here < offset:
            raise BadConfig(
                f"{self.path} holds {here:,} bytes; it held {offset:,} when it was last read. It was replaced or"
                " shortened: read the log from its beginning."
            )
        return True


def opened(path: Path) -> LogFile:
    """A file of a log. Raises BadConfig for what is recognised as no text: UTF-16, other packers, Parquet."""
    raw = io.BufferedReader(path.open("rb", buffering=0), BUFFER)
    start = raw.read(8)
    raw.seek(0)
    reason = next((text for magic, text in OTHERS.items() if start.startswith(magic)), "")
    if not reason and start[:4].count(0) in (2, 3) and not start[:4].strip(b"\0").startswith(GZIP):
        reason = "is UTF-16 or UTF-32; convert it to UTF-8 with `iconv`"
    if start.count(0) == len(start):
        reason = ""  # a run of NUL bytes, as a crash or a rotated file leaves it; the lines behind it are read
    if reason:
        raw.close()
        raise BadConfig(f"{path} {reason}, or leave it out.")
    packed = start.startswith(GZIP)
    return LogFile(path, packed, raw, gzip.GzipFile(fileobj=raw) if packed else raw)
