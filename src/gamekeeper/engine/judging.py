"""A trial: the judge asks the suspect and the owner's model, trains a panel, and writes down what all of them answered.

Everything that can be refused without a query is refused first, and the price is known before it is paid. A live API is asked
through a meter and a ledger, as a thief's target is: an interrupted trial goes on without paying again.
"""

import functools
import math
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Int
from torch import Tensor

from gamekeeper.data.dataset import Dataset
from gamekeeper.engine.run import opened_victim
from gamekeeper.errors import BadConfig
from gamekeeper.models.network import TorchModel
from gamekeeper.ownership.canonical import DTYPES, model_digest
from gamekeeper.ownership.panel import Independent, architectures, enough, matched, recipes, without
from gamekeeper.ownership.procedures import inputs_of, labels
from gamekeeper.ownership.record import Answered, Papers, Record, Terms, accuracy, check_papers, input_digests
from gamekeeper.service.ledger import Ledger
from gamekeeper.service.oracles import Metered
from gamekeeper.targets.target import Target
from gamekeeper.training.student import DiskCloneCache
from gamekeeper.types import Architecture, Batch, Model, Oracle
from gamekeeper.version import __version__

LEDGER, CLONES = "ledger.sqlite", "clones"
CHECKS = 1_000
"""Inputs of the judge's own, by which accuracies are compared."""
ORDER = 20_261
"""Seed of the order in which these are taken from a test set."""

Say = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class Court:
    """Who is asked, and what the judge brings.

    data     a target whose training inputs the panel learns from and whose test inputs measure accuracy
    panel    how many models; kinds: their architectures, or none for those that suit the inputs
    checks   how many test inputs at most
    """

    suspect: Target
    own: Target
    data: Target
    panel: int = 10
    kinds: tuple[Architecture, ...] = ()
    checks: int = CHECKS


@dataclass(frozen=True)
class Cost:
    """What a trial may cost at most: queries of the suspect and of the owner's model, and money for those that are live APIs."""

    suspect: int
    own: int
    money: float
    currency: str
    live: bool


def cost(papers: Papers, court: Court) -> Cost:
    n, m = len(inputs_of(papers.claim)), len(checks(court))
    queried = ((court.suspect, n + m), (court.own, n))
    money = sum((queries * target.price for target, queries in queried if target.remote), 0.0)
    return Cost(n + m, n, money, court.suspect.currency, court.suspect.remote or court.own.remote)


def check_trial(papers: Papers, terms: Terms, court: Court) -> None:
    """Raises BadClaim, BadConfig, BadQuery or Unsuited for whatever can be refused before a query is paid."""
    suspect = court.suspect
    check_papers(papers, terms, suspect.victim.task.classes)
    x = inputs_of(papers.claim)
    for target in (suspect, court.own):
        target.box.check(x)
    for name, other in (("the owner's model", court.own), ("the judge's data", court.data)):
        same = (suspect.box.shape, suspect.victim.task.classes) == (other.box.shape, other.victim.task.classes)
        if not same:
            raise BadConfig(
                f"{name} must have inputs and classes like the suspect's, {suspect.box.shape} and"
                f" {suspect.victim.task.classes}. {other.name} has {other.box.shape} and {other.victim.task.classes}."
            )
    suspect.box.check(checks(court).x)
    training(papers, court)


@functools.lru_cache(maxsize=4)
def checks(court: Court) -> Dataset:
    """The judge's own inputs with their labels, the same for everybody. Raises BadConfig if the data has none."""
    test = court.data.test
    if test.y is None or len(test) == 0:
        raise BadConfig(
            f"accuracy is measured on labelled test inputs, and {court.data.name} has none. Give some (data.test)."
        )
    order = torch.randperm(len(test), generator=torch.Generator().manual_seed(ORDER))
    return test.take(order[: court.checks])


def training(papers: Papers, court: Court) -> Dataset:
    """What a panel learns from: no input of the claim, and none that accuracy is measured on. Raises BadConfig."""
    owner = court.data.owner
    data = Dataset(owner.x, owner.truth)
    return enough(without(data, inputs_of(papers.claim), checks(court).x))


def tried(papers: Papers, terms: Terms, court: Court, folder: Path, say: Say) -> Record:
    """Asks, trains and writes down. The folder holds the ledger and the panel, so that a second try costs nothing.

    Raises what `check_trial` does, and OracleError if a live API fails.
    """
    check_trial(papers, terms, court)
    folder.mkdir(parents=True, exist_ok=True)
    x, own_checks = inputs_of(papers.claim), checks(court)
    with closing(Ledger(folder / LEDGER)) as ledger:
        say(f"asking {court.suspect.name}")
        meter = Metered(opened(court.suspect, ledger), len(x) + len(own_checks), court.suspect.box)
        suspect = answers(court.suspect, meter, x, own_checks.x)
        say("asking the owner's model")
        own = answers(court.own, Metered(opened(court.own, ledger), len(x), court.own.box), x, None)
    truth = as_labels(own_checks.y)
    panel = trained_panel(papers, court, accuracy(suspect, truth), DiskCloneCache(folder / CLONES), say)
    return Record(
        version=__version__,
        claim=papers.claim.digest(),
        classes=court.suspect.victim.task.classes,
        inputs=input_digests(papers.claim),
        suspect=suspect,
        own=own,
        panel=panel,
        truth=truth,
        checks=own_checks.digest(),
        queries=meter.spent,
        data=(court.data.name, training(papers, court).digest()),
        terms=terms,
    )


def opened(target: Target, ledger: Ledger) -> Model:
    return opened_victim(target, ledger) if target.remote else target.victim


def answers(target: Target, oracle: Oracle, x: Batch, more: Tensor | None) -> Answered:
    """What a suspect or the owner's model answers; the judge's own inputs first, since a broken API shows there."""
    checked = () if more is None else as_labels(labels(oracle, more))
    return Answered(target.name, digest_of(target), as_labels(labels(oracle, x)), checked)


def digest_of(target: Target) -> str:
    """Of the parameters of a network; of everything that changes an answer, where it is no network of ours."""
    if isinstance(target.victim, TorchModel):
        parameters = target.victim.net.state_dict()
        if parameters and all(tensor.dtype in DTYPES for tensor in parameters.values()):
            return model_digest(parameters)
    return target.digest


def as_labels(answered: Int[Tensor, " n"] | None) -> tuple[int, ...]:
    return () if answered is None else tuple(answered.tolist())


def trained_panel(
    papers: Papers, court: Court, wanted: float, clones: DiskCloneCache, say: Say
) -> tuple[Answered, ...]:
    """The labels of every model of the panel. wanted: the suspect's accuracy, which theirs should be near.

    No model hears what another one or the suspect answered to the claim.
    """
    x, own_checks, data = inputs_of(papers.claim), checks(court), training(papers, court)
    task, box = court.suspect.victim.task, court.suspect.box
    truth = as_labels(own_checks.y)
    trained: list[str] = []

    @functools.cache
    def answered(recipe: Independent) -> Answered:
        trained.append(repr(recipe))
        say(f"training independent models ({len(trained)})")
        model = recipe.trained(data, box, task, clones)
        return Answered(repr(recipe), "", as_labels(labels(model, x)), as_labels(labels(model, own_checks.x)))

    wanted = 1.0 if math.isnan(wanted) else wanted  # a suspect that never answers: its gate is shut in any case
    kinds: Sequence[Architecture] = court.kinds or architectures(box.shape, task.classes)
    shares = matched(kinds, wanted, lambda recipe: accuracy(answered(recipe), truth))
    return tuple(answered(recipe) for recipe in recipes(court.panel, shares))
