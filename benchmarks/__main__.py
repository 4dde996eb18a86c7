"""Runs the benchmarks by name, all of them by default, and writes their ratios to one file."""

import argparse
import json
import platform
from datetime import UTC, datetime
from pathlib import Path

import torch

from benchmarks import (
    deep_defense,
    detectors,
    ensemble,
    ledger,
    mad,
    memory,
    perturbing,
    querying,
    recovery,
    replay,
    tables,
    training,
)
from gamekeeper.version import __version__

ALL = {
    "mad": mad,
    "perturbing": perturbing,
    "deep_defense": deep_defense,
    "training": training,
    "ledger": ledger,
    "memory": memory,
    "querying": querying,
    "recovery": recovery,
    "ensemble": ensemble,
    "tables": tables,
    "detectors": detectors,
    "replay": replay,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=list(ALL), metavar="NAME", help=f"of {', '.join(ALL)}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results to FILE")
    arguments = parser.parse_args()
    about = {
        "version": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "date": datetime.now(UTC).date().isoformat(),
    }
    results: dict[str, object] = {"about": about}
    for name in arguments.names:
        results[name] = ALL[name].measure()
        ALL[name].show(results[name])
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
