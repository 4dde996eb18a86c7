"""Environments of other people's packages, built once in a cache folder: never beside ours, whose versions they would change."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

PACKAGES = {
    "kserve": ("kserve==0.21.0",),
    "tritonclient": ("tritonclient[http]==2.73.0",),
    "mlflow": ("mlflow==3.17.2", "skops>=0.13"),
    "mlserver": ("mlserver==1.7.1", "mlserver-sklearn==1.7.1"),
}
PATIENCE = 900
"""Seconds for pip."""


class Missing(Exception):
    """An environment cannot be built here; the message says why."""


def cache() -> Path:
    """Where environments are kept: GAMEKEEPER_PEERS, or a folder of the user's cache."""
    return Path(os.environ.get("GAMEKEEPER_PEERS") or Path.home() / ".cache" / "gamekeeper" / "peers")


def python(name: str) -> Path:
    """The interpreter of an environment, which is built if it is not there: up to a gigabyte. Raises Missing."""
    packages = PACKAGES[name]
    key = hashlib.sha256(" ".join((sys.version, *packages)).encode()).hexdigest()[:8]
    folder = cache() / f"{name}-{key}"
    program, complete = folder / "bin" / "python", folder / "complete"
    if not complete.is_file():
        run(sys.executable, "-m", "venv", "--clear", str(folder))
        run(str(program), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages)
        complete.touch()
    return program


def run(*command: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Missing(f"{' '.join(command[1:4])} cannot be run here: {error}") from None
    if done.returncode:
        raise Missing(f"{' '.join(command[1:4])} failed here: {done.stderr.strip().splitlines()[-1:]}")
