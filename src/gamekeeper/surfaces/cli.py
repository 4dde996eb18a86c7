"""The command line. Heavy imports happen inside the commands, so that `--help` is quick.

Exit codes: 0 done; 1 a --fail-if threshold is breached; 2 interrupted; 3 internal error, or a cell failed; 4 usage,
configuration or unsafe file; 5 target unreachable; 141 the reader of the output stopped reading (128 + SIGPIPE).
"""

import os
import sys
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated

import typer

from gamekeeper.errors import GamekeeperError
from gamekeeper.surfaces.detection_cli import alarms, calibrate, default, detect, replay, review
from gamekeeper.surfaces.gateway_cli import clients, forget, keys, quota, release, serve
from gamekeeper.surfaces.ownership_cli import claims, ownership, verify
from gamekeeper.version import __version__

app = typer.Typer(
    name="gamekeeper",
    help="How cheaply can a model be stolen through its prediction API, and what is each defense worth?",
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode="rich",
)

ATTACKS = ["knockoff", "knockoff+labels", "knockoff+partial_bayes"]
TABLE_ATTACKS = ["knockoff@linear", "knockoff+labels@linear", "knockoff@boosted", "knockoff+labels@forest"]
"""What anybody would try first on a table, beside them."""
DEFENSES = ["none", "label", "reverse_sigmoid", "mad"]
BUDGETS = [250, 1000, 2500]
TYPERS_INTERRUPT = 130
"""The exit code Typer gives for Ctrl-C."""
BROKEN_PIPE = 141
STEALING, WHO, GATEWAY, COPIES = (
    "How cheaply can my model be stolen, and which defense helps?",
    "Who looks like a thief, to a gateway or in a log?",
    "A gateway before a live model: begin with `gamekeeper init gateway`",
    "Is that model a copy of mine?",
)
"""The headings under which --help lists the commands."""


@app.command(rich_help_panel=STEALING)
def audit(
    target: Annotated[
        str, typer.Argument(help="What to attack: a built-in target (mnist, fashion, …) or a TOML file.")
    ] = "mnist",
    attack: Annotated[
        list[str] | None, typer.Option(help=f"How a thief steals. Repeat for several. {default(ATTACKS)}")
    ] = None,
    defense: Annotated[
        list[str] | None, typer.Option(help=f"A defense, or none, or all. Repeat for several. {default(DEFENSES)}")
    ] = None,
    budget: Annotated[
        list[int] | None,
        typer.Option(help=f"How many queries a thief may spend. Repeat for several. {default(BUDGETS)}"),
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(min=1, help=f"Number of repetitions, with seeds 0, 1, 2, … {default([1])}")
    ] = None,
    pool: Annotated[
        str | None, typer.Option(help="The thief's inputs: a shipped data set, a data file, or drawn.")
    ] = None,
    drawings: Annotated[
        str | None, typer.Option(help="How the thief draws the classes: package.module.Class, which is imported.")
    ] = None,
    student: Annotated[
        str | None, typer.Option(help="The architecture of the thief's copy, such as lenet or mlp.")
    ] = None,
    price: Annotated[float | None, typer.Option(min=0, help="What one query costs, in money.")] = None,
    explain: Annotated[
        str | None, typer.Option(help="Add an attribution map to every answer, such as grad_cam (networks only).")
    ] = None,
    auxiliary: Annotated[
        str | None, typer.Option(help="Inputs of another kind that the owner has: related, unrelated, or a data file.")
    ] = None,
    uniform: Annotated[
        int | None,
        typer.Option(
            min=0, help=f"How many uniform random inputs to compare on as well. {default(['10000, for images 2000'])}"
        ),
    ] = None,
    follow_on: Annotated[
        bool, typer.Option("--follow-on", help="Measure what the copies can be used for, at the largest budget.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Folder of the run; give the same folder again to resume.")] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Worker processes (default: one per core).")] = None,
    fail_if: Annotated[
        list[str] | None, typer.Option(help="Exit with code 1 if this holds, such as 'worst.fidelity>0.8@1000'.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show how many queries the run would spend, and stop.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Spend queries on a live API without asking.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print results as JSON instead of tables.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print only the headline and paths.")] = False,
    accept_weak_victim: Annotated[
        bool,
        typer.Option(
            "--accept-weak-victim", help="Go on even if the model is no better than guessing on its test set."
        ),
    ] = False,
) -> None:
    """Try to steal a model under each defense, and report what that takes."""
    from gamekeeper.engine.grid import Audit
    from gamekeeper.surfaces.audit import OutputOptions, refuse_code, run_audit
    from gamekeeper.targets.choice import Choice, audit_table, is_table

    choice = Choice(target, pool, student, price, explain, auxiliary, drawings)
    file = audit_table(target)
    refuse_code([*(file.attack or []), *(file.defense or [])], target)
    question = Audit(
        choice,
        attack or file.attack or (ATTACKS + TABLE_ATTACKS if is_table(target) else ATTACKS),
        defense or file.defense or DEFENSES,
        budget or file.budget or BUDGETS,
        list(range(seeds or file.seeds or 1)),
        file.uniform if uniform is None else uniform,
        follow_on,
    )
    folder = out or Path("gamekeeper-runs") / Path(target).stem
    output = OutputOptions(dry_run, yes, json, quiet, accept_weak_victim)
    raise typer.Exit(run_audit(question, folder, jobs, fail_if or [], output, sys.argv[1:]))


@app.command(rich_help_panel=STEALING)
def report(
    folder: Annotated[Path, typer.Argument(help="Folder of an audit.")],
    png: Annotated[bool, typer.Option("--png", help="Write the figures as PNG files as well.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print results as JSON instead of a table.")] = False,
) -> None:
    """Write report.html and print the table from a folder of results."""
    from gamekeeper.surfaces.audit import show_report

    show_report(folder, png, json)


@app.command(rich_help_panel=STEALING)
def methods(
    name: Annotated[str | None, typer.Argument(help="One method's name.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """List every method: what it does, its paper, what it assumes."""
    from gamekeeper.surfaces.methods import show_methods

    show_methods(name, json)


@app.command(rich_help_panel=STEALING)
def init(
    what: Annotated[str, typer.Argument(help="audit or gateway.")] = "audit",
    out: Annotated[
        Path | None, typer.Option(help=f"File, or folder of a gateway. {default(['audit.toml', 'gateway'])}")
    ] = None,
    target: Annotated[
        str | None, typer.Option(help=f"What a gateway serves: a built-in target or a TOML file. {default(['mnist'])}")
    ] = None,
) -> None:
    """Write the commented configuration of an audit or of a gateway; it works as it stands."""
    from gamekeeper.surfaces.init import write_config

    typer.echo(write_config(what, out, target))


@app.command(rich_help_panel=STEALING)
def reproduce(
    name: Annotated[str | None, typer.Argument(help="Which experiment; leave it out to list them.")] = None,
    data: Annotated[
        Path | None,
        typer.Option(envvar="GAMEKEEPER_DATA", help="Folder of the data sets that are not shipped (default: ./data)."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of the run (default: gamekeeper-runs/reproduce/NAME); give it again to resume."),
    ] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Worker processes (default: one per core).")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Run a published experiment again, and show the paper's figures beside ours."""
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


for heading, commands in {
    GATEWAY: (serve, keys, clients, release, forget, quota),
    WHO: (review, alarms, calibrate, replay, detect),
    COPIES: (verify, ownership),
}.items():
    for command in commands:
        app.command(rich_help_panel=heading)(command)
app.add_typer(claims, rich_help_panel=COPIES)


def main() -> None:
    for stream in (sys.stdout, sys.stderr):
        writes_any_character(stream)
    code = guarded(sys.argv[1:])
    if code == BROKEN_PIPE:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # otherwise Python would complain when it flushes stdout
    sys.exit(code)


def writes_any_character(stream: object) -> None:
    """Makes a file or pipe UTF-8, which it is not on Windows; a terminal shows '?' for characters it cannot print.

    A file name that is not UTF-8 keeps its bytes.
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
        code = app(arguments or ["--help"], standalone_mode=False)
        if code == TYPERS_INTERRUPT:
            raise KeyboardInterrupt
    except (SystemExit, BrokenPipeError):
        return BROKEN_PIPE  # rich and Typer turn a broken pipe, and nothing else here, into SystemExit
    except GamekeeperError as error:
        typer.echo(f"gamekeeper: {error}", err=True)
        return error.exit_code
    except typer.TyperException as error:
        typer.echo(f"gamekeeper: {error.format_message()}", err=True)
        return 4
    except (KeyboardInterrupt, typer.Abort):
        typer.echo(
            "gamekeeper: interrupted. Nothing you paid for is lost; run the same command again to continue.", err=True
        )
        return 2
    except OSError as error:
        typer.echo(
            f"gamekeeper: a file could not be read or written: {error}. Is the disk full, or the folder read-only?"
            " Nothing you paid for is lost; run the same command again once that is fixed.",
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
