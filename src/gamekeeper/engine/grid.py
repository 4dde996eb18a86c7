"""The grid: what an audit asks for, as a list of cells.

A cell is one theft: a target behind its defenses, a thief, a budget, a seed. Its id is the hash of its recipes, the
target's digest and the format of results, so a result can never be mistaken for that of another question.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

from torch import Tensor

from gamekeeper.architectures import fresh
from gamekeeper.attacks.theft import Theft, thief_facts
from gamekeeper.attacks.zero_query import CommonestClass, NamesOnly, class_shares
from gamekeeper.data.splits import overlap
from gamekeeper.engine.ensemble import thieves
from gamekeeper.engine.shift_harm import shifted_queries
from gamekeeper.errors import BadConfig
from gamekeeper.facts import facts, labels_alone
from gamekeeper.learners.augmented import Affine, Augmented
from gamekeeper.learners.distil import Soft
from gamekeeper.methods import InputSpec, parse_defense, parse_thief
from gamekeeper.models.estimators import Learns
from gamekeeper.targets.choice import Source
from gamekeeper.targets.target import Target, boxed
from gamekeeper.training.fit import POSTERIOR, Fit
from gamekeeper.types import Architecture, Attack, Batch, Defense, Learner, need_box

FORMAT = "0.1.0"
"""What a cell's id is a hash of besides the question. Only a change that makes finished cells worthless changes it: the
package's version does not, or every release would throw paid answers away. Named after the version that began it."""
REPEATED = 64
"""Test inputs that the evaluation asks twice."""
UNIFORM, UNIFORM_IMAGES = 10_000, 2_000
"""Uniform inputs on which a clone is evaluated by default: Tramèr's number, and fewer where a network has to see images."""
EVADED, INVERTED, KNOWN = 500, 20, 2_000
"""With --follow-on, at most: test inputs to move, classes to draw, members (and as many non-members) to look up."""


@dataclass(frozen=True)
class Cell:
    """One theft, as plain values: prints, hashes and crosses processes.

    target     what the user chose; digest: of what it held, as far as answers behind these defenses depend on it
    defense    as the user wrote it; defenses: the recipes it stands for. Likewise attack and thief
    uniform    uniform inputs on which fidelity is measured as well; 0 for none
    follow_on  whether to measure what the clone is good for
    """

    target: Source
    digest: str
    defense: str
    defenses: tuple[Defense, ...]
    attack: str
    thief: Attack
    student: Architecture
    budget: int
    seed: int
    uniform: int
    follow_on: bool = False

    @property
    def id(self) -> str:
        recipe = (self.digest, self.defenses, self.thief, self.student, self.budget, self.seed, self.uniform)
        recipe += ("follow-on",) * self.follow_on  # without it, the id is that of every earlier run
        return hashlib.sha256(repr((FORMAT, recipe)).encode()).hexdigest()[:16]

    @property
    def client(self) -> str:
        """The client that the target sees: one per way of asking and seed, so that learners share answers.

        Budgets share them too where the questions of a larger one start with those of a smaller one; otherwise each budget
        is a client of its own.
        """
        if not isinstance(self.thief, Theft):
            return f"thief {self.thief} budget {self.budget} seed {self.seed}"
        # a thief whose rounds depend on the budget may also pick inputs by what their student makes of the answers so far
        budget = "" if self.thief.querying.prefix else f" budget {self.budget} {self.student}"
        return f"thief {(self.thief.querying, self.thief.wrappers)}{budget} seed {self.seed}"


@dataclass(frozen=True)
class Audit:
    """What the user asks for, in the syntax of `methods.py`. uniform: None for UNIFORM, or UNIFORM_IMAGES with images."""

    target: Source
    attacks: Sequence[str]
    defenses: Sequence[str]
    budgets: Sequence[int]
    seeds: Sequence[int]
    uniform: int | None = None
    follow_on: bool = False


def expand(audit: Audit, target: Target) -> list[Cell]:
    """Every combination once, small budgets first so that the first result comes soon.

    Raises BadConfig, before anything is asked, for a question that makes no sense.
    """
    if not (audit.attacks and audit.defenses and audit.budgets and audit.seeds):
        raise BadConfig("an audit needs at least one attack, one defense, one budget and one seed.")
    if min(audit.budgets) < 1:
        raise BadConfig(f"a budget is a number of queries, at least 1. Got {min(audit.budgets)}.")
    if audit.follow_on and target.remote:
        raise BadConfig(
            f"--follow-on scores crafted inputs on the model itself, at up to {4 * EVADED + INVERTED:,} answers per theft,"
            f" and every answer of {target.name} costs money. Leave it out, or audit a copy of the model on this machine."
        )
    if audit.follow_on:
        need_box(boxed(target).box, "--follow-on")
    check_auxiliary(target)
    check_natural(target)
    spec = InputSpec(target.box.shape, target.victim.task.classes)
    taking_part = thieves(audit.attacks, target)
    parsed = {text: parse_thief(text, spec) for text in (*taking_part.attacks, *taking_part.controls)}
    for text, (thief, _) in parsed.items():
        check_budgets(text, thief, audit.budgets, target)
    chains = {text: parse_defense(text, spec) for text in audit.defenses}
    digests = {text: target.digest_behind(chain) for text, chain in chains.items()}
    bare = {text for text, chain in chains.items() if answers_are_labels(target, chain)}
    uniform = uniform_inputs(audit, target)
    cells = [
        Cell(
            audit.target, digests[defense], defense, chain, attack, on_labels(thief) if defense in bare else thief,
            student or target.student, budget, seed, uniform,
            audit.follow_on and budget == max(audit.budgets) and attack not in taking_part.controls,
        )
        for budget in sorted(set(audit.budgets))
        for seed in audit.seeds
        for defense, chain in chains.items()
        for attack, (thief, student) in parsed.items()
        if not chain or attack not in taking_part.controls
    ]  # fmt: skip
    return list({cell.id: cell for cell in cells}.values())


def answers_are_labels(target: Target, chain: Sequence[Defense]) -> bool:
    """Whether users are given the top class and nothing else. Anybody sees that in the first answers."""
    return target.answers == "labels" or (bool(chain) and labels_alone(chain[-1]))


def on_labels(thief: Attack) -> Attack:
    """The thief where answers are labels: who would train for whole answers trains as the learner of labels does.

    Long training is worth it for probabilities; of labels it only memorises the wrong ones (decision 006). Left alone are a
    training that the user named, thieves who undo the defense, and views, under which nothing is seen twice.
    """
    if not isinstance(thief, Theft) or not is_dataclass(thief.learner):
        return thief
    learner: Any = thief.learner
    known, own = facts(learner), {each.name for each in fields(learner)}
    if "fit" not in own or known.reads != "posterior" or known.uses_defense or learner.fit != POSTERIOR:
        return thief
    return replace(thief, learner=replace(learner, fit=Fit()))


def uniform_inputs(audit: Audit, target: Target) -> int:
    """On how many uniform inputs clones are evaluated; none of an API's, where each would cost."""
    usual = UNIFORM if len(target.box.shape) == 1 else UNIFORM_IMAGES
    return 0 if target.remote else usual if audit.uniform is None else audit.uniform


def zero_query_cells(audit: Audit, target: Target) -> list[Cell]:
    """For each seed the clone of a thief who asks nothing: where the price curve of every defense begins.

    They have a budget of 0 and meet no defense, since they meet no answer.
    """
    name, thief = zero_query_thief(target)
    uniform = uniform_inputs(audit, target)
    return [
        Cell(audit.target, target.digest, "none", (), name, thief, target.student, 0, seed, uniform)
        for seed in dict.fromkeys(audit.seeds)
    ]


def zero_query_thief(target: Target) -> tuple[str, NamesOnly | CommonestClass]:
    """The best thief that the public knowledge about a target allows, and their name in the results."""
    if target.drawings is not None:
        return "names_only", NamesOnly(repr(target.drawings), zero_query_learner(target))
    if target.prior is not None:
        return "commonest_class", CommonestClass(target.prior, public=True)
    assert target.test.y is not None, "load_target refuses a test set without labels"
    return "commonest_class", CommonestClass(class_shares(target.test.y, target.victim.task.classes))


def zero_query_learner(target: Target) -> Learner:
    """How they learn: from whole answers; a network for images sees them turned anew in every step."""
    steps_through_images = len(target.box.shape) == 3 and not fitted(target.student)
    return Augmented(Soft(), (Affine(),)) if steps_through_images else Soft()


def fitted(student: Architecture) -> bool:
    """Whether the student is fitted in one go."""
    return isinstance(fresh(student, 0), Learns)


def check_auxiliary(target: Target) -> None:
    """Raises BadConfig if the owner's auxiliary inputs share any with the thief's pool or the test set."""
    held_elsewhere = (
        ("the thief's pool", target.pool.x, "a defense trained on the attack's own queries looks stronger than it is"),
        ("the test set", target.test.x, "the test set is for evaluation only"),
    )
    if target.owner.ood is not None:
        refuse_shared(
            target.owner.ood,
            f"auxiliary inputs ({target.auxiliary})",
            held_elsewhere,
            "Give auxiliary inputs from another source.",
        )


def check_natural(target: Target) -> None:
    """Raises BadConfig if inputs that should be new to the victim, thief and evaluation are among theirs."""
    held_elsewhere = (
        (
            "data.train",
            target.owner.x,
            "the victim is more confident on what it was trained on than on a user's inputs",
        ),
        ("the thief's pool", target.pool.x, "a gate that is set on the attack's own queries lets them pass"),
        ("the test set", target.test.x, "the test set is for evaluation only"),
    )
    if target.owner.natural is not None:
        refuse_shared(
            target.owner.natural,
            "natural inputs (data.natural)",
            held_elsewhere,
            "Give inputs like a user's that are in no other file.",
        )


def refuse_shared(x: Batch, what: str, others: Sequence[tuple[str, Tensor, str]], instead: str) -> None:
    """Raises BadConfig if some of x are also in another set, of which the name, the inputs and the reason are given."""
    for name, held, reason in others:
        shared = overlap(x, held)
        if shared:
            raise BadConfig(
                f"{shared:,} of the {len(x):,} {what} are also in {name}: {reason}. Nothing was asked. {instead}"
            )


def check_budgets(text: str, thief: Attack, budgets: Sequence[int], target: Target) -> None:
    """Raises BadConfig for a budget too small to ask about one input, or too large for the pool to use up."""
    method = thief_facts(thief)
    if min(budgets) < method.repeats:
        raise BadConfig(
            f"'{text}' asks every input {method.repeats} times: a budget of {min(budgets):,} queries is too small to ask about one."
            " Raise --budget, or lower n."
        )
    most = len(target.pool) * method.draws_from_pool
    if 0 < most < max(budgets):
        raise BadConfig(
            f"the pool of {target.name} has {len(target.pool):,} inputs, with which '{text}' cannot fill a budget of"
            f" {max(budgets):,} queries. Lower --budget or give a larger --pool."
        )


def weight(cell: Cell) -> float:
    """What a cell costs, roughly, in training steps of 64 inputs: for the progress bar's ETA."""
    usual = getattr(cell.thief.learner, "fit", None) if isinstance(cell.thief, Theft | NamesOnly) else None
    return steps(cell, usual if isinstance(usual, Fit) else Fit())


def steps(cell: Cell, fit: Fit) -> float:
    """The steps of a cell's trainings if each went by `fit`."""
    if isinstance(cell.thief, NamesOnly):
        return fit.steps(cell.thief.n) * (1 + facts(cell.thief.learner).cost)
    if not isinstance(cell.thief, Theft):
        return float(Fit().steps(0))
    method = thief_facts(cell.thief)
    one = fit.steps(round(cell.budget / method.repeats)) * fit.batch / Fit().batch
    return one * (1 + method.cost)


def queries(cells: Sequence[Cell], target: Target) -> int:
    """How many inputs a run sends at most: the largest budget of each client, and those of the evaluation.

    Learners share a client, and budgets do where they can (see `Cell.client`). A local target is asked once per defense;
    a remote API only once, since the defenses stand on this side of it.
    """
    most: dict[tuple[str, str], int] = {}
    for cell in cells:
        defense = "" if target.remote else repr(cell.defenses)
        most[defense, cell.client] = max(most.get((defense, cell.client), 0), cell.budget)
    return sum(most.values()) + evaluation_queries(cells, target)


def evaluation_queries(cells: Sequence[Cell], target: Target) -> int:
    """Of these, what the evaluation asks: the test set (some of it twice for an API) and inputs unlike it, uniform inputs,
    --follow-on's."""
    own = len(target.test) + shifted_queries(target) + max((cell.uniform for cell in cells), default=0)
    return own + repeated_queries(target) + follow_on_queries(cells, target)


def repeated_queries(target: Target) -> int:
    """How many test inputs an API is asked a second time, to see whether its answers repeat."""
    return min(REPEATED, len(target.test)) if target.remote else 0


def follow_on_queries(cells: Sequence[Cell], target: Target) -> int:
    """How many answers --follow-on takes at most: per clone, once for the model itself, for noise and for members."""
    copies = sum(cell.follow_on for cell in cells)
    moved, members = min(EVADED, len(target.test)), min(KNOWN, len(target.owner.x))
    return (copies + 1) * (4 * moved + INVERTED) + moved + members if copies else 0
