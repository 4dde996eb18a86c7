"""Results: one JSON line a cell, appended when the cell is done. The public format, version `SCHEMA`.

Two files make a run: `run.json` (what was asked: schema, version, the cells, how to reproduce it) and
`results.jsonl` (what came out). A line is written with one `write` and synced; a line cut short by a crash is set
aside at the next start, and its cell runs again.
"""

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson

from gamekeeper.defenses.guarantees import Guarantees
from gamekeeper.errors import BadConfig
from gamekeeper.facts import Reads
from gamekeeper.method_text import taken_apart
from gamekeeper.metrics import Estimate

SCHEMA = 1
RESULTS, HEADER = "results.jsonl", "run.json"
BINARY: int = getattr(os, "O_BINARY", 0)
"""Windows would otherwise write every end of a line as two bytes; other systems know no such flag."""


@dataclass(frozen=True)
class Clone:
    """The stolen copy against the truth, and against the clean victim (Tramer et al. 2016).

    accuracy          share of right answers on the test set
    fidelity          top-1 agreement with the victim on the test set: 1 - R_test
    fidelity_uniform  the same on uniform inputs: 1 - R_unif; None where none were asked
    tv                mean total variation distance to the victim's posterior on the test set, 0 to 1; None where the
                      victim publishes no whole posteriors, or from before it was measured
    tv_uniform        the same on uniform inputs
    accuracy_ratio    accuracy over the victim's, on the same test set; may exceed 1
    right             whether the top class is the true one, of every test input (`bootstrap.packed`), so that differences
                      between thieves can be told apart pair by pair; None in rows of an older version
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
    """Test inputs whose clean answer has a confidence up to `upto` and above the band before.

    n counts them; kept those whose top-1 class the defense left, right and right_defended those answered truly.
    """

    upto: float
    n: int
    kept: int
    right: int
    right_defended: int


@dataclass(frozen=True)
class MapsKept:
    """What became of the attribution maps that are sold with the answers, on the first `n` test inputs.

    rank              mean of Spearman's correlation with the victim's own map; None where no map has an order
    overlap           mean share of the top 15 % of a map that is in the top of the victim's own
    flat, flat_clean  share of the maps that are the same everywhere, given and the victim's own
    drop, drop_clean  Average Drop of both, by the victim's own answers; None for somebody else's API, where each costs
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
    l1_thief         the same on the thief's queries; None where the clean answers are not known, or nothing was asked
    l1_histogram     counts of the per-query l1 in 20 equal bins over [0, 2]
    ece              expected calibration error of the defended answers, 15 bins
    ece_clean        the same of the clean answers
    top1_kept        fraction of answers whose top-1 class is the clean one
    top1_kept_thief  the same on the thief's queries
    deterministic    whether the same input, asked twice, got the same answer
    l1_most          the largest l1 of one answer; None, as all that follows, in rows of an older version
    l2, kl           mean ||answer - clean||_2 and mean KL(clean || answer) in nats, zeros of the answer taken as 1e-12
    bands            by the clean answer's confidence
    promised         what the defenses say of every answer
    broken           promises that some answer broke, honest user's or thief's, by name
    maps             of the attribution maps; None where none are sold
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


@dataclass(frozen=True)
class Seconds:
    """thief: training the clone. defense_per_query: what the defense adds to one query, in a batch of 64."""

    thief: float
    defense_per_query: float


@dataclass(frozen=True)
class Evasion:
    """Test inputs that the victim is right about, moved by at most eps (in widths of the box): where it is then wrong,
    and (`targeted`) where it gives the one class, drawn at random, that was wanted.

    fgsm, pgd  crafted on the copy; noise: every entry moved by eps, up or down by a coin
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
    """Inputs drawn on the copy, one a class, and what the victim and the test set say of them.

    confidence  the victim's mean probability of the wanted class
    recognised  where the victim's top-1 class is the wanted one
    likeness    mean correlation with the class's average test input, -1 to 1
    closest     where that correlation is the highest of all classes
    """

    confidence: float
    recognised: Estimate
    likeness: float
    closest: Estimate


@dataclass(frozen=True)
class Membership:
    """The owner's training inputs told from test inputs by a model's answers, with each of three scores.

    auc  area under the ROC curve; caught: share of members found at 1 % of the others accused
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

    itself  the same with the victim in the copy's place: what the copy is compared with
    """

    evasion: Evasion | None
    inversion: Inversion | None
    membership: Membership | None
    lacking: list[str]
    itself: "FollowOn | None" = None


@dataclass(frozen=True)
class Row:
    """One finished cell. `error` is set, and the measurements are None, where the cell failed.

    attack is the full thief (`knockoff+labels`), querying and learner its parts; queries is what the thief spent
    under his budget, paid the inputs that were newly charged (the rest came from the ledger); price is in money;
    chance is the share of the test set's most frequent class; paper a published figure to set beside, where one is named.
    reads, uses_defense: what the thief says of themselves (`facts.py`); error_kind: the class of the error, such as Unsuited.
    held_out: how often a rehearsal on 90 % of the answers foretold the top class of the others; what a thief chooses by
    who knows no truth. None where nothing was rehearsed.
    follow_on: what the copy is good for, with --follow-on and at the largest budget.
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


@dataclass(frozen=True)
class Run:
    """Header of a run: everything the report needs that is not a measurement.

    cells        ids of the cells asked for, in order
    target       name, kind, what it answers, classes, input shape, sizes and digests of its data, price per query
    assumptions  what the thief was assumed to know, one sentence each
    command      the command line that reproduces the run
    names        cell -> defense and attack as this run spelled them: `mad` and `mad:eps=0.95` are one cell
    chosen       what `--defense all` stood for, so that a resumed run need not choose again (`engine/strengths.py`)
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

    def told(self, row: Row) -> Row:
        """A row in this run's words, at this run's price: it may have been measured in an earlier one."""
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


OLDER_LABEL_READERS = frozenset({"labels", "gce", "smallloss", "smoothed", "fixmatch", "s4l"})
OLDER_USERS_OF_THE_DEFENSE = frozenset({"partialbayes", "inverse"})
OLDER_CONTROLS = frozenset({"shuffled"})
"""Learners of rows that were written before rows said themselves what a thief reads. Closed lists: later rows say it."""


def older(data: dict[str, Any]) -> dict[str, Any]:
    """What a row of an older version does not say of its thief and its error."""
    learner, attack = data.get("learner", ""), taken_apart(data.get("attack", ""))
    posteriors = any(("answers", "soft") in part.pairs for part in attack.parts)
    labels = (learner in OLDER_LABEL_READERS and not posteriors) or "labels_only" in attack.names
    return {
        "reads": "nothing" if learner in OLDER_CONTROLS else "label" if labels else "posterior",
        "uses_defense": learner in OLDER_USERS_OF_THE_DEFENSE,
        "error_kind": (data.get("error") or "").partition(":")[0] or None,
    }


def _utility(data: dict[str, Any]) -> Utility:
    nested = {"bands": lambda bands: [_known(Band)(band) for band in bands], "promised": _known(Guarantees)}
    nested |= {"maps": _known(MapsKept)}
    return _known(Utility)(_parts(data, nested))


def _follow_on(data: dict[str, Any]) -> FollowOn:
    nested = {"evasion": _rates(Evasion), "inversion": _rates(Inversion), "membership": _rates(Membership)}
    return _known(FollowOn)(_parts(data, nested | {"itself": _follow_on}))


def _parts(data: dict[str, Any], nested: dict[str, Any]) -> dict[str, Any]:
    return {k: nested[k](v) if k in nested and v is not None else v for k, v in data.items()}


def _known(cls: type) -> Any:
    return lambda data: cls(**{k: v for k, v in data.items() if k in cls.__dataclass_fields__})


def _rates(cls: type) -> Any:
    return lambda data: _known(cls)({k: _known(Estimate)(v) if isinstance(v, dict) else v for k, v in data.items()})


class Results:
    """The results file of one run folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / RESULTS

    def read(self) -> list[Row]:
        """Rows of the current run's cells, the last of each, in the order of the header. A torn last line is skipped."""
        run, rows = self.header(), {row.cell: row for row in self.every()}
        return [run.told(rows[cell]) for cell in run.cells if cell in rows]

    def every(self) -> list[Row]:
        """Every whole row in the file, oldest first."""
        if not self.path.exists():
            return []
        lines = self.path.read_bytes().split(b"\n")[:-1]
        rows: list[Row] = []
        for number, line in enumerate(lines, 1):
            try:
                rows.append(from_json(orjson.loads(line)))
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

    def append(self, row: Row) -> None:
        """One write, then a sync: after a crash the line is there whole, or cut (see `repair`), never mixed."""
        handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | BINARY, 0o644)
        try:
            line = to_line(row)
            if os.write(handle, line) != len(line):
                raise OSError(f"short write to {self.path}: is the disk full?")
            os.fsync(handle)
        finally:
            os.close(handle)

    def write_header(self, run: Run) -> None:
        """Written aside and renamed."""
        aside = self.folder / f"{HEADER}.new"
        aside.write_bytes(encoded(asdict(run), orjson.OPT_INDENT_2))
        aside.replace(self.folder / HEADER)

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
                f"{path} is not the header of a run, or not a whole one ({error}). The audit's command, given again,"
                " writes it anew; nothing finished is lost."
            ) from error
