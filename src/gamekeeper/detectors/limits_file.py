"""Limits on disk: JSON that says what they are for, so that limits of another model or detector are never used.

    {"format": 1, "for": "…", "limits": {"mmd": {"alpha": 0.00025, "backing": {…}, "null": {"kind": "ranked", …}}}}

Numbers are written so that they come back bit for bit.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson

from gamekeeper.aside import replaced
from gamekeeper.detectors.limits import Backing, BetaBinomial, Binomial, Limits, Null, Ranked
from gamekeeper.errors import BadConfig

FORMAT = 1
NULLS: Mapping[str, type[Binomial] | type[BetaBinomial] | type[Ranked]] = {
    "binomial": Binomial,
    "beta-binomial": BetaBinomial,
    "ranked": Ranked,
}


def save_limits(path: Path, purpose: str, limits: Mapping[str, Limits]) -> None:
    """Written aside and renamed. purpose: a digest of all that the limits depend on."""
    whole = {"format": FORMAT, "for": purpose, "limits": {name: to_json(each) for name, each in limits.items()}}
    replaced(path, [orjson.dumps(whole, option=orjson.OPT_INDENT_2)])


def load_limits(path: Path, purpose: str) -> dict[str, Limits]:
    """Raises BadConfig if the file is not whole, is of another release, or is for something else."""
    intended, limits = read_limits(path)
    if intended != purpose:
        raise BadConfig(
            f"the limits in {path} are for another model, other benign inputs, other detectors or another release."
            " Calibrate again: gamekeeper calibrate."
        )
    return limits


def read_limits(path: Path) -> tuple[str | None, dict[str, Limits]]:
    """What the limits in a file are for, and the limits; None and none of another release. Raises BadConfig if it is not whole."""
    try:
        whole = orjson.loads(path.read_bytes())
        if whole["format"] != FORMAT:
            return None, {}
        return whole["for"], {name: from_json(each) for name, each in whole["limits"].items()}
    except (OSError, orjson.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise BadConfig(f"{path} does not hold limits ({error!r}). Calibrate again: gamekeeper calibrate.") from None


def to_json(limits: Limits) -> dict[str, Any]:
    kind = next(name for name, null in NULLS.items() if isinstance(limits.null, null))
    null: dict[str, Any] = {"kind": kind, **asdict(limits.null)}  # pyright: ignore[reportArgumentType]
    # JSON has neither NaN, a look without any verdict, nor infinity, a client without one
    null |= {key: [blank(v) for v in null[key]] for key in ("centre", "spread", "highest") if key in null}
    return {"alpha": limits.alpha, "backing": asdict(limits.backing), "null": null}


def from_json(data: dict[str, Any]) -> Limits:
    given = dict(data["null"])
    kind = NULLS[given.pop("kind")]
    for key, missing in (("centre", float("nan")), ("spread", float("nan")), ("highest", float("-inf"))):
        if key in given:
            given[key] = [missing if value is None else value for value in given[key]]
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in given.items()}
    null: Null = kind(**values)
    return Limits(null, data["alpha"], Backing(**data["backing"]))


def blank(value: float) -> float | None:
    return value if math.isfinite(value) else None
