"""`gamekeeper init`: a commented configuration that works as it stands."""

import json
import os
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path

from gamekeeper.engine.gateway.folder import KEY, POLICY
from gamekeeper.engine.gateway.gateway_config import GATEWAY
from gamekeeper.errors import BadConfig
from gamekeeper.keys import make_key
from gamekeeper.logs.event import shown
from gamekeeper.targets.builtin import BUILTIN

AUDIT, GATE = "audit", "gateway"


def write_config(what: str, out: Path | None, target: str | None = None) -> str:
    """Writes the templates; never overwrites a file. Returns what was written, and what to do next.

    target  what a gateway serves; a file is named as seen from the gateway's folder
    """
    if what == GATE:
        return write_gateway(out or Path("gateway"), target or "mnist")
    if what != AUDIT or target is not None:
        wrong = "--target is for a gateway" if what == AUDIT else f"there is no configuration '{what}'"
        raise BadConfig(f"{wrong}. Known: {AUDIT}, {GATE}.")
    path = out or Path("audit.toml")
    write_new(path, template("audit.toml"))
    return f"wrote {path}; run: gamekeeper audit {path}"


def write_gateway(folder: Path, target: str) -> str:
    """A folder with the gateway's file, a policy that only watches, and a new secret."""
    names = (GATEWAY, POLICY, KEY)
    there = [name for name in names if (folder / name).exists()]
    if there:
        raise BadConfig(f"{folder / there[0]} already exists and was not changed. Choose another folder with --out.")
    if target not in BUILTIN and not Path(target).is_file():
        near = get_close_matches(target, BUILTIN, 1)
        raise BadConfig(
            f"there is no target '{shown(target)}': neither built in nor a file.{f' Did you mean {near[0]}?' if near else ''}"
            f" Built in: {', '.join(sorted(BUILTIN))}; a target file is written by: gamekeeper init {AUDIT}"
        )
    folder.mkdir(parents=True, exist_ok=True)
    name = target if target in BUILTIN else os.path.relpath(target, folder)
    make_key(folder / KEY)
    write_new(folder / POLICY, template("policy.toml"))
    # a TOML string may hold all that a JSON string may
    write_new(folder / GATEWAY, template("gateway.toml").replace('"mnist"', json.dumps(name, ensure_ascii=False), 1))
    return (
        f"wrote {', '.join(names)} to {folder}. Keep a copy of {KEY} in a safe place: without it nobody can tell which client is"
        f" whose.\nNext: gamekeeper serve {folder}\n      KEY=$(gamekeeper keys {folder} --new ACCOUNT), in another terminal: the key that a client sends"
    )


def template(name: str) -> str:
    return (files("gamekeeper.surfaces") / "templates" / name).read_text(encoding="utf-8")


def write_new(path: Path, text: str) -> None:
    if path.exists():
        raise BadConfig(f"{path} already exists and was not changed. Choose another file with --out.")
    path.write_text(text, encoding="utf-8")
