"""One run at a time in a folder."""

import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from gamekeeper.errors import BadConfig

LOCK = "run.lock"


@contextmanager
def claimed(folder: Path) -> Generator[None]:
    """The folder is this process's until the end of the block. Raises BadConfig if another one holds it.

    The system releases the claim of a process that was killed, so a lock file that is left behind locks nothing.
    """
    with (folder / LOCK).open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise BadConfig(
                f"another run is at work in {folder} (process {file.read().strip() or 'unknown'}). Wait until it has"
                " ended, or name another folder with --out."
            ) from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield
