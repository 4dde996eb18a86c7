"""The command line. Heavy imports happen inside the commands, so that `--help` is quick.

Exit codes: 0 done; 1 a --fail-if threshold is breached; 2 interrupted; 3 internal error, or a cell failed; 4 usage,
configuration or unsafe file; 5 target unreachable; 141 the reader of the output stopped reading (128 + SIGPIPE).
"""

import os
import sys
from collections.abc import Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated

import typer

from gamekeeper.errors import GamekeeperError
from gamekeeper.method_text import DETECTORS
from gamekeeper.surfaces.gateway_cli import Tenant, clients, forget, keys, quota, release, serve
from gamekeeper.surfaces.ownership_cli import claims, ownership, verify
from gamekeeper.version import __version__

app = typer.Typer(
    name="gamekeeper",
    help="How cheaply can a model be stolen through its prediction API, and what is each defense worth?",
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode="rich",
)

app.add_typer(claims)
app.command()(verify)
app.command()(ownership)
for command in (serve, keys, clients, release, forget, quota):
    app.command()(command)

ATTACKS = ["knockoff", "knockoff+labels", "knockoff+partial_bayes"]
TABLE_ATTACKS = ["knockoff@linear", "knockoff+labels@linear", "knockoff@boosted", "knockoff+labels@forest"]
"""What anybody would try first on a table, beside them."""
DEFENSES = ["none", "label", "reverse_sigmoid", "mad"]
BUDGETS = [250, 1000, 2500]
THIEVES = ["knockoff", "jbda", "uniform", "insider"]
MIXES, ACCOUNTS = [0.3, 0.1, 0.05], [5, 20]
TYPERS_INTERRUPT = 130
"""The exit code Typer gives for Ctrl-C."""
BROKEN_PIPE = 141


def default(values: Sequence[object]) -> str:
    """Defaults in a help text; the [audit] table of a target file may override them."""
    return f"[dim]Default: {', '.join(map(str, values))}[/dim]"


@app.command()
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


@app.command()
def detect(
    target: Annotated[
        str, typer.Argument(help="What is watched: a built-in target (mnist, fashion, …) or a TOML file.")
    ] = "mnist",
    thief: Annotated[
        list[str] | None,
        typer.Option(
            help=f"A way of asking. The first is also mixed, dealt over accounts and warned. {default(THIEVES)}"
        ),
    ] = None,
    honest: Annotated[
        list[str] | None, typer.Option(help="A kind of honest clients. [dim]Default: all that suit the inputs[/dim]")
    ] = None,
    detector: Annotated[list[str] | None, typer.Option(help=f"A detector. {default(DETECTORS)}")] = None,
    benign: Annotated[
        str | None,
        typer.Option(
            help="A data file of inputs like a user's: half of it calibrates, honest clients send the other half."
            " [dim]Default: the target's natural and test inputs[/dim]"
        ),
    ] = None,
    alpha: Annotated[
        float, typer.Option(min=0, max=1, help="False alarms per client to aim at, all detectors together.")
    ] = 0.01,
    queries: Annotated[int, typer.Option(min=1, help="Queries of each thief and of each honest client.")] = 500,
    mix: Annotated[list[float] | None, typer.Option(help=f"Shares of own queries. {default(MIXES)}")] = None,
    accounts: Annotated[list[int] | None, typer.Option(help=f"Numbers of accounts. {default(ACCOUNTS)}")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Number of repetitions.")] = 1,
    clients: Annotated[int, typer.Option(min=1, help="Honest clients of each kind, with each seed.")] = 50,
    out: Annotated[Path | None, typer.Option(help="Folder of the run; give the same folder again to resume.")] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Worker processes (default: one per core).")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print results as JSON instead of tables.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print only the conclusions and paths.")] = False,
) -> None:
    """Try detectors on thieves and on honest clients: who is noticed, how soon, and who is accused."""
    from gamekeeper.detectors.limits import LOOKS
    from gamekeeper.engine.scene import Setting
    from gamekeeper.surfaces.detect import Trial, run_detect
    from gamekeeper.targets.choice import Choice

    looks = tuple(look for look in LOOKS if look <= queries) or (queries,)
    setting = Setting(Choice(target), tuple(detector or DETECTORS), alpha, benign, looks)
    trial = Trial(
        tuple(thief or THIEVES),
        tuple(MIXES if mix is None else mix),
        tuple(ACCOUNTS if accounts is None else accounts),
        tuple(honest) if honest else None,
        queries,
        seeds,
        clients,
    )
    folder = out or Path("gamekeeper-runs") / f"detect-{Path(target).stem}"
    raise typer.Exit(run_detect(setting, trial, folder, jobs, json, quiet))


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(help="Folder of an audit.")],
    png: Annotated[bool, typer.Option("--png", help="Write the figures as PNG files as well.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print results as JSON instead of a table.")] = False,
) -> None:
    """Write report.html and print the table from a folder of results."""
    from gamekeeper.surfaces.audit import show_report

    show_report(folder, png, json)


@app.command()
def calibrate(
    target: Annotated[str, typer.Argument(help="What is watched: a built-in target or a TOML file.")] = "mnist",
    benign: Annotated[
        str | None,
        typer.Option(help="A data file of inputs like a user's. [dim]Default: the target's natural inputs[/dim]"),
    ] = None,
    log: Annotated[
        Path | None, typer.Option(help="A log of clients who are believed honest; limits then rest on them.")
    ] = None,
    mapping: Annotated[str | None, typer.Option(help="What is what in the log, as for `gamekeeper replay`.")] = None,
    replayed: Annotated[
        Path | None,
        typer.Option(
            "--replay", help="A replay of this log: who has an alarm there that nobody dismissed is left out."
        ),
    ] = None,
    journal: Annotated[
        Path | None,
        typer.Option(help="Folder of a gateway: limits then rest on its own clients, and are for its own detectors."),
    ] = None,
    last: Annotated[int | None, typer.Option(min=1, help="With --journal: the last so many honest clients.")] = None,
    tenant: Tenant = None,
    detector: Annotated[
        list[str] | None, typer.Option(help=f"A detector. Repeat for several. {default(DETECTORS)}")
    ] = None,
    alpha: Annotated[
        float | None,
        typer.Option(min=0, max=1, help=f"False alarms per client to aim at, all together. {default([0.01])}"),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help=f"File to write. {default(['limits.json, or the one of the gateway'])}")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print what backs the limits as JSON.")] = False,
) -> None:
    """Set the limits of detectors, and say what backs them: benign inputs, or clients who are believed honest."""
    from gamekeeper.engine.scene import Setting
    from gamekeeper.surfaces.calibrate import checked, run_calibrate
    from gamekeeper.surfaces.gateway_calibrate import JournalClients, calibrate_journal
    from gamekeeper.targets.choice import Choice

    if journal is not None:
        raise typer.Exit(calibrate_journal(JournalClients(journal, last, tenant), alpha, out, json))
    setting = Setting(Choice(target), tuple(detector or DETECTORS), 0.01 if alpha is None else alpha, benign)
    raise typer.Exit(run_calibrate(setting, checked(log, mapping, replayed), out or Path("limits.json"), json))


@app.command()
def replay(
    log: Annotated[Path, typer.Argument(help="A log of who asked what: a file, or a folder of files; gzip is read.")],
    mapping: Annotated[
        str,
        typer.Option(help="What is what in the log: kserve, databricks, nginx, openai, or a TOML file (docs/logs.md)."),
    ],
    target: Annotated[
        str | None,
        typer.Option(
            help="The model that answered, built in or a TOML file. Without it: volume and exact repeats only."
        ),
    ] = None,
    limits: Annotated[
        Path | None,
        typer.Option(help="Limits from `gamekeeper calibrate`. [dim]Default: made from benign inputs[/dim]"),
    ] = None,
    benign: Annotated[
        str | None,
        typer.Option(help="A data file of inputs like a user's. [dim]Default: the target's natural inputs[/dim]"),
    ] = None,
    detector: Annotated[
        list[str] | None, typer.Option(help=f"A detector. Repeat for several. {default(DETECTORS)}")
    ] = None,
    alpha: Annotated[
        float, typer.Option(min=0, max=1, help="False alarms per client to aim at, all detectors together.")
    ] = 0.01,
    top: Annotated[
        int, typer.Option(min=1, help="How many clients are written down, the most suspicious first.")
    ] = 1000,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the replay; give the same folder again to resume.")
    ] = None,
    fail_if_alarm: Annotated[
        bool, typer.Option("--fail-if-alarm", help="Exit with code 1 if any client raises an alarm.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print results as JSON instead of a table.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print only totals and paths.")] = False,
) -> None:
    """Read a log: who looks like a thief, why, how sure that is, and how much they have learnt."""
    from gamekeeper.surfaces.replay import Wanted, run

    wanted = Wanted(
        log,
        mapping,
        target,
        limits,
        benign,
        tuple(detector) if detector else None,
        tuple(DETECTORS),
        alpha,
        top,
        fail_if_alarm,
    )
    folder = out or Path("gamekeeper-runs") / f"replay-{log.name.split('.')[0]}"
    raise typer.Exit(run(wanted, folder, json, quiet, sys.argv[1:]))


@app.command()
def review(
    folder: Annotated[Path, typer.Argument(help="Folder of a replayed log, or of a gateway.")],
    alarm: Annotated[
        str | None, typer.Argument(help="Id of an alarm; leave it out to list those that are open.")
    ] = None,
    client: Annotated[str | None, typer.Option(help="Decide about all open alarms of this client at once.")] = None,
    tenant: Tenant = None,
    confirm: Annotated[bool, typer.Option("--confirm", help="This client was stealing.")] = False,
    dismiss: Annotated[
        bool, typer.Option("--dismiss", help="This client is honest; the next calibration may count on them.")
    ] = False,
    by: Annotated[str, typer.Option(help="Who decides.")] = "",
    reason: Annotated[str, typer.Option("--why", help="The reason, in a sentence.")] = "",
) -> None:
    """Decide about alarms and write the decision down. Nobody is ever banned: what follows is up to you."""
    from gamekeeper.surfaces.review import Answer, decide, list_open

    if alarm is None and client is None and not (confirm or dismiss):
        list_open(folder, tenant)
    else:
        decide(folder, Answer(alarm, client, confirm, dismiss, by, reason), tenant)


@app.command()
def alarms(
    folder: Annotated[Path, typer.Argument(help="Folder of a replayed log, or of a gateway.")],
    form: Annotated[
        str, typer.Option("--format", help="jsonl, or ocsf: Detection Findings of OCSF 1.3.0 for a SIEM.")
    ] = "jsonl",
    tenant: Tenant = None,
) -> None:
    """Print alarms, one line of JSON each, with what people decided. They are questions, not verdicts."""
    from gamekeeper.surfaces.review import print_alarms

    if form not in ("jsonl", "ocsf"):
        raise typer.BadParameter(f"'{form}' is no format of alarms. Known: jsonl, ocsf.", param_hint="--format")
    print_alarms(folder, form, tenant)


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
    what: Annotated[str, typer.Argument(help="audit or gateway.")] = "audit",
    out: Annotated[
        Path | None, typer.Option(help=f"File, or folder of a gateway. {default(['audit.toml', 'gateway'])}")
    ] = None,
    target: Annotated[
        str | None, typer.Option(help=f"What a gateway serves: a built-in target or a TOML file. {default(['mnist'])}")
    ] = None,
) -> None:
    """Write a commented configuration that works as it stands."""
    from gamekeeper.surfaces.init import write_config

    typer.echo(write_config(what, out, target))


@app.command()
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
