"""A private PostgreSQL server, of Debian's or any package: on a socket in a folder of its own, gone after the tests."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

MISSING = "PostgreSQL's initdb is not installed (Debian: apt-get install postgresql)"
NOBODY = "PostgreSQL does not run as root, and there is no user postgres to run it as"


def programs() -> Path | None:
    """The folder that has initdb and pg_ctl; None if there is none."""
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), reverse=True)
    path = shutil.which("initdb") or next(iter(places), None)
    return Path(path).resolve().parent if path else None


def obstacle() -> str | None:
    """Why there can be no server here."""
    if programs() is None:
        return MISSING
    if os.getuid() == 0 and not any(user.pw_name == "postgres" for user in pwd.getpwall()):
        return NOBODY
    return None


def run(program: str, *arguments: str) -> None:
    folder = programs()
    assert folder is not None
    user = "postgres" if os.getuid() == 0 else None
    done = subprocess.run([folder / program, *arguments], user=user, capture_output=True, text=True, cwd="/")
    assert done.returncode == 0, done.stdout + done.stderr


@contextmanager
def server(durable: bool = False) -> Generator[str]:
    """The URL of a running server. One that is not durable loses data in a power cut only, and starts in a third of the time."""
    folder = Path(tempfile.mkdtemp(prefix="gkpg", dir="/tmp"))  # short: a socket's path has 107 characters at most
    if os.getuid() == 0:
        shutil.chown(folder, "postgres")
    data, sync = folder / "data", "on" if durable else "off"
    try:
        run("initdb", "-D", str(data), "-U", "gamekeeper", "--auth=trust", "--no-sync", "-E", "UTF8", "--locale=C")
        settings = (
            f"-k {folder} -c listen_addresses='' -c fsync={sync} -c full_page_writes={sync} -c max_connections=40"
        )
        run("pg_ctl", "start", "-w", "-D", str(data), "-l", str(folder / "log"), "-o", settings)
        try:
            yield f"postgresql://gamekeeper@/postgres?host={folder}"
        finally:
            run("pg_ctl", "stop", "-w", "-m", "immediate", "-D", str(data))
    finally:
        shutil.rmtree(folder)
