"""The quick ensemble (`worst`) against the soft thief alone, both on the built-in digit classifier at the same budget.

Every thief of the ensemble and the control, with no defense; what the judge does is in both. CPU time of one
process and one thread, each from an empty folder, so that nothing is taken from a shelf or a ledger. The whole ensemble takes an
hour or so: `python -m benchmarks ensemble` measures its factor as well if the environment holds BENCH_FULL=1.
"""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.timing import cpu_seconds
from gamekeeper.engine.grid import Audit, Cell, expand
from gamekeeper.engine.run import run_cell
from gamekeeper.targets.choice import Choice

BUDGET, AIM = 500, 15.0


def steal(cells: Sequence[Cell]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        rows = [run_cell(cell, Path(folder)) for cell in cells]
    assert all(row.error is None for row in rows), [row.error for row in rows]


def measure() -> dict[str, object]:
    torch.set_num_threads(1)
    choice = Choice("mnist")
    target = choice.load()
    soft, quick, full = (
        expand(Audit(choice, [attack], ["none"], [BUDGET], [0]), target)
        for attack in ("knockoff", "worst", "worst:full")
    )
    soft = [
        cell for cell in soft if cell.budget
    ]  # without the clone that asks nothing, which the ensemble pays as well
    steal(soft)  # the first one loads the target
    alone, whole = cpu_seconds(lambda: steal(soft)), cpu_seconds(lambda: steal(quick))
    everything = cpu_seconds(lambda: steal(full)) if os.environ.get("BENCH_FULL") == "1" else None
    return {
        "budget": BUDGET,
        "thieves": len({cell.attack for cell in quick}),
        "soft_cpu_seconds": round(alone, 1),
        "quick_cpu_seconds": round(whole, 1),
        "ratio": round(whole / alone, 1),
        "aim": AIM,
        "full_over_soft": None if everything is None else round(everything / alone, 1),
    }


def show(result: dict[str, object]) -> None:
    print(
        "worst: {thieves} thieves at {budget:,} queries cost {ratio} times the soft thief alone (aim {aim:g});"
        " worst:full {full_over_soft} times".format(**result)
    )
