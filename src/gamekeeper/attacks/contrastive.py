"""SwiftThief's representation learning: SimSiam on unqueried inputs, a soft supervised contrast on answered ones.

Source      Lee, Han, Lee, "SwiftThief: enhancing query efficiency of model stealing by contrastive learning"
            (IJCAI 2024) and the authors' code; SimSiam: "Exploring simple Siamese
            representation learning" (CVPR 2021)
Equations   L = L_self(unqueried) + L_soft(answered) + 0.01 L_sharp(answered), with D(p, z) = -cos(p, z), z held fixed:
            L_self = D(p1, z2)/2 + D(p2, z1)/2; L_soft = -mean w_ij cos(p_i, z_j) over the two views together, i != j,
            w_ij = (1 - H(y_i)/log k)(1 - H(y_j)/log k) cos(y_i, y_j), pairs of weight 0 not counted;
            L_sharp = cost_y L_self(x1 + 0.01 sgn(dL_self/dx1), x2), cost_c = (1 - b)/(1 - b^(n_c + 1)), scaled to sum 1
Deviations  each phase has its own learning-rate cycle, where the authors use one cosine decay over all of them; the
            sizes are in swift_thief.py
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from gamekeeper.attacks.augment import view
from gamekeeper.attacks.rounds import span
from gamekeeper.attacks.steps import climb
from gamekeeper.data.transforms import Images
from gamekeeper.models.layout import autocast, image_memory
from gamekeeper.simplex import entropy
from gamekeeper.training.fit import Fit, descend
from gamekeeper.types import Batch, Box, Posterior

Pair = tuple[Tensor, Tensor]
SHARPNESS, REACH, BETA = 0.01, 0.01, 0.99


class Siamese(nn.Module):
    """A network's features, a projector of two layers and a predictor with a bottleneck a quarter as wide."""

    def __init__(self, body: nn.Module, features: int, width: int) -> None:
        super().__init__()
        self.body = body
        self.projector = nn.Sequential(
            nn.Linear(features, width, bias=False), nn.BatchNorm1d(width), nn.ReLU(),
            nn.Linear(width, width, bias=False), nn.BatchNorm1d(width, affine=False),
        )  # fmt: skip
        self.predictor = nn.Sequential(
            nn.Linear(width, width // 4, bias=False),
            nn.BatchNorm1d(width // 4),
            nn.ReLU(),
            nn.Linear(width // 4, width),
        )

    def forward(self, x: Batch) -> Pair:
        """Prediction p and projection z, (n, width) each."""
        with autocast():
            z = self.projector(self.body(image_memory(x)))
            p = self.predictor(z)
        return p.float(), z.float()


def contrast(
    net: Siamese,
    unasked: Images,
    x: Float[Tensor, "m c h w"],
    y: Float[Tensor, "m k"],
    box: Box,
    flip: bool,
    recipe: Fit,
    seed: int,
) -> None:
    """Trains `net` in place; each step takes a batch of unqueried inputs and half as many answered ones (x, y).

    Does nothing with fewer than two unqueried inputs, or no epochs.
    """
    if len(unasked) < 2 or recipe.epochs == 0:
        return
    generator = torch.Generator().manual_seed(seed)
    cost = costs(y.argmax(1), y.shape[1])

    def objective(rows: Int[Tensor, " b"]) -> Float[Tensor, ""]:
        one, two = (view(unasked[rows], box, generator, flip) for _ in range(2))
        loss = unlike(net(one), net(two)).mean()
        some = torch.randperm(len(x), generator=generator)[: recipe.batch // 2]
        if len(some) < 2:
            return loss
        one, two = (view(x[some], box, generator, flip) for _ in range(2))
        return loss + answered_loss(net, one, two, y[some], cost, box)

    descend(net, len(unasked), objective, recipe, seed)


def answered_loss(net: Siamese, x1: Images, x2: Images, y: Posterior, cost: Tensor, box: Box) -> Float[Tensor, ""]:
    """L_soft + 0.01 L_sharp of two views of answered inputs."""

    def score(one: Batch, two: Batch) -> Float[Tensor, " n"]:
        return unlike(net(one), net(two))

    sharp = climb(net, score, x1, (x2,), REACH * span(box), box)
    net.train()
    (p1, z1), (p2, z2) = net(x1), net(x2)
    soft = soft_loss(torch.cat([p1, p2]), torch.cat([z1, z2]), torch.cat([y, y]).float())
    weighted = (cost[y.argmax(1)] * unlike(net(sharp), (p2, z2))).mean()
    return soft + SHARPNESS * weighted


def unlike(one: Pair, two: Pair) -> Float[Tensor, " n"]:
    """L_self for each row of two views' (p, z), from -1 (alike) to 1. No gradient flows into z."""
    (p1, z1), (p2, z2) = one, two
    return -(F.cosine_similarity(p1, z2.detach()) + F.cosine_similarity(p2, z1.detach())) / 2


def soft_loss(p: Float[Tensor, "n d"], z: Float[Tensor, "n d"], y: Posterior) -> Float[Tensor, ""]:
    """L_soft: pulls together inputs with similar, confident answers. No gradient flows into z; 0 if no pair has weight."""
    w = weights(y).fill_diagonal_(0.0)
    cosine = F.normalize(p) @ F.normalize(z.detach()).T
    return -(w * cosine).sum() / (w > 0).sum().clamp(min=1)


def weights(y: Posterior) -> Float[Tensor, "n n"]:
    """w_ij, 0 to 1: 1 for identical one-hot answers, 0 if either is uniform."""
    sure = (1 - entropy(y) / torch.log2(torch.tensor(float(y.shape[1])))).clamp(0, 1)
    unit = F.normalize(y)
    return torch.outer(sure, sure) * (unit @ unit.T)


def costs(label: Int[Tensor, " n"], classes: int) -> Float[Tensor, " k"]:
    """Weight of each class by how often it was answered: rare classes weigh more; the weights sum to 1."""
    cost = (1 - BETA) / (1 - BETA ** (torch.bincount(label, minlength=classes) + 1.0))
    return cost / cost.sum()
