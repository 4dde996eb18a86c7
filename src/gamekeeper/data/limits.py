"""The limit on what is read: 4 GiB of a file once unpacked, or of its numbers in memory."""

import gzip
import zlib
from pathlib import Path

from gamekeeper.errors import BadConfig, UnsafeFile

LIMIT = 4 * 2**30  # bytes: of a file once unpacked, and of its numbers as float32
CHUNK = 2**24


def within_limit(path: Path, size: int) -> None:
    if size > LIMIT:
        raise UnsafeFile(
            f"{path} unpacks to {size:,} bytes; at most {LIMIT:,} are read. Split it or take a part of it."
        )


def unpack(path: Path) -> bytes:
    """The bytes of a file, unpacked if its name ends with .gz; stops at the limit instead of filling memory."""
    if path.suffix.lower() != ".gz":
        within_limit(path, path.stat().st_size)
        return path.read_bytes()
    parts: list[bytes] = []
    total = 0
    try:
        with gzip.open(path) as file:
            while part := file.read(CHUNK):
                parts.append(part)
                total += len(part)
                within_limit(path, total)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise BadConfig(f"{path} is not a whole gzip file ({error}). Download it again.") from error
    return b"".join(parts)
