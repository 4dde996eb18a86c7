"""Distillation: a new network learns from the copy's answers, and no weight is taken over.

Source      Hinton, Vinyals, Dean, "Distilling the knowledge in a neural network" (2015); as a removal, Lukas et al. (IEEE
            S&P 2022) and Szyller et al. (ACM MM 2021)
Equations   min E[-sum_k F(x)_k log S(x)_k], F the copy, S the new network
Assumes     inputs of the remover's own, without labels
Deviations  a temperature of 1, and the training that thieves use for whole answers
Keeps       the stolen model as it was
"""

from dataclasses import dataclass

from gamekeeper.architectures import fresh
from gamekeeper.models.network import TorchModel
from gamekeeper.ownership.removals.fine_tuning import need
from gamekeeper.training.fit import POSTERIOR, Fit, fit
from gamekeeper.types import Owner


@dataclass(frozen=True)
class Distilled:
    """Trains a new network on the copy's answers to the remover's own inputs."""

    fit: Fit = POSTERIOR

    def __call__(self, stolen: TorchModel, data: Owner, seed: int) -> TorchModel:
        need(stolen, data)
        y = stolen(data.x).y.float()
        return TorchModel(fit(fresh(data.architecture, seed), data.x, y, stolen.task.loss, self.fit, seed), stolen.task)
