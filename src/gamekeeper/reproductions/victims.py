"""Victims of published experiments, mostly on data sets that are not shipped: trained when loaded, from a user's folder.

    mnist-full, mnist-full-wide    LeNet trained on all 60,000 digits; pool: letters; clothes and letters
    fashion-full                   the shipped LeNet, trained on all 60,000 clothes, tested on the official 10,000;
                                   pool: digits and letters
    cifar10                        ResNet-8 trained on the images in the folder; pool: photographs
    mnist-maps, fashion-maps       the shipped LeNets with Grad-CAM maps in their answers; pool: clothes and digits
    cifar10-maps                   cifar10 with Grad-CAM maps in its answers
    iris, wine-lr, digits-lr, ...  scikit-learn models like Tramèr et al.'s, features scaled to [-1, 1], uniform pool
    adult-tree, adult-tree-large   decision trees on UCI Adult; `-incomplete`: the API accepts missing features

A network is trained once and saved under the hash of its recipe and data. Everything random has a fixed seed.
"""

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import sklearn
import torch
from safetensors.torch import save_file
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris, load_wine, make_moons
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.tree import DecisionTreeClassifier
from torch.nn import functional as F

from gamekeeper.architectures import LeNet, Mlp, ResNet, fresh
from gamekeeper.data import batteries
from gamekeeper.data.csv_files import NUMBER, table
from gamekeeper.data.dataset import Dataset
from gamekeeper.data.folder import find
from gamekeeper.data.readers import read
from gamekeeper.data.splits import split
from gamekeeper.models.opaque import SklearnModel
from gamekeeper.reproductions.smoothed_tree import SmoothedTree
from gamekeeper.targets.builtin import SEED, SEEDS, assembled
from gamekeeper.targets.choice import Choice, explaining
from gamekeeper.targets.files.local import load_torch
from gamekeeper.targets.target import Target, file_hash
from gamekeeper.tasks import Classify
from gamekeeper.training.fit import Fit, fit
from gamekeeper.types import Box, Model

SetName = Literal["mnist", "fashion", "cifar10", "letters", "photographs"]
Estimator = Literal["logistic", "one-vs-rest", "mlp", "tree", "tree-incomplete"]


@dataclass(frozen=True)
class Published:
    """A victim by its name in VICTIMS. Plain values; each worker process loads its own.

    data     folder of the data sets
    victims  folder in which trained networks are saved
    """

    name: str
    data: Path
    victims: Path

    def load(self) -> Target:
        """Raises BadConfig if a file is missing. A network that is not saved yet is trained first, which takes minutes."""
        return replace(VICTIMS[self.name].target(self.name, self.data, self.victims), name=self.name)


# images


@dataclass(frozen=True)
class Network:
    """A network for images, the data it is trained and tested on, and the thief's pool (training parts, joined).

    fit    None for the network that ships with the package
    """

    data: SetName
    pool: tuple[SetName, ...]
    fit: Fit | None

    def target(self, name: str, data: Path, victims: Path) -> Target:
        train, test = images(self.data, data)
        assert train.y is not None
        pool = joined([images(part, data)[0] for part in self.pool])
        box, task = Box(tuple(train.x.shape[1:])), Classify(10)
        architecture = LeNet(box.shape, 10) if box.shape[0] == 1 else ResNet(box.shape, 10)
        declared = {"builtin": self.data, "victim": repr((architecture, self.fit)), "torch": torch.__version__}
        if self.fit is None:
            path = batteries.weights(f"{self.data}-lenet")
            declared["victim"] = file_hash(path)
        else:
            key = hashlib.sha256(f"{declared} {train.digest()}".encode()).hexdigest()[:16]
            path = victims / f"{self.data}-{key}.safetensors"
            if not path.exists():
                net = fit(fresh(architecture, SEED), train.x, train.y, F.cross_entropy, self.fit, SEED)
                keep(path, net)
        victim = load_torch(path, architecture, task, box, "logits")
        target = assembled(declared, "torch", victim, box, (train, test, pool), architecture, architecture)
        return replace(target, seeds=target.owner.x[:SEEDS], price=0.0)  # in random order; the file is sorted by class


def keep(path: Path, net: torch.nn.Module) -> None:
    """Written to a temporary file and renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_suffix(f".{os.getpid()}.new")
    save_file({name: tensor.contiguous() for name, tensor in net.state_dict().items()}, aside)
    aside.replace(path)


def images(name: SetName, folder: Path) -> tuple[Dataset, Dataset]:
    """Training and test part; the test part is empty for sets that only serve as pools."""
    if name == "letters":
        letters = batteries.load("letters")
        return letters, letters.take(torch.arange(0))
    if name == "photographs":
        photographs = read(find(folder, "tiny_imagenet32_pool.npz"))
        return photographs, photographs.take(torch.arange(0))
    if name == "fashion":
        path = find(folder, "fashion-mnist")
        return read(path / "train-images-idx3-ubyte.gz"), read(path / "t10k-images-idx3-ubyte.gz")
    path = find(folder, {"mnist": "mnist.npz", "cifar10": "cifar10_subset.npz"}[name])
    return read(path, "y_train"), read(path, "y_test")


def joined(parts: list[Dataset]) -> Dataset:
    """All inputs in one set; only a single part keeps its classes."""
    return parts[0] if len(parts) == 1 else Dataset(torch.cat([part.x for part in parts]))


@dataclass(frozen=True)
class Shipped:
    """A built-in target with some changes, tested on the first `test` inputs only, since defending maps is slow."""

    choice: Choice
    test: int

    def target(self, name: str, data: Path, victims: Path) -> Target:
        target = self.choice.load()
        return replace(target, test=target.test.take(torch.arange(self.test)), price=0.0)


@dataclass(frozen=True)
class WithMaps:
    """A network with Grad-CAM maps in its answers, tested on the first `test` inputs."""

    network: Network
    test: int

    def target(self, name: str, data: Path, victims: Path) -> Target:
        target = explaining(self.network.target(name, data, victims), "grad_cam")
        return replace(target, test=target.test.take(torch.arange(self.test)))


# tables


@dataclass(frozen=True)
class Table:
    """A scikit-learn model of a table.

    label   column to predict, for UCI Adult
    sizes   numbers of training and test rows
    leaves  at most, for a tree
    pool    number of uniform inputs the thief has: the largest budget
    """

    data: str
    model: Estimator
    sizes: tuple[int, int]
    label: str = "income"
    leaves: int = 2
    pool: int = 15_000

    def target(self, name: str, data: Path, victims: Path) -> Target:
        tree = self.model.startswith("tree")
        whole = ordinal(find(data, "adult_train.csv.gz"), self.label) if tree else tabular(self.data, data, self.label)
        parts = split(whole, self.sizes, SEED)
        train, test = parts if tree else scaled(parts)
        assert train.y is not None
        box, task = Box((train.x.shape[1],), 0.0 if tree else -1.0), Classify(int(train.y.max()) + 1)
        estimator = ESTIMATORS[self.model](self)
        estimator.fit(train.x.double().numpy(), train.y.numpy())
        victim: Model = SklearnModel(estimator, task)
        if tree:
            victim = SmoothedTree(estimator, task, 0.0 if self.model == "tree-incomplete" else None)
        declared = {"builtin": name, "model": repr(estimator), "kind": self.model, "sklearn": sklearn.__version__}
        student = Mlp(box.shape, task.classes, hidden=())
        pool = Dataset(box.uniform(self.pool, SEED))
        return replace(assembled(declared, "sklearn", victim, box, (train, test, pool), student, student), price=0.0)


ESTIMATORS: Mapping[Estimator, Callable[[Table], Any]] = {
    "logistic": lambda _: LogisticRegression(max_iter=2_000),
    "one-vs-rest": lambda _: OneVsRestClassifier(LogisticRegression(max_iter=2_000)),
    # tanh units as in the authors' code; early stopping on a tenth of the training rows
    "mlp": lambda _: MLPClassifier((20,), "tanh", early_stopping=True, random_state=SEED),
    "tree": lambda t: DecisionTreeClassifier(max_leaf_nodes=t.leaves, min_samples_leaf=10, random_state=SEED),
    "tree-incomplete": lambda t: DecisionTreeClassifier(
        max_leaf_nodes=t.leaves, min_samples_leaf=10, random_state=SEED
    ),
}


def tabular(name: str, folder: Path, label: str) -> Dataset:
    """scikit-learn's sets by name (diabetes: class 1 is above the median of its measure), or UCI Adult, one-hot."""
    if name == "adult":
        return read(find(folder, "adult_train.csv.gz"), label)
    x, y = SKLEARN[name]() if name == "moons" else SKLEARN[name](return_X_y=True)
    classes = y > np.median(y) if name == "diabetes" else y
    return Dataset(torch.as_tensor(x, dtype=torch.float32), torch.as_tensor(classes).long())


SKLEARN: Mapping[str, Callable[..., Any]] = {
    "iris": load_iris,
    "wine": load_wine,
    "digits": load_digits,
    "breast-cancer": load_breast_cancer,
    "diabetes": load_diabetes,
    "moons": partial(make_moons, 1_000, noise=0.2, random_state=SEED),
}


def scaled(parts: tuple[Dataset, ...]) -> list[Dataset]:
    """Every part scaled to [-1, 1] by the range of the first, and clipped; a constant column becomes -1."""
    low, high = parts[0].x.amin(0), parts[0].x.amax(0)
    span = (high - low).where(high > low, torch.ones_like(low))
    return [Dataset(((part.x - low) / span).clamp(0, 1) * 2 - 1, part.y) for part in parts]


def ordinal(path: Path, label: str) -> Dataset:
    """A CSV table with one column per feature, in (0, 1]: 0 stays free for "not given".

    Numbers are scaled to [0.01, 1]; category j of s, sorted and counted from 1, becomes j / s.
    """
    whole = table(path)
    columns: dict[str, torch.Tensor] = {}
    for name in whole.head:
        cells = whole.column(name)
        if all(NUMBER.fullmatch(cell) for cell in cells):
            value = torch.tensor([float(cell) for cell in cells], dtype=torch.float64)
            columns[name] = 0.01 + 0.99 * (value - value.amin()) / (value.amax() - value.amin())
        else:
            names, number = np.unique(cells, return_inverse=True)
            columns[name] = torch.as_tensor((number + 1) / len(names))
    y = columns.pop(label)
    return Dataset(torch.stack(list(columns.values()), 1).float(), torch.unique(y, return_inverse=True)[1])


ADULT = (20_000, 10_000)
LENET = Fit(epochs=6, rate=0.05, batch=128)
CIFAR10 = Network("cifar10", ("photographs",), Fit(epochs=10, rate=0.1, batch=128))
VICTIMS: Mapping[str, Network | Shipped | WithMaps | Table] = {
    "mnist-full": Network("mnist", ("letters",), LENET),
    "mnist-full-wide": Network("mnist", ("fashion", "letters"), LENET),
    "fashion-full": Network("fashion", ("mnist", "letters"), None),
    "cifar10": CIFAR10,
    "cifar10-maps": WithMaps(CIFAR10, 250),
    "mnist-maps": Shipped(Choice("mnist", pool="fashion-train", explain="grad_cam", auxiliary="letters"), 500),
    "fashion-maps": Shipped(Choice("fashion", pool="mnist-train", explain="grad_cam", auxiliary="letters"), 500),
    "iris": Table("iris", "logistic", (90, 50)),
    "wine-lr": Table("wine", "logistic", (100, 78)),
    "digits-lr": Table("digits", "logistic", (1_000, 797)),
    "breast-cancer-lr": Table("breast-cancer", "logistic", (300, 269)),
    "diabetes": Table("diabetes", "logistic", (250, 192)),
    "moons": Table("moons", "logistic", (500, 500)),
    "adult-income": Table("adult", "logistic", ADULT),
    "adult-race": Table("adult", "logistic", ADULT, "race"),
    "adult-race-ovr": Table("adult", "one-vs-rest", ADULT, "race"),
    "adult-race-mlp": Table("adult", "mlp", ADULT, "race"),
    "adult-tree": Table("adult", "tree", ADULT, leaves=26, pool=40_000),
    "adult-tree-incomplete": Table("adult", "tree-incomplete", ADULT, leaves=26, pool=40_000),
    "adult-tree-large": Table("adult", "tree", ADULT, leaves=193, pool=200_000),
    "adult-tree-large-incomplete": Table("adult", "tree-incomplete", ADULT, leaves=193, pool=200_000),
}
