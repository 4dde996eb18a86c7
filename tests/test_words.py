"""The field's words: no identifier of `src/` bears a private name, and the thief is *they*."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import gamekeeper

SOURCE = Path(gamekeeper.__file__).parent
ROOT = Path(__file__).parent.parent
RENAMED = {
    "judge": "evaluate, or the noun",
    "Bench": "CloneMetrics",
    "Honest": "UtilityMetrics",
    "Shelf": "CloneCache",
    "ClonesOnDisk": "DiskCloneCache",
    "shelf": "clones",
    "lineup": "strengths",
    "line_up": "resolve_defenses",
    "LineUp": "ResolvedDefenses",
    "Worth": "FollowOnSummary",
    "Aftermath": "FollowOnEvaluator",
    "Witness": "Transcript",
    "Books": "Spending",
    "Bill": "Spending",
    "Doubted": "Caveats",
    "doubts": "caveats",
    "Promise": "Guarantees",
    "World": "InputSpec",
    "schooling": "training_parameters",
    "foreign": "is_import_path",
    "Manner": "OutputOptions",
    "Guard": "KnownDefense",
    "why": "maps, or reason",
    "vertex": "goal, where any point will do",
    "Rate": "Estimate",
    "Verdict": "ThresholdResult or OrderingResult",
    "Line": "DefenseSummary or FigureResult",
    "said": "the noun it is",
    "found": "the noun it is",
    "asked": "the noun it is",
    "kept": "the noun it is",
    "told": "the noun it is",
    "made": "the noun it is",
}
"""Old name -> what it became. A name that returns is a second word for one thing."""
ALLOWED = {
    ("results.py", "kept"),  # a key of the public format
    ("reproductions/description.py", "said"),  # a key of `gamekeeper reproduce --json`
    ("ownership/judge.py", "Verdict"),  # of a judge, on a claim
    ("defenses/mad/recipe.py", "vertex"),  # the paper's own vertices, of the simplex
}


def defined(tree: ast.Module) -> Iterator[str]:
    """Names that a module gives: of classes, functions, arguments, fields and variables."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.alias) and node.asname:
            yield node.asname


FILES = sorted(SOURCE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_no_identifier_bears_a_private_name(path: Path):
    here = path.relative_to(SOURCE).as_posix()
    names = set(defined(ast.parse(path.read_text(encoding="utf-8"))))
    private = {name: RENAMED[name] for name in names & set(RENAMED) if (here, name) not in ALLOWED}
    assert private == {}


PAGES = [*FILES, *sorted(SOURCE.rglob("*.j2")), ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_the_thief_is_they(path: Path):
    text = path.read_text(encoding="utf-8")
    text = re.sub(r"\bHe(?:,| et al)", "", text)  # an author's surname
    assert re.findall(r"[^\n]*\b(?:[Hh]e|[Hh]is|[Hh]im|[Hh]imself)\b[^\n]*", text) == []
