"""A session: one run at work in its folder, which it has to itself. What is finished stays finished.

It is generic in the cell and the row: thefts, reproductions and whatever else is a grid share the same loop. A cell has
an id that hashes all it depends on; a row names its cell and carries the error of one that failed.
"""

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar, runtime_checkable

from gamekeeper.engine.backends import Backend, Work
from gamekeeper.engine.lock import claimed
from gamekeeper.errors import BadConfig


@runtime_checkable
class CellLike(Protocol):
    """One question of a grid: frozen plain values."""

    @property
    def id(self) -> str: ...


@runtime_checkable
class RowLike(Protocol):
    """What came of a cell. `error`: why it failed, in a sentence; such a cell runs again."""

    @property
    def cell(self) -> str: ...
    @property
    def error(self) -> str | None: ...


C = TypeVar("C", bound=CellLike)
R = TypeVar("R", bound=RowLike)


@runtime_checkable
class Table(Protocol[R]):
    """Where rows are kept, one line each."""

    def every(self) -> list[R]:
        """Every whole row, oldest first."""
        ...

    def append(self, row: R) -> None:
        """On disk before it returns."""
        ...

    def repair(self) -> bool:
        """Sets a row aside that a crash cut short. True if there was one."""
        ...


@dataclass(frozen=True)
class Session(Generic[C, R]):
    """One run in its folder: which cells are missing, and running them."""

    table: Table[R]
    work: Work[C, R]

    def missing(self, cells: Sequence[C]) -> list[C]:
        """Cells without a measured row."""
        done = {row.cell for row in self.table.every() if row.error is None}
        return [cell for cell in cells if cell.id not in done]

    def run(self, cells: Sequence[C], backend: Backend) -> Iterator[R]:
        """Rows as they are finished; each is on disk before it is handed on."""
        for row in backend.submit(self.work, cells):
            self.table.append(row)
            yield row


@contextmanager
def opened(folder: Path, table: Table[R], work: Work[C, R], look_only: bool = False) -> Generator[Session[C, R]]:
    """The folder is this process's until the end of the block, and its table whole; look_only: neither, nothing is changed.

    Raises BadConfig if another process holds the folder, or if it cannot be made.
    """
    make_folder(folder)
    with nullcontext() if look_only else claimed(folder):
        if not look_only:
            table.repair()
        yield Session(table, work)


def make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadConfig(f"cannot make the folder {folder}: {error}. Name another with --out.") from error
