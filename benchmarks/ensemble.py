"""The quick ensemble (`worst`) against the soft thief alone, both on the built-in digit classifier at the same budget.

Every thief of the ensemble, its rehearsals and the control, with no defense; what the judge does is in both. CPU time of one
process and one thread, each from an empty folder, so that nothing is taken from a shelf or a ledger. `full` adds up the seconds
of training that the committed run of `worst:full` measured for the undefended model, where that run is there.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.timing import cpu_seconds
from gamekeeper.engine.grid import Audit, Cell, expand
from gamekeeper.engine.results import Results
from gamekeeper.engine.run import run_cell
from gamekeeper.targets.choice import Choice

BUDGET, AIM = 500, 12.0
FULL = Path(__file__).parent.parent / "results" / "worst-mnist"


def steal(cells: Sequence[Cell]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        rows = [run_cell(cell, Path(folder)) for cell in cells]
    assert all(row.error is None for row in rows), [row.error for row in rows]


def full_factor() -> float | None:
    """Seconds of all undefended thieves over those of the soft one, mean over seeds; None without that run."""
    if not (FULL / "run.json").exists():
        return None
    rows = [row for row in Results(FULL).read() if row.defense == "none" and row.seconds]
    soft = sum(row.seconds.thief for row in rows if row.attack == "knockoff" and row.seconds)
    return round(sum(row.seconds.thief for row in rows if row.seconds) / soft, 1)


def measure() -> dict[str, object]:
    torch.set_num_threads(1)
    choice = Choice("mnist")
    target = choice.load()
    soft, quick = (expand(Audit(choice, [attack], ["none"], [BUDGET], [0]), target) for attack in ("knockoff", "worst"))
    steal(soft)  # the first one loads the target
    alone, whole = cpu_seconds(lambda: steal(soft)), cpu_seconds(lambda: steal(quick))
    return {
        "budget": BUDGET,
        "thieves": len({cell.attack for cell in quick}),
        "soft_cpu_seconds": round(alone, 1),
        "quick_cpu_seconds": round(whole, 1),
        "ratio": round(whole / alone, 1),
        "aim": AIM,
        "full_over_soft": full_factor(),
    }


def show(result: dict[str, object]) -> None:
    print(
        "worst: {thieves} thieves at {budget:,} queries cost {ratio} times the soft thief alone (aim {aim:g});"
        " worst:full {full_over_soft} times (from its committed run)".format(**result)
    )
