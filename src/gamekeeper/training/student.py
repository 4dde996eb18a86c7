"""Training a thief's student, and the cache of trained clones on disk."""

import hashlib
import logging
import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from gamekeeper.architectures import fresh
from gamekeeper.errors import Unsuited
from gamekeeper.models.estimators import Estimator, Learns
from gamekeeper.models.layout import network_memory
from gamekeeper.models.network import TorchModel
from gamekeeper.training.fit import Fit, fit
from gamekeeper.types import Batch, Knowledge, Posterior

log = logging.getLogger(__name__)


@dataclass
class DiskCloneCache:
    """Trained clones in a folder, each under a hash of everything it was made from, so that no clone is trained twice.

    Thefts with the same inputs, targets, student, recipe and seed give the same clone: with the learner `labels`, that
    holds for every defense that keeps the top-1 class. `seconds` sums the training times of the clones loaded.
    """

    folder: Path
    seconds: float = field(default=0.0, init=False)

    def find(self, key: str, net: nn.Module) -> bool:
        """Loads the clone into `net`; False if there is none, or it cannot be read."""
        path = self.folder / f"{key}.safetensors"
        if not path.exists():
            return False
        try:
            with safe_open(path, "pt") as file:
                net.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
                self.seconds += float((file.metadata() or {})["seconds"])
        except (SafetensorError, RuntimeError, KeyError, ValueError):
            return False  # a damaged clone is trained again, and then replaced
        return True

    def keep(self, key: str, net: nn.Module, seconds: float) -> None:
        """Stores the clone: writes a temporary file and renames it. Two workers that race write the same bytes.

        If it cannot be stored (a full disk), that is only a warning: the theft itself is valid.
        """
        aside = self.folder / f"{key}.{os.getpid()}.new"
        tensors = {name: tensor.contiguous() for name, tensor in net.state_dict().items()}
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            save_file(tensors, aside, {"seconds": f"{seconds:.6f}"})
            aside.replace(self.folder / f"{key}.safetensors")
        except (OSError, SafetensorError) as error:
            with suppress(OSError):
                aside.unlink()
            log.warning(
                "a clone could not be stored in %s; it is trained again if it is needed: %s", self.folder, error
            )


def train(knows: Knowledge, x: Batch, y: Posterior, recipe: Fit, seed: int) -> TorchModel:
    """A fresh student trained on (x, y) with the task's loss. Without any answers it stays untrained."""
    student = fresh(knows.student, seed)
    if isinstance(student, Learns):
        if len(x):
            student.learn(x, y, seed)
        return TorchModel(student.eval(), knows.task)

    def teach(student: nn.Module) -> None:
        fit(student, x, y.float(), knows.task.loss, recipe, seed)

    return taught(knows, (x, y), recipe, seed, teach)


def taught(
    knows: Knowledge, data: tuple[Tensor, ...], recipe: object, seed: int, teach: Callable[[nn.Module], None]
) -> TorchModel:
    """A fresh student after `teach`, or the cached clone if there is one. Without any data it stays untrained.

    data    everything that `teach` learns from; the first tensor holds the inputs that were answered
    recipe  its repr, with `seed`, determines everything about `teach` that `data` does not
    """
    student = fresh(knows.student, seed)
    if isinstance(student, Estimator):
        raise Unsuited(
            f"{recipe} trains its student step by step, and {knows.student} is fitted in one go. Give it a network (put @mlp"
            " behind it), or take a learner that only changes the answers, such as soft or labels."
        )
    if len(data[0]) == 0:
        return TorchModel(student.eval(), knows.task)
    clones = knows.clones
    key = fingerprint(repr((knows.student, knows.task, recipe, seed, torch.__version__)), data)
    if clones is not None and clones.find(key, student):
        # the memory layout after training, so that a clone answers the same whether it was trained or loaded
        return TorchModel(network_memory(student.eval()), knows.task)
    start = time.perf_counter()
    teach(student)
    if clones is not None:
        clones.keep(key, student, time.perf_counter() - start)
    return TorchModel(student, knows.task)


def fingerprint(text: str, data: tuple[Tensor, ...]) -> str:
    """The first half of a SHA-256 over a text and the shapes, dtypes and bytes of tensors, in hexadecimal."""
    digest = hashlib.sha256(text.encode())
    for tensor in data:
        digest.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().numpy().data)
    return digest.hexdigest()[:32]
