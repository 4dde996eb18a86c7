"""Fine-tuning: training the copy on, with true labels or its own, all layers or the last one.

    FTLL, FTAL  the last layer, all layers; true labels, 5 epochs
    RTLL, RTAL  the last layer begins anew; then it alone (10 epochs), or all layers (5), learn the copy's own labels

Source      Adi, Baum, Cisse, Pinkas, Keshet, "Turning your weakness into a strength" (USENIX Security 2018), section 5.3;
            epochs and rate as in the toolbox of Lukas, Jiang, Li, Kerschbaum, "SoK: How robust is image classification
            deep neural network watermarking?" (IEEE S&P 2022)
Assumes     a network whose last layer is linear, and inputs of the remover's own; FTLL and FTAL their labels as well
Deviations  Adam in one cycle with a peak rate of 0.001, since five epochs of plain SGD at that rate on a thousand inputs
            hardly move a weight
Keeps       the stolen model as it was
"""

from dataclasses import dataclass

from torch import Tensor, nn

from gamekeeper.errors import Unsuited
from gamekeeper.models.layout import autocast, image_memory
from gamekeeper.models.network import TorchModel
from gamekeeper.ownership.removals.layers import head, own_copy, reset
from gamekeeper.training.fit import Fit, Rows, descend, fit
from gamekeeper.types import Batch, Owner, Posterior


def short(epochs: int, rate: float) -> Fit:
    """A training of so many epochs, however few the inputs."""
    return Fit(epochs=epochs, least_steps=0, rate=rate, optimiser="adam")


@dataclass(frozen=True)
class FTLL:
    """Trains the last layer on, with true labels."""

    epochs: int = 5
    rate: float = 0.001

    def __call__(self, stolen: TorchModel, data: Owner, seed: int) -> TorchModel:
        need(stolen, data)
        copy = own_copy(stolen)
        last_layer(copy, data.x, stolen.task.target(data.truth), short(self.epochs, self.rate), seed)
        return copy


@dataclass(frozen=True)
class FTAL:
    """Trains all layers on, with true labels."""

    epochs: int = 5
    rate: float = 0.001

    def __call__(self, stolen: TorchModel, data: Owner, seed: int) -> TorchModel:
        need(stolen, data)
        copy = own_copy(stolen)
        y = stolen.task.target(data.truth)
        fit(copy.net, data.x, y, stolen.task.loss, short(self.epochs, self.rate), seed)
        return copy


@dataclass(frozen=True)
class RTLL:
    """Draws the last layer anew and trains it alone, with the copy's own labels."""

    epochs: int = 10
    rate: float = 0.001

    def __call__(self, stolen: TorchModel, data: Owner, seed: int) -> TorchModel:
        need(stolen, data)
        copy = own_copy(stolen)
        reset(head(copy.net), seed)
        last_layer(copy, data.x, own_labels(stolen, data.x), short(self.epochs, self.rate), seed)
        return copy


@dataclass(frozen=True)
class RTAL:
    """Draws the last layer anew and trains all layers, with the copy's own labels."""

    epochs: int = 5
    rate: float = 0.001

    def __call__(self, stolen: TorchModel, data: Owner, seed: int) -> TorchModel:
        need(stolen, data)
        copy = own_copy(stolen)
        reset(head(copy.net), seed)
        y = own_labels(stolen, data.x)
        fit(copy.net, data.x, y, stolen.task.loss, short(self.epochs, self.rate), seed)
        return copy


def need(stolen: TorchModel, data: Owner) -> None:
    """Raises Unsuited without inputs, or for a network that publishes something else than logits."""
    if not len(data.x):
        raise Unsuited("this removal trains the copy, and needs inputs of the remover's own. Got none.")
    if stolen.answers != "logits":
        raise Unsuited(f"this removal trains logits. The copy's outputs are {stolen.answers}; leave their softmax out.")


def own_labels(stolen: TorchModel, x: Batch) -> Posterior:
    """The top classes that the copy answers, one-hot."""
    return stolen.task.target(stolen(x).y.argmax(1))


def last_layer(copy: TorchModel, x: Batch, y: Tensor, recipe: Fit, seed: int) -> nn.Module:
    """Trains the last layer in place. The others stay in evaluation mode, so that no statistic of theirs moves either."""
    x = image_memory(x)
    copy.net.requires_grad_(False)
    head(copy.net).requires_grad_(True)

    def objective(rows: Rows) -> Tensor:
        copy.net.eval()
        with autocast():
            out = copy.net(x[rows])
        return copy.task.loss(out.float(), y[rows])

    descend(copy.net, len(x), objective, recipe, seed)
    return copy.net.requires_grad_(True)
