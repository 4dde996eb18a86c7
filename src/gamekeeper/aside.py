"""Files that are whole or not there: written aside, then renamed."""

from collections.abc import Iterable
from pathlib import Path


def replaced(path: Path, parts: Iterable[bytes]) -> None:
    """Writes a file of these parts in place of the one that is there. Whoever reads it meanwhile reads the old one."""
    aside = path.with_name(f"{path.name}.new")
    with aside.open("wb") as file:
        file.writelines(parts)
    aside.replace(path)
