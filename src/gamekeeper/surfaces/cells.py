"""Running the cells of a grid that are missing, a line for each as it is finished."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from rich.console import Console

from gamekeeper.engine.backends import backend_for
from gamekeeper.engine.session import CellLike, RowLike, Session
from gamekeeper.version import __version__

C = TypeVar("C", bound=CellLike)
R = TypeVar("R", bound=RowLike)


def run_missing(
    session: Session[C, R], wanted: Sequence[C], what: str, line: Callable[[R], str], jobs: int | None, console: Console
) -> None:
    """what: what the grid is about, for the first line; line: of a finished row."""
    missing = session.missing(wanted)
    console.print(
        f"gamekeeper {__version__}: {what}; {len(wanted)} cells, {len(wanted) - len(missing)} already done",
        soft_wrap=True,
    )
    for number, row in enumerate(session.run(missing, backend_for(len(missing), jobs)), 1):
        console.print(f"{number} of {len(missing)}  {line(row)}", soft_wrap=True, markup=False)
