"""The commands about clients who may be thieves: trying detectors, reading logs, calibrating, and what people decide."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from gamekeeper.method_text import DETECTORS
from gamekeeper.surfaces.gateway_cli import Account, Tenant

THIEVES = ["knockoff", "jbda", "uniform", "insider"]
MIXES, ACCOUNTS = [0.3, 0.1, 0.05], [5, 20]


def default(values: Sequence[object]) -> str:
    """Defaults in a help text; of an audit, the [audit] table of a target file may override them."""
    return f"[dim]Default: {', '.join(map(str, values))}[/dim]"


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


def review(
    folder: Annotated[Path, typer.Argument(help="Folder of a replayed log, or of a gateway.")],
    alarm: Annotated[
        str | None, typer.Argument(help="Id of an alarm; leave it out to list those that are open.")
    ] = None,
    client: Annotated[str | None, typer.Option(help="Decide about all open alarms of this client at once.")] = None,
    account: Account = None,
    tenant: Tenant = None,
    confirm: Annotated[bool, typer.Option("--confirm", help="This client was stealing.")] = False,
    dismiss: Annotated[
        bool, typer.Option("--dismiss", help="This client is honest; the next calibration may count on them.")
    ] = False,
    by: Annotated[str, typer.Option(help="Who decides.")] = "",
    reason: Annotated[str, typer.Option("--why", help="The reason, in a sentence.")] = "",
) -> None:
    """Decide about alarms and write the decision down. Nobody is ever banned: what follows is up to you."""
    from gamekeeper.engine.gateway.folder import Named
    from gamekeeper.surfaces.review import Answer, decide, list_open

    named = Named(client, account, tenant)
    if alarm is None and not named and not (confirm or dismiss):
        list_open(folder, tenant)
    else:
        decide(folder, Answer(alarm, named, confirm, dismiss, by, reason), tenant)


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
