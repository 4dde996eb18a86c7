"""Choosing what to ask: k-center against the plain loop, a JBDA round against one forward and backward pass.

k-center: 500 picks among 50,000 points of 10 numbers, from 100 centers. The plain loop in Python (for each pick, for
each point, one squared distance to the newest center) is timed on 2 picks and scaled up, since every pick does the same work.
JBDA round: the choice of parents, the step, the clipping and the search for repeated rows, for 2,048 images of 28x28 on LeNet;
against the gradient of the loss in the inputs alone, in chunks of the same size. One thread, CPU time, medians.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.timing import medians
from gamekeeper.architectures import LeNet, fresh
from gamekeeper.attacks.jbda import Jbda, jacobian_step
from gamekeeper.attacks.k_center import k_center
from gamekeeper.attacks.synthesis import Copies
from gamekeeper.models.network import CHUNK, TorchModel
from gamekeeper.tasks import Classify
from gamekeeper.types import Box, Reply, Transfer

POINTS, CLASSES, CENTERS, PICKS, PLAIN_PICKS = 50_000, 10, 100, 500, 2
ROWS, SHAPE = 2048, (1, 28, 28)
AIMS = {"k_center": 20.0, "jbda": 1.3}


def plain_picks(points: list[list[float]], gaps: list[float], k: int) -> list[int]:
    """What one would write first: gaps are squared distances to the centers so far."""
    gaps, chosen = list(gaps), []
    for _ in range(k):
        best = max(range(len(gaps)), key=gaps.__getitem__)
        chosen.append(best)
        center = points[best]
        for i, point in enumerate(points):
            gaps[i] = min(gaps[i], sum((a - b) ** 2 for a, b in zip(point, center, strict=True)))
    return chosen


def k_center_row() -> dict[str, object]:
    generator = torch.Generator().manual_seed(0)
    y = torch.softmax(3 * torch.randn(POINTS + CENTERS, CLASSES, generator=generator), 1)
    points, centers = y[:POINTS], y[POINTS:]
    gaps = torch.cdist(points.double(), centers.double()).amin(1).square().tolist()
    rows = points.tolist()
    assert k_center(points, centers, PLAIN_PICKS).tolist() == plain_picks(rows, gaps, PLAIN_PICKS)
    ours = medians({"ours": lambda: k_center(points, centers, PICKS)}, 3.0)["ours"]
    plain = medians({"plain": lambda: plain_picks(rows, gaps, PLAIN_PICKS)}, 0.5)["plain"] / PLAIN_PICKS * PICKS
    return {
        "points": POINTS,
        "classes": CLASSES,
        "picks": PICKS,
        "ours_seconds": round(ours, 3),
        "plain_seconds": round(plain, 1),
        "ratio": round(plain / ours),
        "aim": AIMS["k_center"],
    }


def plain_gradients(net: torch.nn.Module, x: Tensor, k: Tensor) -> list[Tensor]:
    parts: list[Tensor] = []
    for part, label in zip(x.split(CHUNK), k.split(CHUNK), strict=True):
        leaf = part.clone().requires_grad_()
        parts += torch.autograd.grad(F.cross_entropy(net(leaf), label), leaf)
    return parts


def jbda_row() -> dict[str, object]:
    box, recipe = Box(SHAPE), Jbda(direction="loss")
    clone = TorchModel(fresh(LeNet(SHAPE, CLASSES), 0).eval(), Classify(CLASSES))
    x = box.uniform(ROWS, 0)
    asked = Transfer(x, Reply(clone(x).y), ROWS)
    k = asked.reply.y.argmax(1)

    def craft() -> Tensor:
        copies = Copies(
            lambda clone, x, answered, copy, rho: jacobian_step(recipe, clone, x, answered, box, rho),
            recipe.lam, box, torch.Generator().manual_seed(0),
        )  # fmt: skip
        return copies(clone, asked, ROWS)

    spent = medians({"round": craft, "plain": lambda: plain_gradients(clone.net, x, k)}, 8.0)
    return {
        "rows": ROWS,
        "round_seconds": round(spent["round"], 3),
        "plain_seconds": round(spent["plain"], 3),
        "ratio": round(spent["round"] / spent["plain"], 3),
        "aim": AIMS["jbda"],
    }


def measure() -> dict[str, object]:
    torch.set_num_threads(1)
    return {"k_center": k_center_row(), "jbda": jbda_row()}


def show(result: dict[str, object]) -> None:
    line = (
        "k-center: {picks} of {points:,} x {classes} in {ours_seconds} s, plain loop {plain_seconds} s (scaled up):"
        " {ratio} times faster (aim {aim:g})"
    )
    print(line.format(**result["k_center"]))  # pyright: ignore
    line = (
        "JBDA round: {rows:,} rows in {round_seconds} s, gradients alone {plain_seconds} s: ratio {ratio} (aim {aim})"
    )
    print(line.format(**result["jbda"]))  # pyright: ignore
