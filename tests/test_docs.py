"""The docs are made from the code and from committed results, and say so truly."""

import re
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

import gamekeeper
from gamekeeper.methods import KINDS, describe
from gamekeeper.surfaces.cli import app

pytestmark = pytest.mark.thorough

ROOT = Path(__file__).parent.parent
SOURCE = Path(gamekeeper.__file__).parent
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]


def make_docs() -> ModuleType:
    spec = spec_from_file_location("make_docs", ROOT / "tools/make_docs.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_tables_and_figures_are_what_the_results_say():
    stale = [path.name for path in make_docs().stale()]
    assert not stale, "run `make docs`"


def test_figures_are_alike_if_they_differ_in_rounding_only():
    alike = make_docs().alike
    drawn = '<svg><path id="p1" d="M 10 20.5 L -3 4e1"/><text x="7">a 90 %</text></svg>'
    assert alike(drawn, drawn.replace("20.5", "20.52").replace("p1", "p77"))
    assert not alike(drawn, drawn.replace("20.5", "22.5"))
    assert not alike(drawn, drawn.replace("90 %", "91 %"))
    assert not alike(drawn, drawn.replace("<text", "<path/><text"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)", page.read_text()):
        assert target.startswith("http") or (page.parent / target).exists(), target


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, names in KINDS.items() for name in names])
def test_every_method_says_what_it_does_and_where_it_comes_from(kind, name):
    found = describe(name, kind)
    assert len(found.summary) > 20
    assert "Source" in found.head
    if kind in ("attack", "learner", "defense"):
        assert {"Assumes", "Deviations"} <= set(found.head)


def test_every_method_file_is_in_the_paper_index():
    index = (ROOT / "docs/papers.md").read_text()
    files = {
        sys.modules[recipe.__module__].__file__
        for kind in ("attack", "learner", "defense", "detector")
        for recipe in KINDS[kind].values()
    }
    missing = [path for path in files if str(Path(path).relative_to(SOURCE)) not in index]
    assert not missing, "write docs/papers/NAME.md with a line '- Files: ...', then run `make docs`"


@pytest.mark.parametrize("kind", ["attack", "learner", "view", "defense", "wrapper", "detector", "architecture"])
def test_every_method_has_a_paper_page(kind):
    index = (ROOT / "docs/papers.md").read_text()
    missing = [name for name in KINDS[kind] if f"`{name}`" not in index]
    assert not missing, "write docs/papers/NAME.md with a line '- Methods: ...', then run `make docs`"


def test_every_command_has_help():
    for command in app.registered_commands:
        assert command.callback.__doc__


def test_every_module_has_a_first_line():
    for path in SOURCE.rglob("*.py"):
        first = path.read_text().split("\n")[0]
        assert re.match(r'"""[^"]{15,}', first), path


def test_nothing_names_a_path_of_this_machine():
    home = str(Path.cwd().resolve().parts[1])
    for path in [*PAGES, *SOURCE.rglob("*.py"), ROOT / "Makefile"]:
        assert f"/{home}/" not in path.read_text(), path
