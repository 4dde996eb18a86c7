"""Imports point one way, and torchvision is not needed."""

import ast
import importlib.metadata
import importlib.util
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import gamekeeper

SOURCE = Path(gamekeeper.__file__).parent
LAYERS = [
    {
        "version",
        "aside",
        "errors",
        "types",
        "keys",
        "facts",
        "method_text",
        "toml_file",
    },  # nouns, and how methods and files of settings are written
    {"tasks", "simplex", "metrics", "architectures", "explain", "data"},  # pure maths, networks, files of data
    {"protocols"},  # wire formats of prediction APIs, one per file; no sockets
    {"logs"},  # what platforms wrote down of such APIs, as events
    {"models"},  # what an owner holds: networks, programs, APIs; the layout of both in memory
    {
        "needs",
        "units",
        "training",
        "service",
        "policy",
        "policy_file",
    },  # units of columns; fitting networks; the wire with its meter, ledger, journal and client memory; what is done about whom
    {"detectors"},  # score what a client asks; change nothing
    {"attacks", "learners", "defenses"},  # one paper per file
    {"ownership", "follow_on"},  # claims, their dates, and the judge of them; what a copy is good for
    {"methods", "ownership_methods"},  # names of all methods
    {"targets"},  # models and data somebody chose, from files or over HTTP
    {
        "results",
        "older_rows",
        "detection_rows",
        "ownership_rows",
        "replay_rows",
        "replay_files",
    },  # the public format: a row per cell
    {"analysis"},  # what rows say: flags, summaries, thresholds
    {"engine"},  # plan, session, backends, one theft
    {"reproductions"},  # published experiments as data
    {"surfaces"},  # command line, terminal, report
    {"__main__"},
]
"""The house from the bottom up: a module imports from its own layer or from those below it."""
KINDS = {"attacks", "learners", "defenses"}
"""Methods never import methods of another kind; learners and attacks meet in Theft, by protocol."""


def part(module: str) -> str:
    names = module.split(".")
    return names[1] if len(names) > 1 else ""


def level(name: str) -> int:
    found = [number for number, layer in enumerate(LAYERS) if name in layer]
    assert found, f"'{name}' has no layer; add it to LAYERS"
    return found[0]


def imports() -> list[tuple[str, str, str]]:
    """(file, its part of the package, imported part) for every import of gamekeeper within itself."""
    found = []
    for path in sorted(SOURCE.rglob("*.py")):
        here = path.relative_to(SOURCE).parts[0].removesuffix(".py")
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            found += [(str(path), here, part(name)) for name in names if name.split(".")[0] == "gamekeeper"]
    return [(path, here, there) for path, here, there in found if here != "__init__" and there]


def test_imports_point_one_way():
    wrong = [(path, there) for path, here, there in imports() if level(there) > level(here)]
    assert not wrong


def module_name(path: Path) -> str:
    return ".".join(["gamekeeper", *path.relative_to(SOURCE).with_suffix("").parts]).removesuffix(".__init__")


def imported(node: ast.AST, modules: set[str]) -> Iterator[str]:
    """The modules of the package that a syntax tree imports, wherever in it; not those that are for type checkers only."""
    if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
        return
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names if alias.name in modules)
    if isinstance(node, ast.ImportFrom):
        assert node.level == 0, f"a relative import: {ast.unparse(node)}"
        inside = [name for alias in node.names if (name := f"{node.module}.{alias.name}") in modules]
        yield from inside or ([node.module] if node.module in modules else [])
    for child in ast.iter_child_nodes(node):
        yield from imported(child, modules)


def test_no_import_leads_back_to_where_it_came_from():
    """Imports inside functions count: one that hides a circle is a circle."""
    paths = {module_name(path): path for path in SOURCE.rglob("*.py")}
    graph = {name: set(imported(ast.parse(path.read_text()), set(paths))) for name, path in paths.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        raise AssertionError(" <- ".join(error.args[1])) from None


def test_only_the_command_line_imports_its_own_package_inside_functions():
    """There it keeps `--help` quick. Elsewhere it would only hide what a module needs."""
    wrong = [
        (str(path), ast.unparse(node))
        for path in SOURCE.rglob("*.py")
        if path
        not in {
            SOURCE / "surfaces" / name for name in ("cli.py", "detection_cli.py", "gateway_cli.py", "ownership_cli.py")
        }
        for function in ast.walk(ast.parse(path.read_text()))
        if isinstance(function, ast.FunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom) and "gamekeeper" in ast.unparse(node)
    ]
    assert not wrong


def test_methods_of_one_kind_do_not_import_those_of_another():
    wrong = [(path, there) for path, here, there in imports() if here in KINDS and there in KINDS - {here}]
    assert not wrong


def test_attacks_do_not_reach_through_the_meter():
    forbidden = {"service", "targets", "engine", "defenses"}
    wrong = [(path, there) for path, here, there in imports() if here in {"attacks", "learners"} and there in forbidden]
    assert not wrong


def test_torchvision_is_neither_needed_nor_installed():
    assert importlib.util.find_spec("torchvision") is None
    required = importlib.metadata.requires("gamekeeper") or []
    assert not [line for line in required if "torchvision" in line]
    sources = [path for path in SOURCE.rglob("*.py") if "torchvision" in path.read_text()]
    assert not sources
