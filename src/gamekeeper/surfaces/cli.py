"""The command line. Heavy imports happen inside the commands, so that `--help` is quick.

Exit codes: 0 done; 1 a stated threshold is breached; 2 interrupted; 3 internal error, or a cell failed; 4 usage,
configuration or unsafe file; 5 target unreachable; 141 whoever read the output stopped reading (128 + SIGPIPE).
"""

import os
import sys
from collections.abc import Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated

import typer

from gamekeeper.errors import GamekeeperError
from gamekeeper.version import __version__

app = typer.Typer(
    name="gamekeeper",
    help="How cheaply can a model be stolen through its prediction API, and what is each defense worth?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode="rich",
)

ATTACKS = ["knockoff", "knockoff+labels", "knockoff+averaged:n=3"]
DEFENSES = ["none", "label", "reverse_sigmoid", "mad"]
BUDGETS = [250, 1000, 2500]
TYPERS_INTERRUPT = 130
"""What Typer makes of Ctrl-C."""
BROKEN_PIPE = 141


def said(values: Sequence[object]) -> str:
    """Defaults in a help text; the target file's [audit] may say otherwise."""
    return f"[dim]Default: {', '.join(map(str, values))}[/dim]"


@app.command()
def audit(
    target: Annotated[str, typer.Argument(help="A built-in target (mnist, fashion, …) or a TOML file.")] = "mnist",
    attack: Annotated[list[str] | None, typer.Option(help=f"A thief. Repeat for several. {said(ATTACKS)}")] = None,
    defense: Annotated[
        list[str] | None, typer.Option(help=f"A defense, none, or all. Repeat. {said(DEFENSES)}")
    ] = None,
    budget: Annotated[
        list[int] | None, typer.Option(help=f"Queries a thief may spend. Repeat. {said(BUDGETS)}")
    ] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help=f"How many seeds, from 0. {said([1])}")] = None,
    pool: Annotated[str | None, typer.Option(help="What the thief asks about: a battery or a data file.")] = None,
    student: Annotated[str | None, typer.Option(help="The clone's architecture, such as lenet or mlp.")] = None,
    price: Annotated[float | None, typer.Option(min=0, help="Money for one query.")] = None,
    explain: Annotated[
        str | None, typer.Option(help="Sell an attribution map with every answer, such as grad_cam (networks only).")
    ] = None,
    auxiliary: Annotated[
        str | None, typer.Option(help="The owner's inputs of another kind: related, unrelated, or a data file.")
    ] = None,
    uniform: Annotated[
        int | None, typer.Option(min=0, help=f"Uniform inputs to judge on as well. {said(['10000, for images 2000'])}")
    ] = None,
    follow_on: Annotated[
        bool, typer.Option("--follow-on", help="Measure what the copies are good for, at the largest budget.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Folder of the run; rerun with the same one to resume.")] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Worker processes (default: one a core).")] = None,
    fail_if: Annotated[list[str] | None, typer.Option(help="Exit 1 if, say, 'worst.fidelity>0.8@1000'.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be asked, and stop.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Spend on a remote target without asking.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print results as JSON instead of tables.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print the headline and paths only.")] = False,
) -> None:
    """Steal a model under each defense and report what it cost."""
    from gamekeeper.engine.grid import Audit
    from gamekeeper.surfaces.audit import OutputOptions, refuse_code, run_audit
    from gamekeeper.targets.choice import Choice, audit_table

    choice = Choice(target, pool, student, price, explain, auxiliary)
    file = audit_table(target)
    refuse_code([*(file.attack or []), *(file.defense or [])], target)
    question = Audit(
        choice,
        attack or file.attack or ATTACKS,
        defense or file.defense or DEFENSES,
        budget or file.budget or BUDGETS,
        list(range(seeds or file.seeds or 1)),
        file.uniform if uniform is None else uniform,
        follow_on,
    )
    folder = out or Path("gamekeeper-runs") / Path(target).stem
    raise typer.Exit(
        run_audit(question, folder, jobs, fail_if or [], OutputOptions(dry_run, yes, json, quiet), sys.argv[1:])
    )


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(help="Folder of an audit.")],
    png: Annotated[bool, typer.Option("--png", help="Write the figures as PNG files as well.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print results as JSON instead of a table.")] = False,
) -> None:
    """Draw report.html and the terminal table from a folder of results."""
    from gamekeeper.surfaces.audit import show_report

    show_report(folder, png, json)


@app.command()
def methods(
    name: Annotated[str | None, typer.Argument(help="One method's name.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """List every method: what it does, its paper, what it assumes."""
    from gamekeeper.surfaces.methods import show_methods

    show_methods(name, json)


@app.command()
def init(
    what: Annotated[str, typer.Argument(help="audit")] = "audit",
    out: Annotated[Path, typer.Option(help="File to write.")] = Path("audit.toml"),
) -> None:
    """Write a commented configuration that works as it stands."""
    from gamekeeper.surfaces.init import write_config

    typer.echo(write_config(what, out))


@app.command()
def reproduce(
    name: Annotated[str | None, typer.Argument(help="Which; without a name they are listed.")] = None,
    data: Annotated[
        Path | None,
        typer.Option(envvar="GAMEKEEPER_DATA", help="Folder of the data sets that are not shipped: ./data."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the run: gamekeeper-runs/reproduce/NAME. The same one resumes.")
    ] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Worker processes (default: one a core).")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Run a published experiment again; the paper's figures beside ours."""
    from gamekeeper.data.folder import DEFAULT
    from gamekeeper.surfaces.reproduce import list_reproductions, run_reproduction

    if name is None:
        list_reproductions(json)
        return
    folder = out or Path("gamekeeper-runs") / "reproduce" / name
    raise typer.Exit(run_reproduction(name, data or DEFAULT, folder, jobs, json))


@app.callback(invoke_without_command=True)
def version(show: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False) -> None:
    if show:
        typer.echo(f"gamekeeper {__version__}")
        raise typer.Exit


def main() -> None:
    for stream in (sys.stdout, sys.stderr):
        writes_any_character(stream)
    code = guarded(sys.argv[1:])
    if code == BROKEN_PIPE:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or Python would complain when it flushes stdout
    sys.exit(code)


def writes_any_character(stream: object) -> None:
    """A stream into a file or a pipe becomes UTF-8, which on Windows it is not; a terminal shows '?' for what it lacks.

    A file name that is no UTF-8 keeps its bytes.
    """
    if not isinstance(stream, TextIOWrapper):
        return
    if stream.encoding.lower().replace("-", "") == "utf8" or not stream.isatty():
        stream.reconfigure(encoding="utf-8", errors="surrogateescape")
    else:
        stream.reconfigure(errors="replace")


def guarded(arguments: list[str]) -> int:
    """Runs the command line and turns every way it can end into an exit code."""
    try:
        code = app(arguments, standalone_mode=False)
        if code == TYPERS_INTERRUPT:
            raise KeyboardInterrupt
    except (SystemExit, BrokenPipeError):
        return BROKEN_PIPE  # rich and Typer make a SystemExit of a broken pipe, and of nothing else here
    except GamekeeperError as error:
        typer.echo(f"gamekeeper: {error}", err=True)
        return error.exit_code
    except typer.TyperException as error:
        typer.echo(f"gamekeeper: {error.format_message()}", err=True)
        return 4
    except (KeyboardInterrupt, typer.Abort):
        typer.echo("gamekeeper: interrupted. Nothing paid is lost; run the same command again to go on.", err=True)
        return 2
    except OSError as error:
        typer.echo(
            f"gamekeeper: a file could not be read or written: {error}. Is the disk full, or the folder read-only?"
            " Nothing paid is lost; run the same command again when that is mended.",
            err=True,
        )
        return 4
    except Exception as error:  # noqa: BLE001 - the last line of defense: a traceback for us, a sentence for the user
        import traceback  # for what should never happen

        traceback.print_exc()
        typer.echo(
            f"gamekeeper: internal error ({type(error).__name__}). Please report it with the lines above.", err=True
        )
        return 3
    return code if isinstance(code, int) else 0
