"""Results: one JSON line per cell, appended when the cell is done. The public format, version `SCHEMA`.

A run is two files: `run.json` (what was requested: schema, version, the cells, how to reproduce it) and `results.jsonl`
(what came out). A line is written with one `write` and synced; a line cut short by a crash is moved aside at the next
start, and its cell runs again.
"""

import json
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

import orjson

from gamekeeper.aside import replaced
from gamekeeper.defenses.guarantees import Guarantees
from gamekeeper.errors import BadConfig
from gamekeeper.facts import Reads
from gamekeeper.metrics import Estimate, ShiftHarm
from gamekeeper.older_rows import older

SCHEMA = 1
RESULTS, HEADER = "results.jsonl", "run.json"
BINARY: int = getattr(os, "O_BINARY", 0)
"""Without this flag, Windows would write every line end as two bytes; other systems do not have it."""


@dataclass(frozen=True)
class Clone:
    """The stolen copy compared with the true classes and with the clean victim (Tramer et al. 2016).

    accuracy          share of correct answers on the test set
    fidelity          top-1 agreement with the victim on the test set: 1 - R_test
    fidelity_uniform  the same on uniform inputs: 1 - R_unif; None if there were none
    tv                mean total variation distance to the victim's posterior on the test set, 0 to 1; None if the
                      victim does not publish whole posteriors, or in rows of an older version
    tv_uniform        the same on uniform inputs
    accuracy_ratio    accuracy over the victim's, on the same test set; may exceed 1
    right             for every test input, whether the top class is the true one (`bootstrap.packed`), so that thieves
                      can be compared input by input; None in rows of an older version
    """

    accuracy: Estimate
    fidelity: Estimate
    fidelity_uniform: Estimate | None
    tv: Estimate | None = None
    tv_uniform: Estimate | None = None
    accuracy_ratio: Estimate | None = None
    right: str | None = None


@dataclass(frozen=True)
class Victim:
    """Accuracy of the clean and of the defended answers on the test set."""

    accuracy: Estimate
    defended_accuracy: Estimate


@dataclass(frozen=True)
class Band:
    """Test inputs whose clean answer has a confidence up to `upto`, and above that of the band before.

    n counts all of them, kept those whose top-1 class the defense does not change, right those whose clean answer is
    correct, right_defended those whose defended answer is.
    """

    upto: float
    n: int
    kept: int
    right: int
    right_defended: int


@dataclass(frozen=True)
class MapsKept:
    """What a defense does to the attribution maps that come with the answers, on the first `n` test inputs.

    rank              mean Spearman correlation with the victim's own map; None if in every pair a map is flat
    overlap           mean share of a map's top 15 % that is also in the top 15 % of the victim's own
    flat, flat_clean  share of maps that are the same everywhere: of those given, and of the victim's own
    drop, drop_clean  Average Drop of both, from the victim's own answers; None for a live API, where every answer costs
    """

    n: int
    rank: float | None
    overlap: float
    flat: float
    flat_clean: float
    drop: float | None = None
    drop_clean: float | None = None


@dataclass(frozen=True)
class Utility:
    """What honest users lose, on the test set.

    l1               mean ||answer - clean posterior||_1, 0 to 2
    l1_thief         the same on the thief's queries; None if the clean answers are unknown, or there were no queries
    l1_histogram     counts of the per-query l1 in 20 equal bins over [0, 2]
    ece              expected calibration error of the defended answers, 15 bins
    ece_clean        the same of the clean answers
    top1_kept        fraction of answers whose top-1 class is the clean one
    top1_kept_thief  the same on the thief's queries
    deterministic    whether the same input, sent twice, got the same answer
    l1_most          the largest l1 of any answer; None, like all that follows, in rows of an older version
    l2, kl           mean ||answer - clean||_2 and mean KL(clean || answer) in nats, with zeros of the answer taken as 1e-12
    bands            by the clean answer's confidence
    promised         what the defenses guarantee for every answer
    broken           names of the guarantees that some answer broke, to an honest user or a thief
    maps             what happens to attribution maps; None if there are none
    shifted          inputs of honest users unlike the test set, the unshifted first; None if none were asked
    """

    l1: float
    l1_thief: float | None
    l1_histogram: list[int]
    ece: float
    ece_clean: float
    top1_kept: float
    top1_kept_thief: float | None
    deterministic: bool
    l1_most: float | None = None
    l2: float | None = None
    kl: float | None = None
    bands: list[Band] | None = None
    promised: Guarantees | None = None
    broken: list[str] = field(default_factory=list[str])
    maps: MapsKept | None = None
    shifted: list[ShiftHarm] | None = None


@dataclass(frozen=True)
class Seconds:
    """thief: training the clone. defense_per_query: what the defense adds to one query, in a batch of 64."""

    thief: float
    defense_per_query: float


@dataclass(frozen=True)
class Evasion:
    """Test inputs that the victim classifies correctly, moved by at most eps (in widths of the box): how often it is then
    wrong, and (`targeted`) how often it gives the wrong class that was aimed at, drawn at random.

    fgsm, pgd  crafted on the copy; noise: every entry moved by eps, up or down at random
    """

    eps: float
    fgsm: Estimate
    fgsm_targeted: Estimate
    pgd: Estimate
    pgd_targeted: Estimate
    noise: Estimate
    noise_targeted: Estimate


@dataclass(frozen=True)
class Inversion:
    """Inputs drawn on the copy, one per class, compared with the victim and the test set.

    confidence  the victim's mean probability of the intended class
    recognised  how often the victim's top-1 class is the intended one
    likeness    mean correlation with the class's average test input, -1 to 1
    closest     how often that correlation is the highest over all classes
    """

    confidence: float
    recognised: Estimate
    likeness: float
    closest: Estimate


@dataclass(frozen=True)
class Membership:
    """Telling the owner's training inputs from test inputs by a model's answers, with each of three scores.

    auc: area under the ROC curve; caught: share of members identified when 1 % of the others are accused
    """

    loss_auc: Estimate
    loss_caught: Estimate
    confidence_auc: Estimate
    confidence_caught: Estimate
    entropy_auc: Estimate
    entropy_caught: Estimate


@dataclass(frozen=True)
class FollowOn:
    """What a copy is good for, scored on the clean victim. A part that could not be measured is None; `lacking` says why.

    itself  the same with the victim in the copy's place, for comparison
    """

    evasion: Evasion | None
    inversion: Inversion | None
    membership: Membership | None
    lacking: list[str]
    itself: "FollowOn | None" = None


@dataclass(frozen=True)
class Row:
    """One finished cell. If it failed, `error` is set and the measurements are None.

    attack        the full thief (`knockoff+labels`); querying and learner are its parts
    queries       what the thief spent of the budget; paid: inputs newly charged (the rest came from the ledger)
    price         in money
    chance        share of the test set's most frequent class
    paper         a published figure to compare with, if there is one
    held_out      in rows of an older version, how often a rehearsal on 90 % of the answers predicted the top class of the others
    error_kind    class of the error, such as Unsuited
    follow_on     what the copy is good for; only with --follow-on, at the largest budget
    reads, uses_defense  facts about the thief (`facts.py`)
    unanswered    test inputs that brought no answer and count nowhere; None in rows of an older version
    """

    cell: str
    target: str
    defense: str
    attack: str
    querying: str
    learner: str
    budget: int
    seed: int
    queries: int = 0
    paid: int = 0
    price: float = 0.0
    clone: Clone | None = None
    victim: Victim | None = None
    utility: Utility | None = None
    seconds: Seconds | None = None
    flags: list[str] = field(default_factory=list[str])
    chance: float | None = None
    paper: float | None = None
    held_out: Estimate | None = None
    error: str | None = None
    follow_on: FollowOn | None = None
    reads: Reads = "posterior"
    uses_defense: bool = False
    error_kind: str | None = None
    unanswered: int | None = None


@dataclass(frozen=True)
class Run:
    """Header of a run: everything the report needs that is not a measurement.

    cells        ids of the requested cells, in order
    target       name, kind, form of its answers, classes, input shape, sizes and digests of its data, price per query
    assumptions  what the thief was assumed to know, one sentence each
    command      the command line that reproduces the run
    names        cell -> defense and attack as this run spells them: `mad` and `mad:eps=0.95` are one cell
    chosen       what `--defense all` stood for, so that a resumed run does not choose again (`engine/strengths.py`)
    """

    schema: int
    version: str
    started: str
    command: str
    cells: list[str]
    target: dict[str, Any]
    assumptions: list[str]
    seeds: list[int]
    budgets: list[int]
    names: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    chosen: dict[str, Any] = field(default_factory=dict[str, Any])

    def restated(self, row: Row) -> Row:
        """A row with this run's names and price: it may have been measured in an earlier run."""
        defense, attack = self.names.get(row.cell, (row.defense, row.attack))
        price = self.target.get("price")
        return replace(row, defense=defense, attack=attack, price=row.price if price is None else row.queries * price)


def encoded(data: Any, option: int = 0) -> bytes:
    """JSON; of a file name that is not UTF-8, '?' for every byte that has no character."""
    with suppress(TypeError):
        return orjson.dumps(data, option=option)
    return orjson.dumps(json.loads(json.dumps(data, ensure_ascii=False).encode("utf-8", "replace")), option=option)


def to_line(row: Row) -> bytes:
    return encoded(asdict(row)) + b"\n"


def from_json(data: dict[str, Any]) -> Row:
    """A row from its JSON object; keys this version does not know are ignored, at every depth."""
    nested = {"victim": _rates(Victim), "clone": _rates(Clone), "utility": _utility, "seconds": _known(Seconds)}
    nested |= {"held_out": _known(Estimate), "follow_on": _follow_on}
    return _known(Row)(older(data) | _parts(data, nested))


def _utility(data: dict[str, Any]) -> Utility:
    nested = {"bands": lambda bands: [_known(Band)(band) for band in bands], "promised": _known(Guarantees)}
    nested |= {"maps": _known(MapsKept), "shifted": lambda harms: [_known(ShiftHarm)(harm) for harm in harms]}
    return _known(Utility)(_parts(data, nested))


def _follow_on(data: dict[str, Any]) -> FollowOn:
    nested = {"evasion": _rates(Evasion), "inversion": _rates(Inversion), "membership": _rates(Membership)}
    return _known(FollowOn)(_parts(data, nested | {"itself": _follow_on}))


def _parts(data: dict[str, Any], nested: dict[str, Any]) -> dict[str, Any]:
    return {k: nested[k](v) if k in nested and v is not None else v for k, v in data.items()}


def _known(cls: type) -> Any:
    return lambda data: cls(**known(cls, data))


def known(cls: type, data: dict[str, Any]) -> dict[str, Any]:
    """The keys that this version's rows have: those of a later one are ignored."""
    return {key: value for key, value in data.items() if key in cls.__dataclass_fields__}


def _rates(cls: type) -> Any:
    return lambda data: _known(cls)({k: _known(Estimate)(v) if isinstance(v, dict) else v for k, v in data.items()})


R = TypeVar("R")


@dataclass(frozen=True)
class Lines(Generic[R]):
    """A file of rows, one JSON line each, whatever the rows are.

    read   a row from its JSON object
    write  a row as a line, with its end
    """

    path: Path
    read: Callable[[dict[str, Any]], R]
    write: Callable[[R], bytes]

    def every(self) -> list[R]:
        """Every whole row in the file, oldest first."""
        if not self.path.exists():
            return []
        lines = self.path.read_bytes().split(b"\n")[:-1]
        rows: list[R] = []
        for number, line in enumerate(lines, 1):
            try:
                rows.append(self.read(orjson.loads(line)))
            except (orjson.JSONDecodeError, TypeError) as error:
                raise BadConfig(
                    f"line {number} of {self.path} is not a result row ({error}). Remove that line; its cell will run again."
                ) from error
        return rows

    def repair(self) -> bool:
        """Moves a line that a crash cut short to `results.jsonl.torn`. True if there was one."""
        if not self.path.exists():
            return False
        data = self.path.read_bytes()
        whole = data.rfind(b"\n") + 1
        if whole == len(data):
            return False
        with self.path.with_suffix(".jsonl.torn").open("ab") as aside:
            aside.write(data[whole:] + b"\n")
        os.truncate(self.path, whole)
        return True

    def append(self, row: R) -> None:
        """One write, then a sync: after a crash the line is whole or cut short (see `repair`), never mixed with another."""
        handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | BINARY, 0o644)
        try:
            line = self.write(row)
            if os.write(handle, line) != len(line):
                raise OSError(f"short write to {self.path}: is the disk full?")
            os.fsync(handle)
        finally:
            os.close(handle)


class Results:
    """The results file of one run folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / RESULTS
        self.lines = Lines(self.path, from_json, to_line)

    def every(self) -> list[Row]:
        """Every whole row in the file, oldest first."""
        return self.lines.every()

    def append(self, row: Row) -> None:
        self.lines.append(row)

    def repair(self) -> bool:
        """Moves a line that a crash cut short to `results.jsonl.torn`. True if there was one."""
        return self.lines.repair()

    def read(self) -> list[Row]:
        """The last row of each of the run's cells, in the order of the header. A torn last line is skipped."""
        run, rows = self.header(), {row.cell: row for row in self.every()}
        return [run.restated(rows[cell]) for cell in run.cells if cell in rows]

    def write_header(self, run: Run) -> None:
        """Written to a temporary file and renamed."""
        replaced(self.folder / HEADER, [encoded(asdict(run), orjson.OPT_INDENT_2)])

    def header(self) -> Run:
        path = self.folder / HEADER
        if not path.exists():
            raise BadConfig(f"{self.folder} holds no run ({HEADER} is missing). Give the folder of an audit.")
        try:
            data = orjson.loads(path.read_bytes())
            if data.get("schema", 0) > SCHEMA:
                raise BadConfig(
                    f"{path} was written by a newer gamekeeper (schema {data['schema']}, this one reads {SCHEMA})."
                )
            return _known(Run)(data)
        except (orjson.JSONDecodeError, TypeError, AttributeError) as error:
            raise BadConfig(
                f"{path} is not the complete header of a run ({error}). Run the audit's command again to rewrite it;"
                " nothing finished is lost."
            ) from error
