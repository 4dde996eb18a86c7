"""What came of reading a log: how much was read, what was skipped and why, and what the log does not say.

Source      none
Keeps       a count and one example for each kind of thing that was wrong; there are some twenty kinds
"""

import json
import math
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from gamekeeper.errors import BadConfig
from gamekeeper.logs.event import Event, Unreadable
from gamekeeper.logs.joining import Joining
from gamekeeper.logs.times import Clock


@dataclass
class Skipped:
    """Records of one kind that gave no event: how many, and the first of them."""

    count: int
    example: str


@dataclass
class Tally:
    """Counts, while a log is read. `sentences` says them.

    timeless, inputless, answerless  events that the log has no time, no inputs (nor hashes) or no answers for
    damaged  files that end in the middle of what gzip packed
    cut      files whose last line has no end and could not be read; that is not held against the log
    """

    path: str
    clock: Clock
    events: int = 0
    inputs: int = 0
    filtered: int = 0
    timeless: int = 0
    inputless: int = 0
    answerless: int = 0
    skipped: dict[str, Skipped] = field(default_factory=dict[str, Skipped])
    damaged: Skipped | None = None
    cut: Skipped | None = None
    joining: Joining | None = None

    def saved(self) -> str:
        """As JSON, without what joins lines."""
        return json.dumps(asdict(replace(self, joining=None)))

    @staticmethod
    def restored(text: str) -> "Tally":
        """What `saved` wrote."""
        values: dict[str, Any] = json.loads(text)
        for name in ("damaged", "cut"):
            values[name] = values[name] and Skipped(**values[name])
        skipped = {kind: Skipped(**each) for kind, each in values.pop("skipped").items()}
        values["clock"] = Clock(**values["clock"])
        return Tally(**values, skipped=skipped)

    def count(self, event: Event) -> None:
        self.events += 1
        self.inputs += event.n
        self.timeless += math.isnan(event.at)
        self.inputless += event.inputs is None and not event.hashes
        self.answerless += event.answers is None

    def unreadable(self, record: Unreadable) -> None:
        """Counts a line that gave no record."""
        if record.cut:
            self.cut = noted(self.cut, f"line {record.line} of {record.next.file}")
        else:
            self.skip(record.kind, record.detail, record.line, record.next.file, record.count)

    def skip(self, kind: str, detail: str, line: int, file: str, count: int = 1) -> None:
        """Counts a record that gave no event."""
        self.skipped[kind] = noted(self.skipped.get(kind), f"line {line} of {file}: {detail}", count)

    def check(self, share: float, least: int) -> None:
        """Raises BadConfig if more than a share of at least `least` records could not be read."""
        bad = sum(each.count for each in self.skipped.values())
        if bad > share * (bad + self.events) and bad + self.events >= least:
            kind, most = max(self.skipped.items(), key=lambda item: item[1].count)
            raise BadConfig(
                f"{bad:,} of {bad + self.events:,} records of {self.path} cannot be read; at most {share:.0%} may be such."
                f" Most often: {kind} ({most.example}). Correct the mapping, or the log."
            )

    def sentences(self) -> list[str]:
        """What a person should know about the reading, most important first; nothing that is as it should be."""
        every = {
            "time": self.timeless,
            "inputs": self.inputless,
            "answers": self.answerless,
        }
        lines = [f"{each.count:,} skipped: {kind}; the first is {each.example}." for kind, each in self.skipped.items()]
        if self.damaged:
            more = f"; {self.damaged.count - 1:,} more files are like that" if self.damaged.count > 1 else ""
            lines.append(f"{self.damaged.example}{more}.")
        if self.cut:
            lines.append(
                f"Files that end inside a line, which was not read: {self.cut.count:,}; the first is {self.cut.example}."
            )
        lines += [
            f"{count:,} of {self.events:,} requests have no {name} in the log."
            for name, count in every.items()
            if count
        ]
        if self.filtered:
            lines.append(f"{self.filtered:,} records were passed over by the filter.")
        lines += self.clock.sentences()
        return lines + ([] if self.joining is None else self.joining.sentences())


def noted(entry: Skipped | None, example: str, count: int = 1) -> Skipped:
    """More of a kind; the first is the example."""
    return Skipped(count, example) if entry is None else Skipped(entry.count + count, entry.example)
