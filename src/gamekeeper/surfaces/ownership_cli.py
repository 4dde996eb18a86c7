"""The commands about ownership, for the command line. As there, heavy imports happen inside the commands."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

SCHEMES = ["own_mistakes", "backdoor", "dawn:share=0.02"]
REMOVALS = [
    "none", "ftll", "ftal", "rtll", "rtal", "prune", "prune:share=0.9", "fine_prune", "weight_noise", "weight_noise:sd=0.5",
    "quantise", "quantise:bits=2", "noise", "bit_depth", "blur", "distil", "knockoff", "knockoff+labels", "knockoff+neighbours",
    "reset",
]  # fmt: skip
FORGERIES = ["untargeted", "targeted", "chosen_carriers"]
claims = typer.Typer(
    name="claim",
    help="Make a claim of ownership, commit to it in a register, and open it for a judge.",
    no_args_is_help=True,
)
Opening = Annotated[
    Path | None, typer.Option(help="What opens the commitment. [dim]Default: beside the file, with .opening[/dim]")
]


@claims.command()
def make(
    data: Annotated[Path, typer.Argument(help="Inputs and the labels that a copy answers: npz, CSV, IDX or a folder.")],
    fact: Annotated[list[str] | None, typer.Option(help="name=value: what a reader should know. Repeat.")] = None,
    beacon: Annotated[
        str | None, typer.Option(help="Public randomness, in hexadecimal, that draws the labels of inputs without any.")
    ] = None,
    classes: Annotated[int | None, typer.Option(min=2, help="From how many classes they are drawn.")] = None,
    out: Annotated[Path, typer.Option(help="File to write.")] = Path("claim.safetensors"),
) -> None:
    """Make a claim: inputs, and what a copy of the model answers to them."""
    from gamekeeper.surfaces.claim import make as write

    write(data, fact or [], beacon, classes, out)


@claims.command()
def triggers(
    target: Annotated[str, typer.Argument(help="Whose inputs they are like: a target file, or a built-in target.")],
    kind: Annotated[str, typer.Option(help="pixels, smooth, natural or mislabelled.")] = "pixels",
    count: Annotated[int, typer.Option(min=1, help="How many.")] = 100,
    seed: Annotated[int, typer.Option(help="Draws them.")] = 0,
    out: Annotated[Path, typer.Option(help="File to write.")] = Path("triggers.npz"),
) -> None:
    """Write inputs for a backdoor, to be committed to before a beacon draws their labels."""
    from gamekeeper.surfaces.claim import triggers as write

    write(target, kind, count, seed, out)


@claims.command()
def mistakes(
    target: Annotated[str, typer.Argument(help="The owner's model: a target file, or a built-in target.")],
    most: Annotated[int, typer.Option(min=1, help="How many at most.")] = 1000,
    seed: Annotated[int, typer.Option(help="Chooses among more.")] = 0,
    out: Annotated[Path, typer.Option(help="File to write.")] = Path("claim.safetensors"),
) -> None:
    """Make a claim of what a finished model gets wrong: copies repeat that, and so do others, about every second one."""
    from gamekeeper.surfaces.claim import own_mistakes

    own_mistakes(target, most, seed, out)


@claims.command()
def register(
    claim: Annotated[Path, typer.Argument(help="A claim; or a data file of inputs whose labels a beacon will draw.")],
    into: Annotated[Path, typer.Option("--register", help="The register; it is begun if there is none.")],
    opening: Opening = None,
    stamp_request: Annotated[
        Path | None,
        typer.Option(help="Write a request for a time stamp (RFC 3161) to this file, and register nothing yet."),
    ] = None,
    stamp: Annotated[
        list[Path] | None, typer.Option(help="An authority's response to that request. Repeat for several authorities.")
    ] = None,
    trust: Annotated[Path | None, typer.Option(help="Root certificates of these authorities, PEM.")] = None,
) -> None:
    """Commit to a claim without showing it: an entry in a register, with time stamps."""
    from gamekeeper.surfaces.claim import enter

    enter(claim, into, opening, stamp_request, stamp or [], trust)


@claims.command("open")
def reveal(
    claim: Annotated[Path, typer.Argument(help="The claim, or the data file, that was committed to.")],
    within: Annotated[Path, typer.Option("--register", help="The register.")],
    opening: Opening = None,
) -> None:
    """Open a commitment in the register, for everybody to see."""
    from gamekeeper.surfaces.claim import reveal as show

    show(claim, within, opening)


def verify(
    claim: Annotated[Path | None, typer.Argument(help="The owner's claim.")] = None,
    suspect: Annotated[
        str | None, typer.Argument(help="Whom it is about: a TOML file of a model or a live API, or a built-in target.")
    ] = None,
    register: Annotated[Path | None, typer.Option(help="The owner's register.")] = None,
    opening: Annotated[
        list[Path] | None, typer.Option(help="What opens the commitment, if the register does not. Repeat for inputs.")
    ] = None,
    own: Annotated[
        str | None, typer.Option(help="The owner's marked model, or a clone trained on marked answers: it must pass.")
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="A target with the judge's own data. [dim]Default: the suspect's file[/dim]")
    ] = None,
    public_since: Annotated[
        str | None, typer.Option(help="When the suspect was first public, such as 2026-11-30 (UTC).")
    ] = None,
    trust: Annotated[Path | None, typer.Option(help="Root certificates of time-stamping authorities, PEM.")] = None,
    panel: Annotated[
        int, typer.Option(min=2, help="Independent models to train: 10, or 99 for p by ranks, which assume least.")
    ] = 10,
    architecture: Annotated[
        list[str] | None, typer.Option(help="Of the panel. [dim]Default: several that suit the inputs[/dim]")
    ] = None,
    level: Annotated[
        float | None,
        typer.Option(help="Accepted chance of accusing an independent model. [dim]Default: 0.001; by ranks 0.01[/dim]"),
    ] = None,
    beacon: Annotated[
        str | None, typer.Option(help="Hexadecimal: what drew the labels, after the inputs were stamped.")
    ] = None,
    beacon_at: Annotated[str | None, typer.Option(help="When you know it was published.")] = None,
    head: Annotated[str | None, typer.Option(help="Head of the register that somebody noted.")] = None,
    checks: Annotated[int, typer.Option(min=20, help="Test inputs on which accuracies are compared.")] = 1_000,
    key: Annotated[Path | None, typer.Option(help="Your ed25519 key (PEM), to sign the verdict.")] = None,
    bundle: Annotated[
        Path | None, typer.Option(help="Verify this folder again, without the suspect; no claim is needed.")
    ] = None,
    signed_by: Annotated[Path | None, typer.Option(help="With --bundle: the judge's public key, PEM.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the trial and its report; give it again to resume.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what it would cost, and stop.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Spend queries on a live API without asking.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print only the verdict.")] = False,
) -> None:
    """Judge a claim: is the suspect a copy, or do independent models answer so as well?"""
    from gamekeeper.surfaces.verify import Printing, Wanted, run_again, run_verify

    printing = Printing(dry_run, yes, json, quiet)
    if bundle is not None:
        raise typer.Exit(run_again(bundle, signed_by, trust, out, printing))
    needed = {"CLAIM": claim, "SUSPECT": suspect, "--register": register, "--own": own}
    needed |= {"--trust": trust, "--public-since": public_since}
    missing = [name for name, value in needed.items() if value is None]
    if missing or not (claim and suspect and register and own and trust and public_since):
        raise typer.BadParameter(f"a claim is judged with {', '.join(missing)} as well; or give --bundle FOLDER.")
    wanted = Wanted(
        claim,
        suspect,
        own,
        register,
        trust,
        public_since,
        data,
        tuple(opening or ()),
        panel,
        tuple(architecture or ()),
        level,
        beacon,
        beacon_at,
        head,
        checks,
        key,
    )
    raise typer.Exit(run_verify(wanted, out or Path("gamekeeper-runs") / f"verify-{Path(suspect).stem}", printing))


def default(values: Sequence[str]) -> str:
    return f"[dim]Default: {', '.join(values)}[/dim]"


def ownership(
    target: Annotated[str, typer.Argument(help="Whose model: a built-in target or a TOML file.")] = "mnist",
    scheme: Annotated[list[str] | None, typer.Option(help=f"A scheme. Repeat for several. {default(SCHEMES)}")] = None,
    removal: Annotated[
        list[str] | None,
        typer.Option(
            help=f"A removal, a thief's way to learn, or worst: all of the ensemble's. Repeat. {default(REMOVALS)}"
        ),
    ] = None,
    forgery: Annotated[
        list[str] | None, typer.Option(help=f"How false claims are made. Repeat for several. {default(FORGERIES)}")
    ] = None,
    queries: Annotated[int, typer.Option(min=1, help="What a thief pays for answers, once.")] = 2500,
    panel: Annotated[int, typer.Option(min=10, help="Independent models that a judge trains.")] = 10,
    seeds: Annotated[int, typer.Option(min=1, help="Number of repetitions.")] = 1,
    out: Annotated[Path | None, typer.Option(help="Folder of the run; give the same folder again to resume.")] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Worker processes (default: one per core).")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print results as JSON instead of tables.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print only the conclusions and paths.")] = False,
) -> None:
    """Try to remove marks and to make false claims: what survives, at what price, and who would be accused."""
    from gamekeeper.engine.dispute import DisputeSetting
    from gamekeeper.surfaces.ownership import Disputes, run_ownership
    from gamekeeper.targets.choice import Choice

    setting = DisputeSetting(Choice(target), queries, panel)
    disputes = Disputes(tuple(scheme or SCHEMES), tuple(removal or REMOVALS), tuple(forgery or FORGERIES), seeds)
    folder = out or Path("gamekeeper-runs") / f"ownership-{Path(target).stem}"
    raise typer.Exit(run_ownership(setting, disputes, folder, jobs, json, quiet))
