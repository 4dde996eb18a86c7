"""HODA: whether a client's queries are as hard to learn as benign ones of the same classes.

Source      Sadeghzadeh, Sobhanian, Dehghan, Jalili, "HODA: Hardness-oriented detection of model extraction attacks" (2021)
Equations   hardness(x) = the smallest e such that copies e, e+1, ... of a network in training all give the victim's label;
            score = PD(H, R) = 1 - corr(H, R), from 0 to 2: H the client's histogram of hardness, R that of benign queries
Assumes     inputs of the owner to train on, benign ones for R; an architecture that learns the task
Deviations  unless the owner has checkpoints of the victim's training, the copies are of a network of our own, trained on the
            victim's labels; copies are log-spaced, since most inputs are learnt within the first epoch. One level more
            than copies: never the victim's label. R is by predicted class, averaged over the client's own classes,
            since an uneven class mix is no theft. All queries so far, where the paper takes the last 50 or 100. A constant
            histogram, whose correlation is undefined, has PD 1
Keeps       of a client: a histogram and a count per class, both integers. Merging is exact

Every query costs as many passes as there are copies: more than the answer itself.
"""

import re
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Bool, Float, Int
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from gamekeeper.architectures import fresh
from gamekeeper.detectors.benign import Basis, class_means, parted
from gamekeeper.errors import BadConfig
from gamekeeper.models.layout import autocast, image_memory
from gamekeeper.models.network import TorchModel
from gamekeeper.needs import classes_of, needs_inputs
from gamekeeper.training.fit import Fit, Rows, descend
from gamekeeper.training.surrogate import check, surrogate_seed
from gamekeeper.types import Architecture, Batch, Model, Owner, Reply, Scores

FIRST = 4
"""Steps before the first copy is taken."""
TINY = 1e-9
"""A histogram of queries whose deviations are smaller is constant: they come from rounding."""


def hardness(agree: Bool[Tensor, "copies n"]) -> Int[Tensor, " n"]:
    """The first copy from which all agree with the victim, from 0 to the number of copies: the last one does not."""
    return len(agree) - agree.long().flip(0).cumprod(0).sum(0)


def pearson_distance(h: Float[Tensor, "n b"], r: Float[Tensor, "n b"]) -> Scores:
    """1 - the correlation of the rows of h and r; 1 where a row is constant."""
    h, r = h.double() - h.double().mean(1, keepdim=True), r.double() - r.double().mean(1, keepdim=True)
    scale = (h.square().sum(1) * r.square().sum(1)).sqrt()
    return 1 - (h * r).sum(1) / torch.where(scale > TINY, scale, torch.inf)


def taken_at(steps: int, copies: int) -> list[int]:
    """After which steps to take copies: log-spaced from FIRST to the last one, all different."""
    first = min(FIRST, steps)
    ratio = (steps / first) ** (1 / max(1, copies - 1))
    spaced = [round(steps / ratio**later) for later in reversed(range(copies))]
    return sorted({max(1, step) for step in spaced})


def in_training(
    architecture: Architecture, x: Batch, y: Int[Tensor, " n"], steps: int, copies: int, seed: int
) -> list[nn.Module]:
    """Copies of a fresh network while it learns these labels, earliest first."""
    net, recipe = fresh(architecture, seed), Fit(epochs=1, least_steps=steps)
    wanted = taken_at(recipe.steps(len(x)), copies)
    x, taken, done = image_memory(x), list[nn.Module](), 0

    def objective(rows: Rows) -> Tensor:
        nonlocal done
        if done in wanted:
            taken.append(deepcopy(net).eval())
        done += 1
        with autocast():
            out = net(x[rows])
        return F.cross_entropy(out.float(), y[rows])

    descend(net, len(x), objective, recipe, seed)
    return [*taken, net.eval()]


def from_folder(folder: str, architecture: Architecture) -> list[nn.Module]:
    """The owner's checkpoints: every safetensors file of a folder, in the order of the numbers in their names.

    Raises BadConfig for a folder without any, or for weights of another network.
    """
    paths = sorted(Path(folder).glob("*.safetensors"), key=lambda path: in_parts(path.stem))
    if not paths:
        raise BadConfig(f"the checkpoints of Hardness must be safetensors files in a folder. {folder} holds none.")
    nets: list[nn.Module] = []
    for path in paths:
        net = fresh(architecture, 0)
        try:
            net.load_state_dict(load_file(path))
        except (SafetensorError, RuntimeError, OSError) as error:
            raise BadConfig(f"{path} must hold the weights of {architecture}: {str(error)[:200]}") from error
        nets.append(net.eval())
    return nets


def in_parts(name: str) -> list[tuple[int, str]]:
    """So that step-4 comes before step-16."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]


@dataclass
class Histogram:
    """Of one client: queries at each level of hardness, and queries of each predicted class."""

    levels: Tensor
    classes: Tensor


@dataclass(frozen=True, eq=False)
class HardnessGap:
    """The Pearson distance of a client's histogram of hardness from that of benign queries of the same classes.

    copies     networks in training, earliest first
    reference  benign histograms, one per predicted class, each summing to 1
    """

    copies: Sequence[TorchModel]
    reference: Float[Tensor, "k b"]
    basis: Basis

    def levels(self, x: Batch, clean: Reply) -> Int[Tensor, " n"]:
        """How hard each input is, from 0 to the number of copies."""
        return level(self.copies, x, clean)

    def fresh(self) -> Histogram:
        k, b = self.reference.shape
        return Histogram(torch.zeros(b, dtype=torch.long), torch.zeros(k, dtype=torch.long))

    def score(self, x: Batch, clean: Reply, at: float, memory: Histogram) -> Scores:
        k, b = self.reference.shape
        levels = memory.levels + F.one_hot(self.levels(x, clean), b).cumsum(0)
        classes = memory.classes + F.one_hot(clean.y.argmax(1), k).cumsum(0)
        n = classes.sum(1, keepdim=True)
        scores = pearson_distance(levels / n, (classes.double() @ self.reference) / n)
        if len(scores):
            memory.levels, memory.classes = levels[-1].clone(), classes[-1].clone()
        return scores

    def merged(self, memories: Sequence[Histogram]) -> Histogram:
        start = self.fresh()
        for each in memories:
            start = Histogram(start.levels + each.levels, start.classes + each.classes)
        return start


def level(copies: Sequence[TorchModel], x: Batch, clean: Reply) -> Int[Tensor, " n"]:
    """How hard each input is to the copies, given the victim's answers."""
    top = clean.y.argmax(1)
    return hardness(torch.stack([copy.logits(x).argmax(1) == top for copy in copies]))


@dataclass(frozen=True)
class Hardness:
    """Whether a client's queries are as hard as benign ones (HODA), by copies of a network in training.

    copies       how many; each costs a pass per query
    steps        of its training, at least one pass over the owner's inputs
    checkpoints  a folder of the victim's own, safetensors files of the owner's architecture, earliest first by the numbers
                 in their names: they take the place of the copies, all of them. None if it is empty
    """

    copies: int = 5
    steps: int = 1_000
    checkpoints: str = ""

    def __post_init__(self) -> None:
        if self.copies < 1 or self.steps < 1:
            raise BadConfig(f"Hardness needs at least 1 copy and 1 step. Got {self}.")

    def arm(self, victim: Model, owner: Owner, seed: int) -> HardnessGap:
        """Raises Unsuited without classes, inputs of the owner, or an architecture for them."""
        k = classes_of(victim, "Hardness")
        needs_inputs(owner, "Hardness trains its copies on")
        mine, benign = parted("Hardness", owner, seed)
        own = surrogate_seed("Hardness", seed)
        check("Hardness", TorchModel(fresh(owner.architecture, own), victim.task), owner.architecture, benign[:1])
        nets = self.nets(victim, mine, own)
        copies = [TorchModel(net, victim.task) for net in nets]
        reply = victim(benign)
        levels = F.one_hot(level(copies, benign, reply), len(copies) + 1).double()
        reference, _ = class_means(levels, reply.y.argmax(1), k)
        return HardnessGap(copies, reference, Basis(len(benign), owner.natural is not None))

    def nets(self, victim: Model, owner: Owner, seed: int) -> list[nn.Module]:
        if self.checkpoints:
            return from_folder(self.checkpoints, owner.architecture)
        labels = victim(owner.x).y.argmax(1)
        return in_training(owner.architecture, owner.x, labels, self.steps, self.copies, seed)
