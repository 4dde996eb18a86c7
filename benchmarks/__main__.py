"""Runs the benchmarks by name, all of them by default, and writes their ratios to one file."""

import argparse
import json
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from benchmarks import (
    crowd,
    deep_defense,
    detectors,
    ensemble,
    journal,
    ledger,
    mad,
    memory,
    perturbing,
    querying,
    recovery,
    replay,
    server,
    tables,
    tables_http,
    training,
    watching,
    whole,
    wire,
)
from gamekeeper.version import __version__

ALL = {
    "mad": mad,
    "perturbing": perturbing,
    "deep_defense": deep_defense,
    "training": training,
    "ledger": ledger,
    "journal": journal,
    "memory": memory,
    "querying": querying,
    "recovery": recovery,
    "ensemble": ensemble,
    "tables": tables,
    "tables_http": tables_http,
    "detectors": detectors,
    "replay": replay,
    "crowd": crowd,
    "watching": watching,
    "wire": wire,
    "server": server,
    "whole": whole,
}


def together(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Results of some benchmarks among older ones of others. Each says what it was measured with, if not with the others."""
    about = new.pop("about")
    return old | {name: result | {"about": about} for name, result in new.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=list(ALL), metavar="NAME", help=f"of {', '.join(ALL)}")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write the results to FILE; those of others that it has stay"
    )
    arguments = parser.parse_args()
    about = {
        "version": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "date": datetime.now(UTC).date().isoformat(),
    }
    results: dict[str, Any] = {"about": about}
    for name in arguments.names:
        results[name] = ALL[name].measure()
        ALL[name].show(results[name])
    if arguments.json:
        if arguments.json.exists() and set(arguments.names) < set(ALL):
            results = together(json.loads(arguments.json.read_text()), results)
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
