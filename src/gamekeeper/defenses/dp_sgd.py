"""DP-SGD: answers from a network trained with differential privacy, a baseline of Prediction Poisoning.

Source      Abadi, Chu, Goodfellow, McMahan, Mironov, Talwar, Zhang, "Deep learning with differential privacy" (CCS
            2016), Algorithm 1; as a baseline against theft: Orekondy, Schiele, Fritz, "Prediction Poisoning" (ICLR
            2020), 5.1
Equations   those of training/dp_sgd.py
Assumes     the owner's inputs and labels; an architecture without BatchNorm, which mixes the examples of a batch
Deviations  the answers come from another network than the victim: the owner's architecture, trained from scratch. sigma
            follows from the stated epsilon (training/dp_accounting.py); delta is 0.1/n. With momentum, which costs no
            privacy. Noise and samples come from the seed, not from a secure source: a measurement, not a release
Keeps       argmax: no

Differential privacy hides who was in the training set. It was not designed to prevent theft: a thief copies the answers
as well as before, but those of a less accurate model.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from gamekeeper.architectures import fresh
from gamekeeper.errors import BadConfig, Unsuited
from gamekeeper.facts import Strengths
from gamekeeper.models.network import TorchModel, alone
from gamekeeper.needs import needs_inputs
from gamekeeper.training.dp_accounting import epsilon, noise_for
from gamekeeper.training.dp_sgd import PrivateFit, train
from gamekeeper.training.surrogate import check, surrogate_seed
from gamekeeper.types import Batch, Model, Owner, Reply


@dataclass(frozen=True)
class DPSGD:
    """Answers with a network trained on clipped, noisy gradients.

    epsilon  of the (epsilon, delta)-differential privacy of the training set
    clip     norm to which each example's gradient is clipped
    batch    expected batch size
    epochs   passes over the owner's inputs, on average
    """

    epsilon: float = 3.0
    clip: float = 1.0
    batch: int = 128
    epochs: int = 6
    rate: float = 0.5
    momentum: float = 0.9

    permutes: ClassVar[bool] = False  # the answers come from its own network

    def __post_init__(self) -> None:
        if not (self.epsilon > 0 and self.clip > 0 and self.rate > 0 and 0 <= self.momentum < 1):
            raise BadConfig(
                f"DPSGD needs a positive epsilon, clip and rate, and a momentum from 0 to below 1. Got {self}."
            )
        if self.batch < 1 or self.epochs < 1:
            raise BadConfig(f"The batch and the epochs of DPSGD must be at least 1. Got {self.batch}, {self.epochs}.")

    @property
    def keeps_top1(self) -> bool:
        return False

    @property
    def strengths(self) -> tuple[Strengths, ...]:
        return (Strengths("epsilon={}", ("100", "30", "10", "3", "1")),)

    def arm(self, victim: Model, owner: Owner, seed: int) -> "Private":
        """Trains the network. Raises Unsuited without labelled inputs, or for an architecture with BatchNorm."""
        needs_inputs(owner, "DPSGD trains a network on labelled")
        net = fresh(owner.architecture, surrogate_seed("DPSGD", seed))
        check("DPSGD", TorchModel(net, victim.task), owner.architecture, owner.box.uniform(1, seed))
        if any(isinstance(layer, nn.modules.batchnorm._BatchNorm) for layer in net.modules()):
            raise Unsuited(
                f"DPSGD needs a network without BatchNorm, which mixes the examples of a batch; {owner.architecture}"
                " has it. Give the target an architecture without it."
            )
        q = min(1.0, self.batch / len(owner.x))
        steps = max(1, round(self.epochs / q))
        delta = 0.1 / len(owner.x)
        noise = noise_for(self.epsilon, q, steps, delta)
        recipe = PrivateFit(self.clip, noise, q, steps, self.rate, self.momentum)
        train(net, victim.task, owner.x, owner.truth, recipe, surrogate_seed("DPSGD noise", seed))
        return Private(TorchModel(net.eval(), victim.task), epsilon(q, noise, steps, delta), delta)


@dataclass(frozen=True, eq=False)
class Private:
    """DPSGD armed: the network that answers, and the privacy its training spent. Maps are the victim's, unchanged."""

    private: TorchModel
    epsilon: float
    delta: float

    def fresh(self) -> None:
        return None

    def respond(self, x: Batch, reply: Reply, memory: None) -> Reply:
        return Reply(alone(self.private.net, x, reply.y.dtype), reply.maps)
