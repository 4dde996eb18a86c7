"""Learning from explanations as well: the clone must answer as the victim does, and for the same reasons.

Source      Milli, Schmidt, Dragan, Hardt, "Model reconstruction from model explanations" (FAT* 2019); Lee, Han, Lee, "Model
            stealing defense against exploiting information leak through the interpretation of deep neural nets" (IJCAI
            2022), the adversary of its section 3
Equations   DeepDefense (1): L(f_A(x), y') + lambda |I(x) - I_A(x)|_F^2, differentiated through the clone's own explainer
Assumes     an API that sells attribution maps of the answered top class, made by an explainer the thief knows. Raises
            Unsuited for answers without maps, or with maps of another size than the clone's
Deviations  the papers leave lambda open. Here both maps are scaled to unit norm, and the two terms to similar size: for
            an untrained student the first is about ln k and the second about 2, so lambda multiplies ln k / 2; it
            is 1 by default and was not tuned. The clone's map is taken in evaluation mode, like the served one, and in
            float32. Milli et al. match gradients alone; without the answers a ReLU network's biases are not learnt
Keeps       no state: every budget and seed trains its own student
"""

import math
from dataclasses import dataclass
from typing import get_args

from jaxtyping import Float, Int
from torch import Tensor, nn

from gamekeeper.architectures import fresh
from gamekeeper.errors import BadConfig, Unsuited
from gamekeeper.explain import EXPLAINERS, ExplainerName, Maps
from gamekeeper.facts import Reads
from gamekeeper.learners.distil import normalised
from gamekeeper.models.layout import autocast, image_memory
from gamekeeper.training.fit import POSTERIOR, Fit, Rows, descend
from gamekeeper.training.student import taught, train
from gamekeeper.types import Batch, Knowledge, Model, Transfer

SMALLEST = 1e-12


def unit(maps: Maps) -> Maps:
    """Each map divided by its Frobenius norm; zero maps stay zero."""
    return maps / (maps.square().sum((1, 2), keepdim=True) + SMALLEST).sqrt()


def mismatch(own: Maps, maps: Maps) -> Float[Tensor, ""]:
    """||I - I_A||_F^2 of the maps at unit norm, mean over n: 0 if they are alike, 2 if they are orthogonal."""
    return (unit(own) - unit(maps)).square().sum((1, 2)).mean()


@dataclass(frozen=True)
class Attribution:
    """Answers and attribution maps together: the clone's own maps are pulled towards the served ones.

    weight     lambda, with both terms scaled alike; 0 is the soft learner
    explainer  how the API makes its maps
    """

    weight: float = 1.0
    explainer: ExplainerName = "gradient"
    fit: Fit = POSTERIOR

    def __post_init__(self) -> None:
        if self.weight < 0:
            raise BadConfig(f"The weight of Attribution must be at least 0. Got {self.weight}.")
        if self.explainer not in EXPLAINERS:
            raise BadConfig(
                f"The explainer of Attribution must be one of {', '.join(get_args(ExplainerName))}. Got {self.explainer}."
            )

    @property
    def reads(self) -> Reads:
        return "map"

    def __call__(self, transfer: Transfer, knows: Knowledge, seed: int) -> Model:
        x, y, maps = transfer.x, normalised(transfer.reply.y), transfer.reply.maps
        if maps is None:
            raise Unsuited("Attribution learns from attribution maps, and these answers hold none. Use soft or labels.")
        if self.weight == 0 or len(x) == 0:
            return train(knows, x, y, self.fit, seed)
        top, scale = y.argmax(1), self.weight * math.log(y.shape[1]) / 2
        self.check(maps, x, top, knows, seed)

        def teach(student: nn.Module) -> None:
            def objective(rows: Rows) -> Tensor:
                inputs = image_memory(x[rows])
                with autocast():
                    out = student(inputs)
                own = EXPLAINERS[self.explainer](student, inputs, top[rows])
                return knows.task.loss(out.float(), y[rows].float()) + scale * mismatch(own, maps[rows])

            descend(student, len(x), objective, self.fit, seed)

        return taught(knows, (x, y, maps), self, seed, teach)

    def check(self, maps: Maps, x: Batch, top: Int[Tensor, " n"], knows: Knowledge, seed: int) -> None:
        """Raises Unsuited unless the clone's maps have the size of the served ones."""
        own = EXPLAINERS[self.explainer](fresh(knows.student, seed), x[:1], top[:1])
        if own.shape[1:] != maps.shape[1:]:
            raise Unsuited(
                f"the served maps are {tuple(maps.shape[1:])}, those of {self.explainer} {tuple(own.shape[1:])}: the API"
                " uses another explainer. Name that one, or use soft."
            )
