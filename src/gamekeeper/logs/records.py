"""Records of a log file: JSON lines, rows of CSV, or lines of an access log in the combined format.

Source      JSON lines; RFC 4180 for CSV; nginx's `ngx_http_log_module` for the combined format and its escapes
Assumes     CSV has a first line of names. Of a key that stands twice in a JSON object the last counts, as everywhere
Keeps       one record
"""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from gamekeeper.errors import BadConfig
from gamekeeper.logs.event import Position, Record, Unreadable, shown
from gamekeeper.logs.lines import LINE_LIMIT, LogFile, LogLine
from gamekeeper.protocols.json import loads

Format = Literal["jsonl", "csv", "combined"]
COMBINED = re.compile(
    r"(?P<remote_addr>\S+) \S+ (?P<remote_user>.+?) \[(?P<time_local>[0-9]{2}/[A-Za-z]{3}/[0-9]{4}:[0-9:]{8} [+-][0-9]{4})\] "
    r'"(?P<request>(?:[^"\\]|\\.)*)" (?P<status>[0-9]{3}) (?P<body_bytes_sent>[0-9]+|-)'
    r'(?: "(?P<http_referer>(?:[^"\\]|\\.)*)" "(?P<http_user_agent>(?:[^"\\]|\\.)*)")?'
)
ESCAPED = re.compile(r"((?:\\x[0-9A-Fa-f]{2})+)|\\([\"\\])")
TOO_LONG = "a line that is too long"
LINES = 100_000
"""Lines that one row of CSV may have."""


def records(
    file: LogFile, kind: Format, offset: int, line: int, limit: int = LINE_LIMIT
) -> Iterator[Record | Unreadable]:
    """What a file holds from a place on. Raises BadConfig for a CSV file without names of columns."""
    if kind == "csv":
        yield from rows(file, offset, line, limit)
        return
    parse = json_fields if kind == "jsonl" else combined_fields
    for each in file.lines(offset, line, limit):
        if each.text != b"":
            yield parsed(file, each, parse(each.text), limit) if each.text is not None else too_long(file, each, limit)


def parsed(file: LogFile, line: LogLine, fields: dict[str, Any] | str, limit: int) -> Record | Unreadable:
    """A record of the fields of a line, or of the reason why it has none."""
    after = Position(file.name, line.offset + line.size, line.number + 1)
    if isinstance(fields, str):
        kind, _, detail = fields.partition(": ")
        return Unreadable(kind, detail, line.number, after, line.cut)
    return Record(file.name, fields, line.number, line.offset, after)


def too_long(file: LogFile, line: LogLine, limit: int) -> Unreadable:
    after = Position(file.name, line.offset + line.size, line.number + 1)
    return Unreadable(TOO_LONG, f"it has {line.size:,} bytes; at most {limit:,} are read", line.number, after)


def json_fields(text: bytes) -> dict[str, Any] | str:
    """The object of a line, or what is wrong with it."""
    try:
        fields = loads(text)
    except ValueError as error:
        null = "it holds NUL bytes" if b"\0" in text else shown(str(error))
        return f"a line that is not JSON: {null}: {shown(text[:40].decode(errors='backslashreplace'))}"
    if isinstance(fields, dict):
        return fields
    more = "; `jq -c '.[]'` writes one record per line" if isinstance(fields, list) else ""
    return f"a line that is no JSON object: it holds {type(fields).__name__}{more}"


def combined_fields(text: bytes) -> dict[str, Any] | str:
    """The fields of a line in the combined format, "-" as None, or what is wrong with it."""
    line = text.decode(errors="backslashreplace")
    match = COMBINED.match(line)
    if match is None:
        return f"a line that is not in the combined format: {shown(line)}"
    groups = match.groupdict()
    return {name: None if value in (None, "-") else ESCAPED.sub(_unescaped, value) for name, value in groups.items()}


def _unescaped(match: re.Match[str]) -> str:
    return match[2] or bytes.fromhex(match[1].replace("\\x", "")).decode(errors="backslashreplace")


# --- CSV


@dataclass(frozen=True)
class RowText:
    """One row before it is taken apart, and its first and last line; the text is None if it was too long.

    closed  whether its quotes are
    """

    text: bytes | None
    first: LogLine
    last: LogLine
    closed: bool = True


def rows(file: LogFile, offset: int, line: int, limit: int) -> Iterator[Record | Unreadable]:
    """The rows from a place on; the names of the columns are read first, from the beginning."""
    if csv.field_size_limit() < limit:
        csv.field_size_limit(limit)  # for all of this process, and only ever up; the lines are bounded here
    head: list[str] | None = None
    for each in joined(file.lines(0, 1, limit), limit):
        after = Position(file.name, each.last.offset + each.last.size, each.last.number + 1)
        if head is None:
            head = names(file, each.text)
            if offset > after.offset:
                yield from _rows_from(file, head, offset, line, limit)
                return
        else:
            yield row(head, each, after)
    if head is None and not file.damage:
        raise BadConfig(f"{file.path} is empty; a CSV file needs a first line of names. Leave it out.")


def _rows_from(file: LogFile, head: list[str], offset: int, line: int, limit: int) -> Iterator[Record | Unreadable]:
    file.stream.seek(0)
    for each in joined(file.lines(offset, line, limit), limit):
        yield row(head, each, Position(file.name, each.last.offset + each.last.size, each.last.number + 1))


def names(file: LogFile, text: bytes | None) -> list[str]:
    """The names of the columns. Raises BadConfig if there are none."""
    cells = [] if text is None else cells_of(text)
    if isinstance(cells, str) or not cells or len(set(cells)) < len(cells) or not all(cell.strip() for cell in cells):
        got = cells if isinstance(cells, str) else ", ".join(cells)
        raise BadConfig(f"{file.path} needs a first line with a different name for each column; got {shown(got)}.")
    return [cell.strip() for cell in cells]


def row(head: list[str], lines: RowText, after: Position) -> Record | Unreadable:
    """The record of a row, or why there is none. A quote that is never closed counts for all lines behind it."""
    first, last = lines.first, lines.last
    if not lines.closed:
        count = last.number - first.number + 1
        detail = f"a quote is opened in it, and what follows, {count - 1:,} lines, was not read"
        return Unreadable("a quote that is not closed", detail, first.number, after, last.cut, count)
    if lines.text is None:
        detail = f"the row has {after.offset - first.offset:,} bytes in {last.number - first.number + 1:,} lines"
        return Unreadable(TOO_LONG, detail, first.number, after)
    cells = cells_of(lines.text)
    if isinstance(cells, str):
        return Unreadable("a line that is not CSV", cells, first.number, after, last.cut)
    if len(cells) != len(head):
        detail = f"it has {len(cells)} values for {len(head)} columns"
        return Unreadable("a row with more or fewer values than columns", detail, first.number, after, last.cut)
    return Record(after.file, dict(zip(head, cells, strict=True)), first.number, first.offset, after)


def cells_of(text: bytes) -> list[str] | str:
    """The cells of one row, or what is wrong with it."""
    try:
        table = list(csv.reader([text.decode(errors="backslashreplace")], strict=True))
    except csv.Error as error:
        return shown(str(error))
    return table[0] if table else []


def joined(lines: Iterator[LogLine], limit: int) -> Iterator[RowText]:
    """The text of each row: a quoted value may go over several lines.

    A row of more than `limit` bytes is passed over as a whole, and so is what follows a quote that is never closed: what
    stands inside quotes is a client's text, which may look like rows and must not be read as such.
    """
    first: LogLine | None = None
    held: list[bytes] | None = []
    size, last = 0, None
    for line in lines:
        odd = line.odd if line.text is None else line.text.count(b'"') % 2 == 1
        if first is None and not odd:
            if line.text != b"":
                yield RowText(line.text, line, line)
            continue
        size += line.size
        if held is None or line.text is None or size > limit or len(held) == LINES:
            held = None
        else:
            held.append(line.text)
        if first is None:
            first = line
        elif odd:
            yield RowText(None if held is None else b"\n".join(held), first, line)
            first, held, size = None, [], 0
        last = line
    if first is not None and last is not None:
        yield RowText(None, first, last, closed=False)
