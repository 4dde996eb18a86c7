"""Code blocks of README.md, CONTRIBUTING.md and docs/ are run: Python in one namespace per page, shell commands in one folder per page."""

import os
import shlex
import tempfile
from pathlib import Path

from sybil import Example, Sybil
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser


def run_commands(example: Example) -> None:
    """Every line is a gamekeeper command; exit code 1 is a breached threshold, which a page may show."""
    from gamekeeper.surfaces.cli import guarded

    for line in str(example.parsed).strip().splitlines():
        program, *arguments = shlex.split(line)
        assert program == "gamekeeper", f"{example.path}: only gamekeeper commands are run, not '{program}'"
        code = guarded(arguments)
        assert code in ((0, 1) if "--fail-if" in arguments else (0,)), f"exit code {code}: {line}"


def enter_folder(namespace: dict) -> None:
    namespace["home"], namespace["folder"] = Path.cwd(), tempfile.TemporaryDirectory()
    os.chdir(namespace["folder"].name)


def leave_folder(namespace: dict) -> None:
    os.chdir(namespace["home"])
    namespace["folder"].cleanup()


pytest_collect_file = Sybil(
    parsers=[PythonCodeBlockParser(), CodeBlockParser("bash", run_commands)],
    patterns=["README.md", "CONTRIBUTING.md", "docs/*.md", "docs/papers/*.md"],
    setup=enter_folder,
    teardown=leave_folder,
).pytest()
