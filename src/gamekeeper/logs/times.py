"""Times in logs, as seconds since 1970.

Source      ISO 8601 as RFC 3339 and Python read it; `strptime` patterns of C
Assumes     a time without a zone is in UTC; `Clock.naive` says that there was one
Keeps       the latest time of a file, and how often and how far its clock went back
"""

import math
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache

from gamekeeper.errors import BadConfig
from gamekeeper.logs.event import Unusable, shown

UNITS = {"unix-s": 1, "unix-ms": 10**3, "unix-us": 10**6, "unix-ns": 10**9}
ISO = "iso8601"
LATEST = 4_102_444_800.0
"""The year 2100: a later time is in another unit."""
KIND = "a time that cannot be read"


def time_format(text: str) -> str:
    """Checks a format of the mapping. Raises ValueError."""
    if text in UNITS or text == ISO or "%" in text:
        return text
    raise ValueError(
        f"a time's format is {', '.join(UNITS)}, {ISO} or a pattern such as '%Y-%m-%d %H:%M:%S'; got {text!r}"
    )


@dataclass
class Clock:
    """Reads the times of one log and watches whether they go forward, file by file.

    tolerance  seconds that a time may lie before an earlier line of its file
    naive      whether a time had no zone
    back       lines before whose time an earlier line of the file lies, and `furthest` by how many seconds at most
    overlaps   files that begin before an earlier one ends
    latest     time in the current file, `file`; `before`: in all before it
    """

    tolerance: float
    naive: bool = False
    back: int = 0
    furthest: float = 0.0
    overlaps: int = 0
    file: str = ""
    latest: float = field(default=-math.inf)
    before: float = field(default=-math.inf)

    def seconds(self, value: object, pattern: str) -> float:
        """A time in one of the formats. Raises Unusable."""
        at, naive = _number(value, pattern) if pattern in UNITS else _text(str(value), pattern)
        self.naive |= naive
        if not -LATEST < at < LATEST:
            text = shown(str(value))
            raise Unusable(KIND, f"the time {text} is not between 1840 and 2100 as {pattern}{_unit(at, pattern)}")
        return at

    def notice(self, at: float, file: str, line: int) -> None:
        """Counts a time before an earlier one. Raises BadConfig if it lies further back than is tolerated."""
        if math.isnan(at):
            return
        if file != self.file:
            self.file, self.before, self.latest = file, max(self.before, self.latest), -math.inf
            self.overlaps += at < self.before
        if at < self.latest:
            self.back += 1
            self.furthest = max(self.furthest, self.latest - at)
            if self.latest - at > self.tolerance:
                raise BadConfig(
                    f"line {line} of {file}: the time lies {self.latest - at:,.0f} s before that of an earlier line; at"
                    f" most {self.tolerance:,.0f} s are tolerated. Sort the log by time, or raise the tolerance."
                )
        self.latest = max(self.latest, at)

    def sentences(self) -> list[str]:
        """What a person should know about the times."""
        lines = ["Times without a zone were taken as UTC."] if self.naive else []
        if self.back:
            lines.append(f"The clock went back {self.back:,} times, by {self.furthest:,.1f} s at most.")
        if self.overlaps:
            lines.append(f"{self.overlaps:,} files begin before an earlier one ends.")
        return lines


def _number(value: object, unit: str) -> tuple[float, bool]:
    try:
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise ValueError
        # whole numbers are divided exactly: nanoseconds do not fit into a double
        number = int(value) if isinstance(value, int) or value == "" or str(value).isdecimal() else float(value)
        return number / UNITS[unit], False
    except (ValueError, OverflowError):
        raise Unusable(KIND, f"the time {shown(str(value))} is not a number, as {unit} would be") from None


@lru_cache(maxsize=1024)
def _text(text: str, pattern: str) -> tuple[float, bool]:
    """Seconds, and whether they were without a zone. Lines next to each other often have the same time."""
    try:
        time = datetime.fromisoformat(text.strip()) if pattern == ISO else datetime.strptime(text.strip(), pattern)
        naive = time.tzinfo is None
        return (time.replace(tzinfo=UTC) if naive else time).timestamp(), naive
    except (ValueError, OverflowError) as error:
        raise Unusable(KIND, f"the time {shown(text)} is not {pattern} ({shown(str(error))})") from None


def _unit(at: float, unit: str) -> str:
    """Which unit it probably is instead."""
    fitting = [name for name, per in UNITS.items() if unit in UNITS and 1e9 < at * UNITS[unit] / per < LATEST]
    return f"; is it {fitting[0]}?" if fitting else ""
