"""Small victims for tests of ways of asking: 8x8 images of four classes, and points in the plane cut by a line."""

import torch

from gamekeeper.architectures import Mlp
from gamekeeper.models.network import TorchModel
from gamekeeper.service.oracles import Metered
from gamekeeper.tasks import Classify
from gamekeeper.training.fit import Fit
from gamekeeper.types import Box, Knowledge, Reply

QUICK = Fit(epochs=1, least_steps=5, rate=0.1)
IMAGES, PLANE = Box((1, 8, 8)), Box((2,))
TASK = Classify(4)
WEIGHTS = torch.randn(4, 64, generator=torch.Generator().manual_seed(0))


def images(x: torch.Tensor, /) -> Reply:
    """Softmax regression; each row by itself, so that answers do not depend on how queries are batched."""
    return Reply(torch.cat([torch.softmax((row.flatten() - 0.5) @ WEIGHTS.T, 0)[None] for row in x]))


def plane(x: torch.Tensor, /) -> Reply:
    """Two classes, softly, either side of x + 2y = 1.5."""
    score = 10 * (x[:, 0] + 2 * x[:, 1] - 1.5)
    return Reply(torch.softmax(torch.stack([score, -score], 1), 1))


def thief(pool: int = 300, **more) -> Knowledge:
    """One who steals the images' classifier."""
    more = {
        "student": Mlp((1, 8, 8), 4, (16,)),
        "seeds": IMAGES.uniform(10, 1),
        "groups": torch.arange(pool) % 5,
    } | more
    return Knowledge(IMAGES.uniform(pool, 2), IMAGES, TASK, **more)


def walker(hidden: tuple[int, ...] = ()) -> Knowledge:
    """One who steals the plane's."""
    return Knowledge(PLANE.uniform(300, 2), PLANE, Classify(2), Mlp((2,), 2, hidden), seeds=PLANE.uniform(10, 1))


def meter(budget: int, oracle=images, box: Box = IMAGES) -> Metered:
    return Metered(oracle, budget, box)


def linear(weights: torch.Tensor, bias: torch.Tensor, shape: tuple[int, ...]) -> TorchModel:
    """A clone whose logits are weights x + bias."""
    net = Mlp(shape, len(weights), ())()
    with torch.no_grad():
        net.head.weight.copy_(weights)
        net.head.bias.copy_(bias)
    return TorchModel(net.eval(), Classify(len(weights)))
