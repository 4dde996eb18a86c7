"""A session runs cells of any kind: here of a toy grid that knows nothing of thefts."""

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from gamekeeper.engine.backends import Work, backend
from gamekeeper.engine.session import opened
from gamekeeper.errors import BadConfig


@dataclass(frozen=True)
class Square:
    """A cell: what is the square of n?"""

    n: int

    @property
    def id(self) -> str:
        return f"square of {self.n}"


@dataclass(frozen=True)
class Answer:
    cell: str
    value: int | None = None
    error: str | None = None


@dataclass
class Kept:
    rows: list[Answer] = field(default_factory=list)
    repaired: int = 0

    def every(self) -> list[Answer]:
        return list(self.rows)

    def append(self, row: Answer) -> None:
        self.rows.append(row)

    def repair(self) -> bool:
        self.repaired += 1
        return False


def square(cell: Square, refused: tuple[int, ...] = ()) -> Answer:
    if cell.n in refused:
        return Answer(cell.id, error="no")
    return Answer(cell.id, cell.n**2)


def lost(cell: Square) -> Answer:
    return Answer(cell.id, error="died")


GRID = [Square(n) for n in range(5)]
WORK = Work(square, lost, __name__)


def test_what_is_missing_runs_and_what_is_done_does_not_run_again(tmp_path: Path):
    table = Kept([Answer("square of 1", 1), Answer("square of 2", error="no")])
    with opened(tmp_path / "new", table, WORK) as session:
        missing = session.missing(GRID)
        assert [cell.n for cell in missing] == [0, 2, 3, 4]
        assert [row.value for row in session.run(missing, backend(1))] == [0, 4, 9, 16]
        assert session.missing(GRID) == []
    assert table.repaired == 1


def test_a_row_is_kept_before_it_is_handed_on(tmp_path: Path):
    table = Kept()
    with opened(tmp_path, table, WORK) as session:
        for number, row in enumerate(session.run(GRID, backend(1)), 1):
            assert table.rows[-1] == row
            assert len(table.rows) == number


def test_several_processes_give_the_same_rows(tmp_path: Path):
    with opened(tmp_path, Kept(), WORK) as session:
        rows = list(session.run(GRID, backend(2)))
    assert sorted(rows, key=lambda row: row.cell) == [square(cell) for cell in GRID]


def test_a_cell_that_failed_is_a_row_and_runs_again_next_time(tmp_path: Path):
    table = Kept()
    with opened(tmp_path, table, Work(partial(square, refused=(3,)), lost, __name__)) as session:
        assert [row.error for row in session.run(GRID, backend(1))] == [None, None, None, "no", None]
    with opened(tmp_path, table, WORK) as session:
        assert session.missing(GRID) == [Square(3)]


def test_one_session_at_a_time_has_a_folder_and_looking_only_changes_nothing(tmp_path: Path):
    table = Kept()
    with opened(tmp_path, table, WORK):
        with pytest.raises(BadConfig, match="another run is at work"), opened(tmp_path, Kept(), WORK):
            pass
        with opened(tmp_path, table, WORK, look_only=True) as session:
            assert session.missing(GRID) == GRID
    assert table.repaired == 1
