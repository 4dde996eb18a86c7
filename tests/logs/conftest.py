"""Logs written by the tests."""

from collections.abc import Callable
from pathlib import Path

import pytest

from gamekeeper.logs.mapping import Mapping

WRITTEN = Path(__file__).parent / "written"
"""Logs by real software, or after its documentation; `README.md` there says which."""


@pytest.fixture
def log(tmp_path: Path) -> Callable[..., Path]:
    """Writes a file of lines, or of bytes as they are."""

    def write(*lines: str | bytes, name: str = "a.jsonl") -> Path:
        path = tmp_path / name
        raw = [line.encode() if isinstance(line, str) else line for line in lines]
        path.write_bytes(raw[0] if len(raw) == 1 and isinstance(lines[0], bytes) else b"".join(r + b"\n" for r in raw))
        return path

    return write


def mapping(**keys: object) -> Mapping:
    """A mapping of the client `who`, and whatever else."""
    return Mapping.model_validate({"client": "who", **keys})
