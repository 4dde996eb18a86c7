"""Before a run: is the victim worth stealing? One that guesses stops the run, before an API is paid for more than a sample.

What is asked here is asked again by the evaluation and by thieves, who find it in the ledger.
"""

import json
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from gamekeeper.analysis.skill import REORDERED, Skill, of_every_class
from gamekeeper.attacks.theft import Theft, thief_facts
from gamekeeper.engine.grid import Cell
from gamekeeper.engine.run import Stage, door, knowledge, one_answer, skill_on
from gamekeeper.errors import BadConfig
from gamekeeper.models.opaque import Decides
from gamekeeper.service.ledger import RecordedModel
from gamekeeper.service.oracles import Metered
from gamekeeper.targets.target import Target
from gamekeeper.types import Batch, Querying

SAMPLED = 200
"""Test inputs that an API is asked first, of every class."""
FEW, POOLED = 32, 256
"""Inputs of the pool that are asked first, and at most, to see whether they bring more than one class."""
VIEWS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "rows and columns exchanged": lambda x: x.transpose(-1, -2),
    "dark and light exchanged": lambda x: 1 - x,
    "top and bottom exchanged": lambda x: x.flip(-2),
    "left and right exchanged": lambda x: x.flip(-1),
    "red and blue exchanged": lambda x: x.flip(1),
}
"""What files do to images, which are (n, c, h, w) in 0 to 1, and a look at them shows at once."""
CLEAR = 0.9
"""Accuracy with the classes in another order from which nothing else is to be looked for: a wrong order of columns gives less."""
LISTED = 10
"""Classes named in a message."""
ACCEPT = "If you mean to steal it all the same, add --accept-weak-victim."


def check_victim(here: Stage, cells: Sequence[Cell]) -> int:
    """Raises BadConfig if the victim is no better than guessing, or gives one answer to all of the thieves' pool.

    Returns how many inputs an API was newly sent that thieves would have sent it.
    """
    target = here.target
    x, truth = target.test.x, target.test.y
    assert truth is not None, "load_target refuses a test set without labels"
    if target.remote:
        places = torch.from_numpy(of_every_class(truth.numpy(), SAMPLED))
        x, truth = x[places], truth[places]
        met = skill_on(here.open_victim()(x).y, truth)
    else:
        met = here.skill
    if not met.sound:
        otherwise = seen_otherwise(met, target, x, truth)
        reasons = [weakness(met), *causes(met, target, x, truth)] if otherwise is None else [otherwise]
        raise BadConfig(" ".join([*reasons, spent(target, len(x)), ACCEPT]))
    return check_pool(here, cells)


def check_pool(here: Stage, cells: Sequence[Cell]) -> int:
    """Asks what a thief would ask first, until answers differ. Raises BadConfig after POOLED inputs with one answer.

    Only of thieves who draw from the pool, and whose questions start alike at every budget: so nothing is bought twice.
    """
    for cell in sorted(cells, key=lambda one: -one.budget):
        method = thief_facts(cell.thief)
        if isinstance(cell.thief, Theft) and cell.thief.querying.prefix and method.draws_from_pool:
            return several_answers(here, cell, cell.thief.querying, min(POOLED, cell.budget // method.repeats))
    return 0


def several_answers(here: Stage, cell: Cell, querying: Querying, most: int) -> int:
    target = here.target
    taken, sent, y = 0, 0, torch.empty(0, 1)
    while taken < most and one_answer(y):
        taken = min(most, 2 * taken or FEW)
        victim = here.open_victim()
        transfer = querying(door(Metered(victim, taken, target.box), target), knowledge(cell, here.boxed), cell.seed)
        sent += victim.recorded.charged if isinstance(victim, RecordedModel) else 0
        y = transfer.usable().reply.y
    if len(y) and one_answer(y):
        raise BadConfig(
            f"{target.name} gives class {int(y[0].argmax())}, and always the same probabilities, to each of the first"
            f" {taken:,} inputs that a thief takes from the pool: a copy learns one class from them and nothing else."
            " Check that the pool is in the scale and units of the test set (`low` and `high` in [input],"
            f" {order_of_inputs(target)}), or give a --pool with inputs of several classes."
            f" {spent(target, min(SAMPLED, len(target.test)) + taken)} {ACCEPT}"
        )
    return sent


def weakness(met: Skill) -> str:
    """What is wrong, with the numbers that show it."""
    if met.classes < 2:
        return (
            f"all {met.n:,} test inputs have the same label, so nothing shows whether the model is better than guessing."
            " Give a test set with several classes, and check which column or folder holds its labels."
        )
    auc = f", area under the ROC curve {met.auc:.2f} where it gives 0.50" if met.auc is not None else ""
    numbers = f"balanced accuracy {met.balanced:.2f} where guessing gives {1 / met.classes:.2f}{auc}"
    if met.better:
        return f"the model's classes seem to be in another order than the labels of its own test set ({numbers})."
    return (
        f"on {met.n:,} inputs of its own test set the model is not clearly better than guessing: {numbers}. A copy of it"
        " would mean nothing."
    )


def causes(met: Skill, target: Target, x: Batch, truth: Tensor) -> list[str]:
    """What is probably wrong, a sentence each; none where the test set itself shows nothing."""
    if met.classes < 2:
        return []
    if met.order is not None:
        changed = [
            f"{given} for {meant}" for given, meant in enumerate(met.order) if given != meant and given in met.answered
        ]
        more = ", …" if len(changed) > LISTED else ""
        other = (
            f"With its classes in another order ({', '.join(changed[:LISTED])}{more}) it would be right on"
            f" {100 * met.reordered:.0f} % of them: {reordering(met, target)}"
        )
        return [other] if met.reordered >= CLEAR else [other, f"Otherwise check {possible(target)}."]
    if isinstance(target.victim, Decides) and skill_on(one_hot(target.victim.decisions(x), target), truth).sound:
        return [
            "Its own `predict` is clearly better than its probabilities, as with the Platt scaling of scikit-learn's SVC:"
            ' declare answers = "labels", or calibrate it with CalibratedClassifierCV.'
        ]
    if len(met.answered) == 1:
        return [
            f"It gives class {met.answered[0]} to every one of them: check the scale and units of the inputs (`low` and"
            f" `high` in [input]; 0 to 1 or 0 to 255), then {order_of_inputs(target)}."
        ]
    return [f"Check {possible(target)}."]


def possible(target: Target) -> str:
    """What to look at where the answers show no cause."""
    column = "which column holds the labels (`label` in [data])" if target.schema.columns else "the labels themselves"
    return (
        f"the order of the classes ({'`labels`, ' * target.remote}`classes`), the scale and units of the inputs (`low` and"
        f" `high` in [input]; 0 to 1 or 0 to 255), {order_of_inputs(target)}, and {column}"
    )


def reordering(met: Skill, target: Target) -> str:
    """What puts the classes in the order that fits: the list to write, where names give it and the answers settle it."""
    names, order = target.schema.names, met.order
    if target.remote or order is None or len(met.answered) < len(names) - 1 or len(names) != len(order):
        return "correct the order of `labels` or `classes`, or the numbers of the labels in the test set."
    listed = ", ".join(json.dumps(names[each], ensure_ascii=False) for each in order)
    return f"write down the names in the model's order, classes = [{listed}]."


def order_of_inputs(target: Target) -> str:
    return "the order of columns (`columns` in [data])" if target.schema.columns else "the order of columns or channels"


def seen_otherwise(met: Skill, target: Target, x: Batch, truth: Tensor) -> str | None:
    """Which of VIEWS makes the model far better, in a sentence; None of an API, which would charge for every one."""
    if target.remote or x.ndim != 4 or met.classes < 2:
        return None
    places = torch.from_numpy(of_every_class(truth.numpy(), SAMPLED))
    x, truth = x[places], truth[places]
    views = {name: skill_on(target.victim(change(x)).y, truth) for name, change in VIEWS.items()}
    name = max(views, key=lambda each: views[each].accuracy)
    best = views[name]
    if not best.sound or best.accuracy < max(met.accuracy, met.reordered) + REORDERED:
        return None
    return (
        f"the model is right on {100 * met.accuracy:.0f} % of its own test set, and with {name} in every image on"
        f" {100 * best.accuracy:.0f} %: correct the images in the files, or how the model's inputs are prepared."
    )


def one_hot(labels: Tensor, target: Target) -> Tensor:
    return torch.nn.functional.one_hot(labels.long(), target.victim.task.classes).float()


def spent(target: Target, most: int) -> str:
    """What the check itself has cost."""
    if not target.remote:
        return "Nothing was stolen."
    return f"At most {most:,} inputs were sent; their answers are in the ledger and will not be paid for again."
