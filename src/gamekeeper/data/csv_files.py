"""CSV files as they stand: a first line of names, then rows of text. What a column means is the schema's business."""

import csv
import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from gamekeeper.data.limits import unpack
from gamekeeper.errors import BadConfig

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?inf(inity)?", re.IGNORECASE | re.ASCII)
OTHER_SPELLING = re.compile(r"[-+(]?[$€£]?\s?\d[\d.,'_ ]*\s?[%‰)]?|[+-]?0x[0-9a-f]+", re.IGNORECASE)
"""A number as people write one and programs do not: 1,234 or 10 % or 0x10."""
MISSING = frozenset(
    [
        "",
        "?",
        "-",
        "--",
        ".",
        "na",
        "n/a",
        "n.a.",
        "#n/a",
        "#na",
        "<na>",
        "nan",
        "-nan",
        "nat",
        "null",
        "none",
        "nil",
        "missing",
        "\\n",
        "#null!",
        "#div/0!",
        "#value!",
        "1.#ind",
        "-1.#ind",
        "1.#qnan",
        "-1.#qnan",
    ]
)
"""Words for "no value", in lower case: those that pandas, databases and spreadsheets write, and what people type."""


EMPTY = frozenset(
    ["", "na", "n/a", "#n/a", "#na", "<na>", "nan", "-nan", "null", "none", "1.#ind", "-1.#ind", "1.#qnan", "-1.#qnan"]
)
"""Those of them that everybody who reads a table, as pandas does, takes for an empty cell."""
SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}
"""What stands between cells where spreadsheets use the comma for decimals, and in other exports."""


@dataclass(frozen=True)
class Cell:
    """One cell and where it stands."""

    path: Path
    line: int
    column: str
    text: str

    def __str__(self) -> str:
        return f"line {self.line} of {self.path} has {self.text!r} in column {self.column!r}"


@dataclass(frozen=True, eq=False)
class Table:
    """A CSV file: names of the columns, and every row's line number and cells, stripped."""

    path: Path
    head: list[str]
    rows: list[tuple[int, list[str]]]

    def __len__(self) -> int:
        return len(self.rows)

    def column(self, name: str) -> list[str]:
        place = self.head.index(name)
        return [cells[place] for _, cells in self.rows]

    def empties(self, name: str) -> set[str]:
        """The texts of a column's empty cells."""
        return {text for text in set(self.column(name)) if text.lower() in EMPTY}

    def first(self, name: str, odd: Callable[[str], bool]) -> Cell | None:
        """The first cell of a column that is odd; each different text is looked at once."""
        column = self.column(name)
        wanted = {text for text in set(column) if odd(text)}
        row = next((row for row, text in enumerate(column) if text in wanted), None) if wanted else None
        return None if row is None else Cell(self.path, self.rows[row][0], name, column[row])


def missing(text: str) -> bool:
    return text.lower() in MISSING


def is_number(text: str) -> bool:
    return NUMBER.fullmatch(text) is not None


def other_spelling(text: str) -> bool:
    return not is_number(text) and OTHER_SPELLING.fullmatch(text) is not None


def table(path: Path) -> Table:
    """The content of a CSV file. Raises BadConfig for a first line that cannot be names and for rows of unequal length."""
    try:
        text = unpack(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        hint = " (in a spreadsheet: CSV UTF-8, comma delimited)"
        raise BadConfig(f"{path} is not a CSV file in UTF-8 ({error}). Save it as one{hint}.") from error
    lines = list(csv_lines(path, text))
    head, rows = (lines[0][1], lines[1:]) if lines else ([], [])
    check_separator(path, text.lstrip().split("\n", 1)[0])
    if not head or "" in head or len(set(head)) < len(head) or all(NUMBER.fullmatch(cell) for cell in head):
        index = bool(head) and head[0] == "" and "" not in head[1:]
        hint = " The first has none, as where pandas writes its index: save it with index=False." if index else ""
        raise BadConfig(
            f"{path} needs a first line with a different name for each column; got {', '.join(head)!r}.{hint}"
        )
    for line, cells in rows:
        if len(cells) != len(head):
            commas = len(cells) > len(head) and all(map(is_number, cells))
            hint = " If its numbers have decimal commas, write them with a point: 1.5 instead of 1,5." if commas else ""
            raise BadConfig(
                f"line {line} of {path} has {len(cells)} values; {len(head)} are needed. Repair the line.{hint}"
            )
    return Table(path, head, rows)


def check_separator(path: Path, head: str) -> None:
    """Raises BadConfig if the first line separates its names with something else than commas."""
    used = max(SEPARATORS, key=head.count)
    if head.count(used) > head.count(","):
        raise BadConfig(
            f"{path} separates its columns with {SEPARATORS[used]}; commas are needed, and in numbers a decimal point, as in"
            f" 1234.5. Save it so, for example pandas.read_csv(…, sep={used!r}, decimal=',').to_csv(…, index=False) if its"
            " numbers have decimal commas."
        )


def csv_lines(path: Path, text: str) -> Iterator[tuple[int, list[str]]]:
    """Line number and cells of every line that is not blank. Raises BadConfig for a quote that goes wrong."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    while True:
        start = reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise BadConfig(
                f'line {start} of {path} opens a quote (") and does not close it before a comma or the end of the line'
                f' ({error}). Close it; a quote that belongs to a text is written twice ("").'
            ) from error
        if cells is None:
            return
        if cells:
            yield reader.line_num, [cell.strip() for cell in cells]
