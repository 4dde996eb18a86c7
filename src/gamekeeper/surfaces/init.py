"""`gamekeeper init`: a commented configuration that works as it stands."""

from importlib.resources import files
from pathlib import Path

from gamekeeper.errors import BadConfig

TEMPLATES = {"audit": "audit.toml"}


def write_config(what: str, out: Path) -> str:
    """Writes the template; never overwrites a file."""
    if what not in TEMPLATES:
        raise BadConfig(f"there is no configuration '{what}'. Known: {', '.join(TEMPLATES)}.")
    if out.exists():
        raise BadConfig(f"{out} already exists and was not changed. Choose another file with --out.")
    template = files("gamekeeper.surfaces") / "templates" / TEMPLATES[what]
    out.write_text(template.read_text(encoding="utf-8"), encoding="utf-8")
    return f"wrote {out}; run: gamekeeper audit {out}"
