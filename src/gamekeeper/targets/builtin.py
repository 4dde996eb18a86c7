"""Targets that need no file: two shipped networks and three models fitted on scikit-learn's own data when loaded.

    mnist          LeNet for handwritten digits; the thief queries rendered letters
    fashion        LeNet for Fashion-MNIST; the thief queries rendered letters
    digits         MLP for scikit-learn's 8x8 digits; the thief queries blends of two held-out digits
    breast-cancer  logistic regression on 30 measurements; the thief queries uniform inputs
    wine           decision tree on 13 measurements; the thief queries uniform inputs

Test set, pool and training set share no example. Everything random has a fixed seed. scikit-learn is imported where it
is used: the shipped networks do not need it, which saves a second in every process.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor

from gamekeeper.architectures import LeNet, Mlp, fresh
from gamekeeper.data import batteries
from gamekeeper.data.dataset import Dataset
from gamekeeper.data.drawn.clothes import Clothes
from gamekeeper.data.drawn.digits import Digits
from gamekeeper.data.splits import split
from gamekeeper.models.network import TorchModel
from gamekeeper.models.opaque import SklearnModel
from gamekeeper.targets.files.local import load_torch
from gamekeeper.targets.target import Target, digest, file_hash, owner
from gamekeeper.tasks import Classify
from gamekeeper.training.fit import Fit, fit
from gamekeeper.types import Architecture, Box, Domain, Drawings, Model, Style

PRICE = 0.001
"""Money per query: one dollar per thousand, a common price for image APIs."""
POOL = 5_000
"""Size of the synthetic pools."""
SEEDS = 1_000
"""Inputs of the owner's own kind, given to thieves that start from such inputs; most use fewer."""
SEED = 20_260


def shipped(name: str) -> Target:
    """A LeNet that ships with the package, for 28x28 grey images."""
    box, task = Box((1, 28, 28)), Classify(10)
    architecture = LeNet(box.shape, task.classes)
    weights = batteries.weights(f"{name}-lenet")
    victim = load_torch(weights, architecture, task, box, "logits")
    train, test, pool = (batteries.load(part) for part in (f"{name}-train", f"{name}-test", "letters"))
    identity = {"builtin": name, "model": file_hash(weights)}
    target = assembled(identity, "torch", victim, box, (train, test, pool), architecture, architecture)
    natural = batteries.load(f"{name}-natural")
    return replace(
        target,
        owner=replace(target.owner, natural=natural.x, natural_truth=natural.y),
        seeds=train.x[:SEEDS],
        drawings=DRAWINGS[name],
        drawn_by=DRAWN_BY[name],
        style=STYLES.get(name),
        shifted={"other writers": batteries.load("digits-other")} if name == "mnist" else {},
    )


@cache
def digits() -> Target:
    """An MLP trained on 1,000 digits; 400 others are blended into the pool, 397 are the test set."""
    from sklearn.datasets import load_digits

    box, task = Box((1, 8, 8)), Classify(10)
    x, y = load_digits(return_X_y=True)
    images = torch.as_tensor(x, dtype=torch.float32).reshape(-1, 1, 8, 8) / 16
    train, held_out, test = split(Dataset(images, torch.as_tensor(y)), (1_000, 400, 397), SEED)
    assert train.y is not None
    architecture = Mlp(box.shape, task.classes, hidden=(128, 64))
    net = fit(fresh(architecture, SEED), train.x, train.y, torch.nn.functional.cross_entropy, Fit(), SEED)
    parts = (train, test, Dataset(blends(held_out.x, POOL, SEED)))
    identity = {"builtin": "digits", "fit": repr(Fit()), "torch": torch.__version__}
    target = assembled(identity, "torch", TorchModel(net, task), box, parts, architecture, architecture)
    return replace(target, seeds=held_out.x[:SEEDS])


def blends(x: Tensor, n: int, seed: int) -> Tensor:
    """n mixtures lam a + (1 - lam) b of two different rows, lam uniform in [0.3, 0.7]: soft answers, off the data."""
    generator = torch.Generator().manual_seed(seed)
    first = torch.randint(len(x), (n,), generator=generator)
    second = (first + torch.randint(1, len(x), (n,), generator=generator)) % len(x)
    lam = 0.3 + 0.4 * torch.rand((n, *[1] * (x.ndim - 1)), generator=generator)
    return lam * x[first] + (1 - lam) * x[second]


def table(
    name: str, load: Callable[..., Any], estimator: Any, sizes: tuple[int, int], student: Callable[..., Mlp]
) -> Target:
    """A scikit-learn model of one of its data sets, features scaled to [0, 1] by the range of the training rows."""
    import sklearn

    x, y = load(return_X_y=True)
    whole = Dataset(torch.as_tensor(x, dtype=torch.float32), torch.as_tensor(y))
    train, test = scaled_parts(split(whole, sizes, SEED))
    assert train.y is not None
    box, task = Box((x.shape[1],)), Classify(int(y.max()) + 1)
    estimator.fit(train.x.double().numpy(), train.y.numpy())
    parts = (train, test, Dataset(box.uniform(POOL, SEED)))
    identity = {"builtin": name, "model": repr(estimator), "sklearn": sklearn.__version__}
    architecture = student(box.shape, task.classes)
    return assembled(identity, "sklearn", SklearnModel(estimator, task), box, parts, architecture, architecture)


def scaled_parts(parts: tuple[Dataset, ...]) -> list[Dataset]:
    """Every part min-max scaled by the range of the first, and clipped to [0, 1]."""
    low, high = parts[0].x.amin(0), parts[0].x.amax(0)
    return [Dataset(((part.x - low) / (high - low)).clamp(0, 1), part.y) for part in parts]


def assembled(
    identity: Mapping[str, Any],
    kind: str,
    victim: Model,
    box: Domain,
    parts: tuple[Dataset, Dataset, Dataset],
    architecture: Architecture,
    student: Architecture,
) -> Target:
    """The target made of a victim and its training set, test set and pool; `identity` enters its digest."""
    train, test, pool = parts
    return Target(
        name=identity["builtin"],
        kind=kind,
        victim=victim,
        box=box,
        test=test,
        pool=pool,
        student=student,
        owner=owner(train, box, architecture),
        answers="logits" if kind == "torch" else "probabilities",
        price=PRICE,
        remote=False,
        digest=digest(identity, repr(victim.task), parts),
    )


def breast_cancer() -> Target:
    """Logistic regression; the thief trains a softmax regression, a model of the same family."""
    from sklearn.datasets import load_breast_cancer
    from sklearn.linear_model import LogisticRegression

    student = partial(Mlp, hidden=())
    return table("breast-cancer", load_breast_cancer, LogisticRegression(max_iter=1_000), (300, 269), student)


def wine() -> Target:
    """A decision tree, whose answers are constant on boxes."""
    from sklearn.datasets import load_wine
    from sklearn.tree import DecisionTreeClassifier

    return table("wine", load_wine, DecisionTreeClassifier(random_state=SEED), (100, 78), Mlp)


DRAWINGS: Mapping[str, Drawings] = {"mnist": Digits(), "fashion": Clothes()}
"""How a thief draws what the classes are called."""
DRAWN_BY: Mapping[str, str] = {"mnist": "Digits(bend=0.1)", "fashion": "Clothes(folds=0.25, grain=0.04)"}
"""The drawings that results of these targets stand for. They are no part of the digest; if they change, this line does not, and
the results of the new ones are others."""
STYLES: Mapping[str, Style] = {"mnist": Style(pen=(2.0, 3.5), slant=(0.15, 0.2), size=20.0)}
"""What is publicly known of the strokes: MNIST's digits fit 20x20 pixels and are centred by mass."""
AUXILIARY: Mapping[str, Mapping[str, str]] = {
    "mnist": {"related": "letters-other", "unrelated": "fashion-train"},
    "fashion": {"related": "letters-other", "unrelated": "mnist-train"},
}
"""Auxiliary inputs by their relation to the thief's letters: other letters of the same fonts, or no letters at all."""

BUILTIN: Mapping[str, Callable[[], Target]] = {
    "mnist": partial(shipped, "mnist"),
    "fashion": partial(shipped, "fashion"),
    "digits": digits,
    "breast-cancer": breast_cancer,
    "wine": wine,
}
TABLES = ("breast-cancer", "wine")
"""Those whose input is a row of numbers."""
