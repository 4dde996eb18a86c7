"""A file of measured records that grows while they are measured: whole at every moment, so that a killed run resumes."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from gamekeeper.aside import replaced
from gamekeeper.version import __version__


def write_records(file: Path, settings: Mapping[str, Any], records: Sequence[Mapping[str, Any]]) -> None:
    """One record a line, after the versions, the date and the settings they were measured with."""
    date = datetime.now(UTC).date().isoformat()
    head = {"version": __version__, "torch": torch.__version__, "date": date, **settings}
    rows = ",\n".join(json.dumps(record) for record in records)
    replaced(file, [f'{json.dumps(head)[:-1]}, "records": [\n{rows}\n]}}\n'.encode()])
