"""Committed results keep their ids, their numbers and their tables, whatever is renamed or moved.

`tests/data/frozen` holds runs as they were; `tools/freeze_results.py` wrote them, and says when to write them anew.
"""

import gzip
import shlex
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import freeze_results
import orjson
import pytest

from gamekeeper.attacks.theft import Theft
from gamekeeper.engine.grid import Audit, Cell, expand
from gamekeeper.engine.run import run_cell
from gamekeeper.reproductions.catalogue import REPRODUCTIONS
from gamekeeper.reproductions.description import cells as cells_of
from gamekeeper.results import HEADER, RESULTS, from_json, to_line
from gamekeeper.surfaces.cli import ATTACKS, DEFENSES
from gamekeeper.targets.choice import Choice
from gamekeeper.training.fit import FAST, POSTERIOR

FROZEN = Path(__file__).parent / "data/frozen"
NAMES = [path.name.removesuffix(".json.gz") for path in sorted(FROZEN.glob("*.json.gz"))]
UNTRAINED = ["exact-wine", "exact-breast-cancer"]
"""Runs of thieves who train nothing."""
SAME = [*UNTRAINED, "mnist", "few-inside-mnist"]
"""Runs without the ensemble, whose members no longer rehearse: that was part of their cells."""


@cache
def frozen(name: str) -> dict[str, Any]:
    return orjson.loads(gzip.decompress((FROZEN / f"{name}.json.gz").read_bytes()))


@pytest.mark.parametrize("name", NAMES)
def test_a_row_read_and_written_again_has_the_same_numbers(name: str):
    for row in frozen(name)["rows"]:
        assert holds(orjson.loads(to_line(from_json(row))), row)


def holds(ours: Any, theirs: Any) -> bool:
    """Whether all that a row of an older version says stands in ours, at every depth."""
    if isinstance(theirs, dict):
        return all(key in ours and holds(ours[key], value) for key, value in theirs.items())
    return ours == theirs


@pytest.mark.parametrize("name", NAMES)
def test_the_tables_made_of_the_rows_are_the_same(name: str, tmp_path: Path):
    held = frozen(name)
    (tmp_path / HEADER).write_bytes(orjson.dumps(held["header"]))
    (tmp_path / RESULTS).write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in held["rows"]))
    assert alike(orjson.loads(orjson.dumps(freeze_results.tables(tmp_path))), held["tables"]) == []


def alike(ours: Any, theirs: Any, at: str = "") -> list[str]:
    """Where two tables differ; numbers may by what another processor's sum of float32 terms brings."""
    if isinstance(ours, dict) and isinstance(theirs, dict) and ours.keys() == theirs.keys():
        return [place for key in ours for place in alike(ours[key], theirs[key], f"{at}/{key}")]
    if isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        return [place for i, pair in enumerate(zip(ours, theirs, strict=True)) for place in alike(*pair, f"{at}/{i}")]
    if isinstance(ours, float) and isinstance(theirs, float):
        return [] if ours == pytest.approx(theirs, rel=1e-4, abs=1e-5) else [f"{at}: {ours} was {theirs}"]
    return [] if ours == theirs else [f"{at}: {ours!r} was {theirs!r}"]


@pytest.mark.parametrize("name", SAME)
def test_the_same_question_has_the_same_cells(name: str):
    """These runs are from before gates set their thresholds on natural inputs, so behind gates it is another question."""
    plain = next(cell.digest for cell in cells(name) if not cell.defenses)
    assert [replace(as_then(cell), digest=plain).id for cell in cells(name)] == frozen(name)["header"]["cells"]
    gated = {cell.defense.partition(":")[0] for cell in cells(name) if cell.digest != plain}
    assert gated <= {"ood_gate", "keyed_misinformation"}


def test_the_same_reproduction_has_the_same_cells():
    wanted = cells_of(REPRODUCTIONS["orderings"], Choice, lambda target, source: None)
    assert [as_then(cell).id for cell in wanted] == frozen("reproduce-orderings")["header"]["cells"]


def as_then(cell: Cell) -> Cell:
    """The cell of a thief who trains as thieves did when the runs were frozen: another training is another question."""
    if not isinstance(cell.thief, Theft) or getattr(cell.thief.learner, "fit", None) != POSTERIOR:
        return cell
    learner = replace(cell.thief.learner, fit=FAST)  # pyright: ignore[reportCallIssue, reportArgumentType]
    return replace(cell, thief=replace(cell.thief, learner=learner))


@cache
def cells(name: str) -> list[Cell]:
    """The run's cells, expanded from its command; those of a thief whom a defense does not suit are left out as then."""
    header = frozen(name)["header"]
    _, _, target, *words = shlex.split(header["command"])
    given: dict[str, list[str]] = {}
    flags = [word for word in words if word not in ("--yes", "--quiet")]
    for key, value in zip(flags[::2], flags[1::2], strict=True):
        given.setdefault(key, []).append(value)
    source = Choice(target, auxiliary=given.get("--auxiliary", [None])[0])
    defenses = header.get("chosen", {}).get("defenses") or given.get("--defense", DEFENSES)
    uniform = int(given["--uniform"][0]) if "--uniform" in given else None
    audit = Audit(source, given.get("--attack", ATTACKS), defenses, header["budgets"], header["seeds"], uniform)
    taking_part = {tuple(pair) for pair in header["names"].values()}
    return [cell for cell in expand(audit, source.load()) if (cell.defense, cell.attack) in taking_part]


@pytest.mark.parametrize("name", UNTRAINED)
def test_exact_attacks_measure_the_same_again(name: str, tmp_path: Path):
    """They train nothing, so that another processor changes last bits at most."""
    before = {row["cell"]: row for row in frozen(name)["rows"]}
    assert len(cells(name)) == len(before)
    for cell in cells(name):
        row, then = orjson.loads(to_line(run_cell(cell, tmp_path))), before[cell.id]
        for key in ("target", "defense", "attack", "queries", "paid", "price", "chance"):
            assert row[key] == then[key]
        assert set(then["flags"]) <= set(row["flags"])  # later versions see more
        assert row["error_kind"] == ((then["error"] or "").partition(":")[0] or None)  # its sentence may be reworded
        for part in ("clone", "victim", "utility"):
            assert alike(comparable(row[part]), comparable(then[part])) == []


def comparable(part: dict[str, Any] | None) -> dict[str, Any] | None:
    """What two runs must agree on: not which test inputs fell on which side, bit by bit, nor what older ones do not say."""
    return part and {key: value for key, value in part.items() if key not in ("right", "shifted")}
