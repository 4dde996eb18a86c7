"""SwiftThief: contrastive learning on the whole pool saves queries; the last ones go to rare classes.

Source      Lee, Han, Lee, "SwiftThief: enhancing query efficiency of model stealing by contrastive learning"
            (IJCAI 2024) and the authors' code
Equations   in contrastive.py. Queries: the largest entropies of the clone; but once budget left <= |U| (mean n -
            mean_U n), with n the answers of each class and U the classes below the mean, the inputs of highest
            Gaussian kernel density (bandwidth 0.5) in the features of the rarest class answered so far
Assumes     a pool of images and a student with `features` and a `head` (architectures.Classifier); any answer
Deviations  sized for two cores: 5 contrastive epochs per round and 10 after the last (authors: 40 and 100), 2,000
            unqueried inputs (5,000 more every round), width 256 (2,048), 20 epochs of output matching per round (50) under
            our training recipe, whose cross-entropy has the gradient of their KL. Crops are mirrored only with
            flip=true, since mirroring changes the class of digits and letters. Answers are stored: the public code
            queries the victim again in every epoch, uncounted
Keeps       one network through all rounds; it is the clone, so SwiftThief is a whole attack, not just a way of querying
"""

from dataclasses import dataclass, field
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gamekeeper.architectures import Classifier, fresh
from gamekeeper.attacks.active_thief import most_uncertain
from gamekeeper.attacks.augment import need_images
from gamekeeper.attacks.contrastive import Siamese, contrast
from gamekeeper.attacks.pool import Chosen, FromPool
from gamekeeper.attacks.rounds import ask, grow, nothing, portion
from gamekeeper.errors import BadConfig, Unsuited
from gamekeeper.models.layout import image_memory
from gamekeeper.models.network import CHUNK, TorchModel
from gamekeeper.training.fit import Fit, fit
from gamekeeper.types import Batch, Box, Knowledge, Meter, Transfer, need_box

BANDWIDTH = 0.5
SPLIT = 5
"""Once rare classes are sought, a round is split into this many parts, and the rarest class is determined anew for each."""


@dataclass(frozen=True)
class SwiftThief:
    """A clone whose features are also learnt from unqueried pool inputs; it queries uncertain inputs, then rare classes.

    unasked  unqueried pool inputs used in each contrastive phase
    """

    rounds: int = 10
    epochs: int = 5
    last_epochs: int = 10
    unasked: int = 2000
    width: int = 256
    batch: int = 512
    rate: float = 0.06
    flip: bool = False
    fit: Fit = Fit(epochs=20, least_steps=200, rate=0.02)

    def __post_init__(self) -> None:
        if min(self.rounds, self.unasked) < 1 or min(self.epochs, self.last_epochs) < 0 or self.rate <= 0:
            raise BadConfig(
                "SwiftThief needs rounds and unasked of at least 1, epochs of at least 0 and a positive rate."
            )
        if self.width < 4 or self.batch < 4:
            raise BadConfig(f"SwiftThief needs width and batch of at least 4. Got {self.width} and {self.batch}.")

    @property
    def draws_from_pool(self) -> int:
        return 1

    def __call__(self, oracle: Meter, knows: Knowledge, seed: int) -> TorchModel:
        return self.steal(oracle, knows, seed)[1]

    def steal(self, oracle: Meter, knows: Knowledge, seed: int) -> tuple[Transfer, TorchModel]:
        """The transfer set and the clone. Raises Unsuited unless inputs are images and the student is a Classifier."""
        need_images(knows.box, "SwiftThief")
        generator = torch.Generator().manual_seed(seed)
        most = portion(oracle.left, self.rounds)
        thief = Thief(self, oracle, knows, seed, generator, most)
        pool = FromPool(knows.pool, thief.choose, most)
        transfer = ask(oracle, nothing(knows), pool.random(min(most, oracle.left), generator))
        transfer = grow(oracle, transfer, pool, partial(thief.learn, pool))
        if len(transfer.x):
            thief.phase(pool, transfer, self.last_epochs)
        return transfer, TorchModel(thief.net, knows.task)


@dataclass
class Thief:
    """The clone through all rounds, and how it chooses. Live.

    portion  queries per round
    learnt   answers the clone has been trained on
    """

    recipe: SwiftThief
    oracle: Meter
    knows: Knowledge
    seed: int
    generator: torch.Generator
    portion: int
    box: Box = field(init=False)
    net: Classifier = field(init=False)
    siamese: Siamese = field(init=False)
    learnt: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self.box = need_box(self.knows.box, "SwiftThief")
        net = fresh(self.knows.student, self.seed).eval()
        if not isinstance(net, Classifier):
            raise Unsuited(
                f"SwiftThief needs a student with features and a head (architectures.Classifier); {self.knows.student}"
                " makes another kind of network. Use one from gamekeeper.architectures."
            )
        self.net = net
        siamese = fresh(partial(Siamese, net.body, net.head.in_features, self.recipe.width), self.seed)
        assert isinstance(siamese, Siamese)
        self.siamese = siamese

    def learn(self, pool: FromPool[Classifier], transfer: Transfer) -> Classifier:
        """Trains once a whole round has been answered; between the parts of a rare-class round there is no training."""
        if len(transfer.x) - self.learnt >= self.portion:
            self.phase(pool, transfer, self.recipe.epochs)
        return self.net

    def phase(self, pool: FromPool[Classifier], transfer: Transfer, epochs: int) -> None:
        """Contrastive learning on the pool and the answers, then output matching on the answers."""
        some = torch.randperm(len(pool.rest), generator=self.generator)[: self.recipe.unasked]
        how = Fit(epochs, least_steps=8, rate=self.recipe.rate, batch=self.recipe.batch)
        x, y = transfer.x, transfer.reply.y.float()
        seed = int(torch.randint(2**31, (1,), generator=self.generator))
        contrast(self.siamese, pool.pool[pool.rest[some]], x, y, self.box, self.recipe.flip, how, seed)
        fit(self.net, x, y, self.knows.task.loss, self.recipe.fit, seed)
        self.learnt = len(transfer.x)

    def choose(self, net: Classifier, x: Batch, transfer: Transfer, most: int) -> Chosen:
        """The most uncertain rows of x, or those most like the rarest class (then only part of a round)."""
        label = transfer.reply.y.argmax(1)
        counts = torch.bincount(label, minlength=self.knows.task.classes)
        if not seek_rare(counts, self.oracle.left):
            return most_uncertain(TorchModel(net, self.knows.task)(x).y, most)
        rarest = counts.where(counts > 0, len(label) + 1).argmin()
        like = density(features(net, x), features(net, transfer.x[label == rarest]))
        return like.argsort(stable=True, descending=True)[: min(most, -(-self.portion // SPLIT))]


def seek_rare(counts: Int[Tensor, " k"], left: int) -> bool:
    """Whether the remaining budget is no more than it takes to bring the classes below the mean up to it."""
    n = counts.double()
    below = n[n < n.mean()]
    return len(below) > 0 and left <= len(below) * float(n.mean() - below.mean())


def features(net: Classifier, x: Batch) -> Float[Tensor, "n d"]:
    """The network's features, in chunks."""
    with torch.no_grad():
        return torch.cat([net.features(image_memory(part)) for part in x.split(CHUNK)])


def density(points: Float[Tensor, "n d"], centers: Float[Tensor, "m d"]) -> Float[Tensor, " n"]:
    """Logarithm of the Gaussian kernel density of `centers` at `points`, up to a constant."""
    parts = [
        torch.logsumexp(-torch.cdist(part, centers).square() / (2 * BANDWIDTH**2), 1) for part in points.split(CHUNK)
    ]
    return torch.cat(parts)
