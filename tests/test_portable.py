"""The package imports and audits where Unix's own modules are missing, and no file depends on the system's encoding."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest

import gamekeeper
from gamekeeper.errors import BadConfig
from gamekeeper.targets.config import read_config

SOURCE = Path(gamekeeper.__file__).parent
WITHOUT = """
import os, signal, sys
for name in ("fcntl", "resource", "termios", "pwd", "grp"):
    sys.modules[name] = None  # an import of it is an ImportError, as on Windows
for name in ("fork", "sched_getaffinity"):
    delattr(os, name)
for name in ("SIGKILL", "SIGHUP", "SIGPIPE", "SIGALRM", "SIGUSR1"):
    delattr(signal, name)
"""
IMPORT_ALL = """
import importlib, pkgutil, gamekeeper
names = [one.name for one in pkgutil.walk_packages(gamekeeper.__path__, "gamekeeper.")]
for name in names:
    importlib.import_module(name)
print(len(names))
"""
AUDIT = """
from gamekeeper.surfaces.cli import guarded
audit = "audit digits --attack knockoff --defense none --budget 20 --uniform 0 --jobs 1 --quiet --out".split()
assert guarded([*audit, sys.argv[1]]) == 0
from pathlib import Path
from gamekeeper.engine.lock import claimed
from gamekeeper.errors import BadConfig
folder = Path(sys.argv[1])
try:
    with claimed(folder), claimed(folder):
        pass
except BadConfig as error:
    assert f"(process {os.getpid()})" in str(error), error
else:
    raise AssertionError("two claims of one folder")
"""


def unix_free(script: str, *arguments: str) -> str:
    """What a script prints in a Python that lacks what Windows lacks."""
    command = [sys.executable, "-c", WITHOUT + script, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_module_imports_without_unixs_own():
    modules = [path for path in SOURCE.rglob("*.py") if path != SOURCE / "__init__.py"]
    assert int(unix_free(IMPORT_ALL)) == len(modules)


@pytest.mark.thorough
def test_an_audit_runs_and_holds_its_folder_without_unixs_own(tmp_path):
    unix_free(AUDIT, str(tmp_path))
    assert len((tmp_path / "results.jsonl").read_bytes().splitlines()) == 2  # the zero-query clone, and the theft
    assert (tmp_path / "report.html").exists()


def text_without_encoding(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute | ast.Name)):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id
        stated = any(keyword.arg == "encoding" for keyword in node.keywords)
        stated |= (name, len(node.args)) in {("read_text", 1), ("write_text", 2)}
        if name in ("open", "read_text", "write_text") and not stated and not opens_bytes(node):
            yield f"{path}:{node.lineno}: {ast.unparse(node)[:80]}"


def opens_bytes(call: ast.Call) -> bool:
    """Whether a call opens bytes, or something that is no file at all."""
    owner = ast.unparse(call.func.value) if isinstance(call.func, ast.Attribute) else ""
    modes = [one.value for one in call.args if isinstance(one, ast.Constant)]
    return owner in OTHER_OPENS or any(mode in ("rb", "wb", "ab", "r+b") for mode in modes)


OTHER_OPENS = {"os", "gzip", "Image", "archive", "service"}
"""What else has a method named open: file descriptors, packed bytes, images, clients."""


def test_every_text_file_is_read_and_written_in_a_stated_encoding():
    wrong = [line for path in sorted(SOURCE.rglob("*.py")) for line in text_without_encoding(path)]
    assert not wrong, "\n".join(wrong)


UNLIKE = """
import sys
from gamekeeper.surfaces.cli import writes_any_character
writes_any_character(sys.stdout)
sys.stdout.write("0.1 \N{MULTIPLICATION SIGN} \N{GREATER-THAN OR EQUAL TO} …")
"""


def test_what_goes_into_a_pipe_is_utf8_whatever_the_systems_encoding(monkeypatch):
    monkeypatch.setenv("PYTHONIOENCODING", "cp1252")
    done = subprocess.run([sys.executable, "-c", UNLIKE], capture_output=True, check=True)
    assert done.stdout.decode("utf-8") == "0.1 \N{MULTIPLICATION SIGN} \N{GREATER-THAN OR EQUAL TO} …"


def in_a_folder(folder: Path, *arguments: bytes | str, **environment: str) -> "subprocess.CompletedProcess[bytes]":
    command = [sys.executable, "-m", "gamekeeper", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, env={**os.environ, **environment}, check=False)


@pytest.mark.thorough
@pytest.mark.skipif(sys.platform != "linux", reason="file names of any bytes")
def test_a_folder_whose_name_is_not_utf8_costs_no_cell(tmp_path: Path):
    question = ("audit", "digits", "--budget", "40", "--attack", "knockoff", "--defense", "none", "--jobs", "1")
    done = in_a_folder(tmp_path, *question, "--out", b"o\xff", NO_COLOR="1", COLUMNS="60")
    assert done.returncode == 0, done.stderr
    assert b"report: o\xff/report.html" in done.stdout
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/o\xff"))
    assert len((folder / "results.jsonl").read_bytes().splitlines()) == 2  # the zero-query clone, and the theft
    assert (folder / "report.html").exists()


def test_a_target_file_may_begin_with_a_byte_order_mark(tmp_path: Path):
    path = tmp_path / "t.toml"
    path.write_bytes(b"\xef\xbb\xbf" + Path(str(files("gamekeeper.surfaces") / "templates/audit.toml")).read_bytes())
    assert read_config(path).kind == "torch"
    path.write_bytes("kind = 1".encode("utf-16"))
    with pytest.raises(BadConfig, match="not valid TOML"):
        read_config(path)
