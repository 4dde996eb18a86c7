"""A cell that fails is a row that says so: one broken cell must not cost the others."""

import traceback
from pathlib import Path

from gamekeeper.errors import GamekeeperError, Halt

WORKER_DIED = "WorkerDied: the worker process was killed (out of memory?). Run again to retry."
ERRORS = "errors.log"


def failure(error: Exception, cell: str, folder: Path) -> tuple[str, str]:
    """The class of an error under handling, and what its row says. Raises a Halt again: going on would be pointless.

    An error that is none of ours is a mistake in the program, so its traceback goes to errors.log in the folder of the run.
    """
    if isinstance(error, Halt):
        raise error
    kind = type(error).__name__
    if isinstance(error, GamekeeperError):
        return kind, f"{kind}: {error}"
    with (folder / ERRORS).open("a", encoding="utf-8", errors="backslashreplace") as log:
        log.write(f"--- cell {cell}\n{traceback.format_exc()}\n")
    return kind, f"{kind}: {error} (traceback in {ERRORS})"
