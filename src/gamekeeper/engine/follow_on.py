"""What a clone is good for: crafted inputs, inverted classes and membership.

Everything is scored on the clean victim, since a defense changes answers and not what the model takes an input for.
Inputs and classes are drawn once, with a fixed seed, so that all clones of a target face the same ones.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn
from torch.nn import functional as F

from gamekeeper.data.splits import row_keys
from gamekeeper.engine.evaluate import CloneMetrics, rate
from gamekeeper.engine.grid import EVADED, INVERTED, KNOWN
from gamekeeper.engine.pictures import Pictures, drawable, strip
from gamekeeper.follow_on import evasion, membership
from gamekeeper.follow_on.inversion import Invert, invert
from gamekeeper.metrics import Estimate
from gamekeeper.models.network import TorchModel
from gamekeeper.results import Evasion, FollowOn, Inversion, Membership
from gamekeeper.targets.target import Target, boxed
from gamekeeper.types import Batch, Box, Model, Posterior, Ranges, need_box
from gamekeeper.units import UnitBox, in_unit_box

SEED = 20_260_001
NO_GRADIENT = "evasion and inversion need the gradients of a network's logits, which this clone does not have"
NEVER_RIGHT = "evasion needs test inputs that the model gets right; there are none"
NO_MEMBERS = "membership needs the owner's training inputs that no thief holds; none were given"


@dataclass
class FollowOnEvaluator:
    """Tries clones of one target; everything they share is worked out once."""

    clone_metrics: CloneMetrics

    @cached_property
    def target(self) -> Target:
        """In a box, as its thieves see it: steps are fractions of each column's range."""
        return boxed(self.clone_metrics.target)

    @cached_property
    def victim(self) -> Model:
        domain, victim = self.clone_metrics.target.box, self.clone_metrics.open_victim()
        return in_unit_box(victim, UnitBox(domain)) if isinstance(domain, Ranges) else victim

    @property
    def box(self) -> Box:
        return need_box(self.target.box, "--follow-on")

    @cached_property
    def reach(self) -> float:
        return evasion.reach_of(self.box)

    @cached_property
    def rows(self) -> Int[Tensor, " n"]:
        """At most EVADED test inputs that the victim gets right, at random."""
        right = self.clone_metrics.clean.argmax(1) == self.clone_metrics.truth
        order = shuffled(len(right))
        return order[right[order]][:EVADED]

    @cached_property
    def wanted(self) -> Int[Tensor, " n"]:
        """For each of those inputs another class, at random."""
        truth, classes = self.clone_metrics.truth[self.rows], self.target.victim.task.classes
        generator = torch.Generator().manual_seed(SEED)
        return (truth + 1 + torch.randint(classes - 1, truth.shape, generator=generator)) % classes

    @cached_property
    def noise(self) -> Int[Tensor, " n"]:
        """The victim's classes of those inputs under noise."""
        target = self.target
        return self.classes_of(evasion.noise(target.test.x[self.rows], self.reach, self.box, SEED))

    @cached_property
    def drawn(self) -> Int[Tensor, " k"]:
        """The classes to draw: at most INVERTED of those in the test set, at random, in order."""
        present = self.clone_metrics.truth.unique()
        return present[shuffled(len(present))[:INVERTED]].sort().values

    @cached_property
    def averages(self) -> Batch:
        """The mean test input of each drawn class."""
        return torch.stack([self.target.test.x[self.clone_metrics.truth == k].mean(0) for k in self.drawn])

    @cached_property
    def members(self) -> tuple[Int[Tensor, " m"], Int[Tensor, " m"]]:
        """As many rows of the owner's inputs as of the test set, at random: none is in both, and no thief holds any."""
        target = self.target
        own, test = row_keys(target.owner.x), row_keys(target.test.x)
        held = set(row_keys(target.pool.x)) | set([] if target.seeds is None else row_keys(target.seeds))
        inside = rows_without(own, held | set(test))
        outside = rows_without(test, held | set(own))
        n = min(KNOWN, len(inside), len(outside))
        return inside[shuffled(len(inside))[:n]], outside[shuffled(len(outside))[:n]]

    @cached_property
    def itself(self) -> tuple[FollowOn, Batch | None]:
        """The victim in the clone's place, and its pictures."""
        return self.tried(self.victim)

    def measure(self, copy: Model) -> tuple[FollowOn, Pictures | None]:
        """Scores of the clone and, beside them, of the victim itself; and pictures where inputs are images."""
        scores, x = self.tried(copy)
        reference, own = self.itself
        box, pictures = self.box, None
        if x is not None and drawable(box):
            through = None if own is None else strip(own, box)
            pictures = Pictures(self.drawn.numpy(), strip(self.averages, box), strip(x, box), through)
        return replace(scores, itself=reference), pictures

    def tried(self, copy: Model) -> tuple[FollowOn, Batch | None]:
        """Everything that can be done with this clone."""
        evaded, inverted, x = None, None, None
        lacking: list[str] = []
        if isinstance(copy, TorchModel) and copy.answers == "logits" and trainable(copy.net):
            evaded = self.evade(copy) if len(self.rows) else None
            inverted, x = self.invert(copy)
            lacking += [] if evaded else [NEVER_RIGHT]
        else:
            lacking.append(NO_GRADIENT)
        recalled = self.recall(copy) if len(self.members[0]) else None
        return FollowOn(evaded, inverted, recalled, lacking + ([] if recalled else [NO_MEMBERS])), x

    def evade(self, copy: TorchModel) -> Evasion:
        target, truth = self.target, self.clone_metrics.truth[self.rows]
        x, net = target.test.x[self.rows], copy.net
        fgsm, pgd = evasion.fgsm(self.reach), evasion.pgd(self.reach)

        def left(recipe: evasion.Craft) -> Tensor:
            return self.classes_of(evasion.away(net, x, truth, recipe, self.box, SEED)) != truth

        def led(recipe: evasion.Craft) -> Tensor:
            return self.classes_of(evasion.towards(net, x, self.wanted, recipe, self.box, SEED)) == self.wanted

        return Evasion(
            eps=self.reach,
            fgsm=rate(left(fgsm)),
            fgsm_targeted=rate(led(fgsm)),
            pgd=rate(left(pgd)),
            pgd_targeted=rate(led(pgd)),
            noise=rate(self.noise != truth),
            noise_targeted=rate(self.noise == self.wanted),
        )

    def invert(self, copy: TorchModel) -> tuple[Inversion, Batch]:
        x = invert(copy.net, self.drawn, Invert(), self.box)
        y = self.victim(x).y
        alike = correlation(x, self.averages)
        closest = alike.argmax(1) == torch.arange(len(x))
        confidence = y.gather(1, self.drawn[:, None]).double().mean()
        recognised = y.argmax(1) == self.drawn
        return Inversion(float(confidence), rate(recognised), float(alike.diagonal().mean()), rate(closest)), x

    def recall(self, model: Model) -> Membership:
        target, (inside, outside) = self.target, self.members
        members, others = target.owner.x[inside], target.test.x[outside]
        y: Posterior = model(members).y
        z = self.clone_metrics.clean[outside] if model is self.victim else model(others).y
        rates: dict[str, Estimate] = {}
        for name, score in membership.SCORES.items():
            scores = score(y, target.owner.truth[inside]), score(z, self.clone_metrics.truth[outside])
            rates |= {f"{name}_auc": membership.auc(*scores), f"{name}_caught": membership.caught(*scores)}
        return Membership(**rates)

    def classes_of(self, x: Batch) -> Int[Tensor, " n"]:
        """The clean victim's top-1 classes."""
        return self.victim(x).y.argmax(1)


def shuffled(n: int) -> Int[Tensor, " n"]:
    return torch.randperm(n, generator=torch.Generator().manual_seed(SEED))


def trainable(net: nn.Module) -> bool:
    """Whether it is a network with weights: trees and the like have no gradients."""
    return any(True for _ in net.parameters())


def rows_without(keys: list[bytes], out: set[bytes]) -> Int[Tensor, " n"]:
    """Numbers of the rows whose keys are not in `out`."""
    return torch.tensor([row for row, key in enumerate(keys) if key not in out], dtype=torch.long)


def correlation(a: Batch, b: Shaped[Tensor, "m ..."]) -> Float[Tensor, "n m"]:
    """Pearson's, over the entries of every pair of rows; 0 for a constant one."""
    rows = [F.normalize(x.flatten(1) - x.flatten(1).mean(1, keepdim=True), dim=1) for x in (a, b)]
    return rows[0] @ rows[1].T
