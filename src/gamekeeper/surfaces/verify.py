"""`gamekeeper verify`: a claim against a suspect, or a bundle verified again; and what a person reads of the verdict."""

import math
import sys
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import orjson
from rich.console import Console

from gamekeeper.engine.judging import Cost, Court, check_trial, cost, tried
from gamekeeper.engine.lock import claimed
from gamekeeper.engine.session import make_folder
from gamekeeper.errors import BadClaim, BadConfig
from gamekeeper.keys import read_key
from gamekeeper.methods import parse_architecture
from gamekeeper.ownership import register, stamps
from gamekeeper.ownership.bundle import BUNDLE, Trial, private_key, public_key, read_bundle, write_bundle
from gamekeeper.ownership.claim import load_claim
from gamekeeper.ownership.gates import commitment_gates
from gamekeeper.ownership.opinion import Compared, Opinion, opinion
from gamekeeper.ownership.record import LEVELS, RANKS_FROM, Beacon, Null, Papers, Terms, check_papers
from gamekeeper.surfaces.audit import lines
from gamekeeper.surfaces.report.verdict_words import another_panel
from gamekeeper.surfaces.report.words import plain
from gamekeeper.surfaces.verdict_report import Paid, write_verdict_report
from gamekeeper.targets.load import load_target
from gamekeeper.version import __version__

WHERE = "bundle"
"""The folder of the bundle, in the folder of a trial."""


@dataclass(frozen=True)
class Wanted:
    """The command line: files and names as they were given. kinds: architectures of the panel, by name."""

    claim: Path
    suspect: str
    own: str
    register: Path
    trust: Path
    public_since: str
    data: str | None = None
    openings: tuple[Path, ...] = ()
    panel: int = 10
    kinds: tuple[str, ...] = ()
    level: float | None = None
    beacon: str | None = None
    beacon_at: str | None = None
    head: str | None = None
    checks: int = 1_000
    key: Path | None = None


@dataclass(frozen=True)
class Printing:
    """dry_run: say what it would cost, and stop; yes: spend without asking; json: print everything as JSON; quiet: print the
    verdict alone."""

    dry_run: bool = False
    yes: bool = False
    json: bool = False
    quiet: bool = False


def run_verify(wanted: Wanted, folder: Path, printing: Printing) -> int:
    """Tries the claim, writes the bundle and prints the opinion."""
    console = Console(stderr=printing.json, quiet=printing.quiet, highlight=False)
    papers, terms = papers_of(wanted), terms_of(wanted)
    key = None if wanted.key is None else private_key(bytes_of(wanted.key, "the key"), str(wanted.key))
    court = court_of(wanted)
    check_trial(papers, terms, court)
    bill = cost(papers, court)
    announce(papers, terms, court, bill, console)
    if printing.dry_run:
        if printing.json:
            sys.stdout.write(orjson.dumps({"plan": asdict(bill)}, option=orjson.OPT_INDENT_2).decode() + "\n")
        return 0
    consent(bill, printing)
    make_folder(folder)
    with claimed(folder), console.status("asking the suspect") as status:
        record = tried(papers, terms, court, folder, lambda doing: status.update(f"{doing} …"))
        trial = write_bundle(folder / WHERE, papers, record, key)
        page = write_verdict_report(trial, folder, folder / WHERE, paid_for(court, record.queries))
    conclude(trial, folder / WHERE, page, printing)
    return 0


def run_again(folder: Path, signed_by: Path | None, trust: Path | None, out: Path | None, printing: Printing) -> int:
    """Verifies a bundle: no model is asked. out: a folder for a report of one's own."""
    inner = folder / WHERE
    where = inner if (inner / BUNDLE).exists() and not (folder / BUNDLE).exists() else folder
    keys = () if signed_by is None else (public_key(bytes_of(signed_by, "the public key"), str(signed_by)),)
    trial = read_bundle(where, keys, None if trust is None else stamps.read_roots(trust))
    page = None
    if out is not None:
        make_folder(out)
        page = write_verdict_report(trial, out, where)
    conclude(trial, where, page, printing)
    return 0


# what was given


def papers_of(wanted: Wanted) -> Papers:
    if not wanted.register.exists():
        raise BadClaim(f"there is no register {wanted.register}. Without one, nothing shows when a claim was made.")
    entries = register.read(wanted.register, wanted.head)
    return Papers(load_claim(wanted.claim), entries, tuple(stamps.read_roots(wanted.trust)))


def terms_of(wanted: Wanted) -> Terms:
    """Raises BadConfig for options that do not go together."""
    if (wanted.beacon is None) != (wanted.beacon_at is None):
        raise BadConfig("--beacon needs --beacon-at, when it was published, and the other way round.")
    beacon = None
    if wanted.beacon is not None and wanted.beacon_at is not None:
        beacon = Beacon(wanted.beacon, seconds(wanted.beacon_at, "--beacon-at"))
    null: Null = "drawn labels" if beacon else "ranks" if wanted.panel >= RANKS_FROM else "panel"
    level = LEVELS[null] if wanted.level is None else repr(wanted.level)
    openings = tuple(read_key(path).hex() for path in wanted.openings)
    public_since = seconds(wanted.public_since, "--public-since")
    return Terms(public_since, null, level, openings=openings, beacon=beacon, head=wanted.head)


def court_of(wanted: Wanted) -> Court:
    suspect = load_target(wanted.suspect)
    own = load_target(wanted.own)
    data = suspect if wanted.data is None else load_target(wanted.data)
    kinds = tuple(parse_architecture(name, suspect.box.shape, suspect.victim.task.classes) for name in wanted.kinds)
    return Court(suspect, own, data, wanted.panel, kinds, wanted.checks)


def seconds(text: str, option: str) -> int:
    """A date, or a date and time, as seconds since 1970; UTC where no zone is given, and the start of a day. Raises BadConfig."""
    try:
        at = datetime.fromisoformat(text)
        return math.floor((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp())
    except (ValueError, OverflowError):
        raise BadConfig(f"{option} must be a date such as 2026-11-30 or 2026-11-30T12:00:00Z. Got {text!r}.") from None


def bytes_of(path: Path, what: str) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(2**16)
    except OSError as error:
        raise BadConfig(f"{what} {path} cannot be read: {error.strerror}.") from error


# before anything is paid


def announce(papers: Papers, terms: Terms, court: Court, bill: Cost, console: Console) -> None:
    where = "a live API" if court.suspect.remote else "a model on this machine"
    money = f", at most {bill.money:,.2f} {plain(bill.currency) or 'in money'}" if bill.live else ", free"
    committed = check_papers(papers, terms, court.suspect.victim.task.classes)
    shut = [reason for reason in commitment_gates(committed, terms.public_since).values() if reason]
    text = [
        f"gamekeeper {__version__}: a claim of {len(papers.claim.tensors['y']):,} inputs on {court.suspect.name}, {where}",
        f"at most {bill.suspect:,} queries of the suspect and {bill.own:,} of the owner's model{money}; a panel of"
        f" {court.panel} models is trained on data of {court.data.name}",
        *(f"This claim is void already, whatever is answered: {reason}" for reason in shut),
    ]
    console.print("\n".join(text), soft_wrap=True, markup=False)


def consent(bill: Cost, printing: Printing) -> None:
    """Asks before spending money on an API, on stderr."""
    if not bill.live or printing.yes:
        return
    if not sys.stdin.isatty():
        raise BadConfig(
            "this trial spends queries on a live API; stdin is not a terminal, so nobody can confirm; add --yes."
        )
    sys.stderr.write(f"{bill.suspect + bill.own:,} queries, {bill.money:,.2f}. Spend them? [y/N] ")
    sys.stderr.flush()
    if input().strip().lower() not in ("y", "yes"):
        raise KeyboardInterrupt


# afterwards


def paid_for(court: Court, queries: int) -> Paid:
    """Each query is paid for once, however often a trial is begun."""
    return Paid(queries * court.suspect.price if court.suspect.remote else 0.0, court.suspect.currency)


def conclude(trial: Trial, folder: Path, page: Path | None, printing: Printing) -> None:
    judgement = opinion(trial)
    if printing.json:
        whole = {**asdict(judgement), "record": trial.record.terms, "bundle": str(folder)}
        whole |= {} if page is None else {"report": str(page)}
        sys.stdout.write(orjson.dumps(whole, option=orjson.OPT_INDENT_2).decode() + "\n")
        return
    say = lines()
    for line in [judgement.sentence, judgement.counts] if printing.quiet else in_words(judgement, folder):
        say(plain(line) and line)
    if page is not None:
        say(f"report: {plain(str(page))}")


def in_words(judgement: Opinion, folder: Path) -> list[str]:
    """The opinion, line by line."""
    return [
        "",
        f"Verdict: {judgement.decision}",
        plain(judgement.sentence),
        plain(judgement.counts),
        "",
        judgement.chance,
        another_panel(judgement.interval, len(judgement.panel)),
        "",
        f"Hits of {judgement.n}:",
        *counts(judgement),
        "",
        "Gates:",
        *(f"  {'open' if not reason else 'SHUT'}  {name}: {reason or text}" for name, text, reason in judgement.gates),
        "",
        "What would change this:",
        *(f"  - {plain(line)}" for line in judgement.change),
        "",
        "What was not checked:",
        *(f"  - {plain(line)}" for line in judgement.unchecked),
        "",
        f"{judgement.queries:,} queries of the suspect. {signature(judgement)}",
        f"bundle: {plain(str(folder))}, digest {judgement.digest}",
        f"Anybody can verify it again: gamekeeper verify --bundle {plain(str(folder))}",
    ]


def counts(judgement: Opinion) -> list[str]:
    """Hits of the suspect, of the owner's model and, in one line, of the panel; the bundle has each of its models."""
    hits, right = [one.hits for one in judgement.panel], [one.accuracy for one in judgement.panel]
    panel = (
        f"  {'independent':<12} {min(hits)} to {max(hits)}, the {len(hits)} models of the panel, accuracy {min(right):.3f} to"
        f" {max(right):.3f}"
        if hits
        else "  no independent models"
    )
    return [
        model_line("the suspect", judgement.suspect, judgement.n),
        model_line("the owner's", judgement.own, judgement.n),
        panel,
    ]


def model_line(name: str, model: Compared, n: int) -> str:
    right = "" if math.isnan(model.accuracy) else f", accuracy {model.accuracy:.3f}"
    return f"  {name:<12} {model.hits:>{len(str(n))}}  {plain(model.who)}{right}"


def signature(judgement: Opinion) -> str:
    if judgement.signed is None:
        return "No signature was checked."
    return "Signed by a key that you named." if judgement.signed else ""
