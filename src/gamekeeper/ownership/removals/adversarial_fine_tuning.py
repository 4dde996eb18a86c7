"""Adversarial fine-tuning: training all layers on, on inputs moved to where the copy errs most.

Source      Madry, Makelov, Schmidt, Tsipras, Vladu, "Towards deep learning models resistant to adversarial attacks"
            (ICLR 2018); steps as in the toolbox of Lukas et al. (IEEE S&P 2022): 40 of 0.01
Equations   min E[L(F(x + d), y)], d by projected gradient ascent on L within ||d||_inf <= eps
Assumes     inputs from a box, and their labels
Deviations  Adam and true labels as in FTAL; ascent begins at the input itself. The iterate is projected into the box, never
            clamped inside the graph: there saturated entries have no gradient, and the ascent fails in silence
Keeps       the stolen model as it was
"""

from dataclasses import dataclass

from torch import Tensor

from gamekeeper.errors import BadConfig
from gamekeeper.follow_on.evasion import Craft, away
from gamekeeper.models.layout import autocast, image_memory
from gamekeeper.models.network import TorchModel
from gamekeeper.ownership.removals.fine_tuning import need, short
from gamekeeper.ownership.removals.layers import own_copy
from gamekeeper.training.fit import Rows, descend
from gamekeeper.types import Owner, need_box


@dataclass(frozen=True)
class Adversarial:
    """Trains all layers on, with true labels, on inputs crafted against the copy as it is. eps and step in box widths."""

    eps: float = 0.1
    step: float = 0.01
    iterations: int = 40
    epochs: int = 5
    rate: float = 0.001

    def __post_init__(self) -> None:
        if not (0 < self.eps <= 1 and self.step > 0 and self.iterations > 0):
            raise BadConfig(
                f"Adversarial needs an eps in (0, 1], and a step and iterations above 0. Got {self.eps}, {self.step} and"
                f" {self.iterations}."
            )

    def __call__(self, stolen: TorchModel, data: Owner, seed: int) -> TorchModel:
        need(stolen, data)
        box = need_box(data.box, "Adversarial")
        recipe = Craft(self.eps, self.iterations, self.step / self.eps)
        copy = own_copy(stolen)
        x, truth, y = image_memory(data.x), data.truth.long(), stolen.task.target(data.truth)

        def objective(rows: Rows) -> Tensor:
            with autocast():
                near = away(copy.net, x[rows], truth[rows], recipe, box)
                out = copy.net.train()(image_memory(near))
            return stolen.task.loss(out.float(), y[rows])

        descend(copy.net, len(x), objective, short(self.epochs, self.rate), seed)
        return copy
