"""One run at a time in a folder."""

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from gamekeeper.errors import BadConfig

LOCK, HOLDER = "run.lock", "run.pid"
"""Two files, since Windows lets nobody read one that is locked."""


@contextmanager
def claimed(folder: Path) -> Generator[None]:
    """The folder is this process's until the end of the block. Raises BadConfig if another one holds it.

    The system releases the claim of a process that was killed, so a lock file that is left behind locks nothing.
    """
    lock = FileLock(folder / LOCK)
    try:
        held = lock.acquire(timeout=0)
    except Timeout:
        raise BadConfig(
            f"another run is at work in {folder} (process {holder(folder)}). Wait until it has ended, or name another"
            " folder with --out."
        ) from None
    with held:
        (folder / HOLDER).write_text(f"{os.getpid()}\n", encoding="utf-8")
        yield


def holder(folder: Path) -> str:
    """The number of the process that claimed the folder last."""
    try:
        return (folder / HOLDER).read_text(encoding="utf-8").strip() or "unknown"
    except OSError:
        return "unknown"
