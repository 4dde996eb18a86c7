"""What committed runs say of a scheme: whom its claims would accuse, and what removals leave of them. Ships with the package.

`make docs` writes the file from results/; of a scheme that nobody tried, nothing is known.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import orjson

from gamekeeper.analysis.ownership import FalseClaimLine, OwnershipSummary, SurvivalLine

FILE = Path(str(files("gamekeeper.analysis"))) / "ownership.json"


@dataclass(frozen=True)
class SchemeHistory:
    """Of one scheme, by one run.

    tried     the scheme with its parameters, "" if it was not tried
    target    what it was tried on; date and version: of the run; queries: what a thief paid for who learns from answers
    survival  a line for each removal; empty where none was tried
    honest    its claims, held against models that copied nothing; None where that was not tried
    forged    claims that were made up, each in its way, judged by the procedure of all schemes
    """

    tried: str
    target: str
    date: str
    version: str
    queries: int
    survival: tuple[SurvivalLine, ...]
    honest: FalseClaimLine | None
    forged: tuple[FalseClaimLine, ...]


def history_of(scheme: str, path: Path = FILE) -> SchemeHistory | None:
    """What is known of a scheme by this name, and of claims that were made up; None if nothing was ever tried.

    A claim names its scheme without parameters; of several that were tried, the first counts.
    """
    if not path.exists():
        return None
    whole = orjson.loads(path.read_bytes())
    summary = whole["summary"]
    lines = [SurvivalLine(**each) for each in summary["survival"]]
    innocents = {each["how"]: FalseClaimLine(**each) for each in summary["innocents"]}
    names = dict.fromkeys([*(line.scheme for line in lines), *innocents])
    tried = next((name for name in names if name.split(":")[0] == scheme), "")
    return SchemeHistory(
        tried,
        whole["target"],
        whole["date"],
        whole["version"],
        whole["queries"],
        tuple(line for line in lines if line.scheme == tried),
        innocents.get(tried),
        tuple(FalseClaimLine(**each) for each in summary["forgeries"]),
    )


def to_json(header: Mapping[str, Any], summary: OwnershipSummary) -> bytes:
    """The file, from a run's header and summary. Shares in four decimals."""
    whole = {key: header[key] for key in ("target", "date", "version", "queries")}
    return orjson.dumps({**whole, "summary": rounded(asdict(summary))}, option=orjson.OPT_INDENT_2) + b"\n"


def rounded(value: Any) -> Any:
    """Every float in four decimals, so that another processor's last bits do not change the file."""
    if isinstance(value, dict):
        return {key: rounded(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(each) for each in value]
    return round(value, 4) if isinstance(value, float) else value
