"""Models that give answers only, no gradients: exported programs, ONNX, scikit-learn, somebody else's API.

`Answers` turns every answer into a posterior, and raises Malformed for answers that are not what was declared.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from gamekeeper.errors import BadConfig, Malformed
from gamekeeper.models.answers import Answers, Kind
from gamekeeper.models.network import CHUNK
from gamekeeper.types import Batch, Reply, Task


@dataclass(frozen=True, eq=False)
class ExportedModel:
    """A program from a torch.export archive: tensors in, tensors out; its weights are not available."""

    program: Callable[[Tensor], Tensor]
    task: Task
    answers: Kind

    def __call__(self, x: Batch, /) -> Reply:
        with torch.no_grad():
            raw = torch.cat([self.program(part) for part in x.float().split(CHUNK)])
        return Reply(Answers(self.answers, self.task.classes).posterior(raw, len(x)))


@runtime_checkable
class OnnxSession(Protocol):
    """The part of onnxruntime.InferenceSession that is used."""

    def run(self, output_names: Sequence[str], input_feed: Mapping[str, Any], /) -> Sequence[Any]: ...


@dataclass(frozen=True, eq=False)
class OnnxModel:
    """An onnxruntime session with the names of its input and of the output that holds the answer.

    dtype  of the input; a model of bytes is given the nearest whole numbers, 0 to 255
    """

    session: OnnxSession
    task: Task
    answers: Kind
    input: str
    output: str
    dtype: torch.dtype = torch.float32

    def __call__(self, x: Batch, /) -> Reply:
        taken = x.round().clamp(0, 255).to(torch.uint8) if self.dtype == torch.uint8 else x.to(self.dtype)
        feeds = [{self.input: part.contiguous().numpy()} for part in taken.split(CHUNK)]
        raw = np.concatenate([np.asarray(self.session.run([self.output], feed)[0]) for feed in feeds])
        return Reply(Answers(self.answers, self.task.classes).posterior(numbers(raw), len(x)))


@runtime_checkable
class Decides(Protocol):
    """A model that can also say which class it decides for. That need not be the most probable one it publishes."""

    def decisions(self, x: Batch) -> Tensor: ...


def flat_rows(x: Batch) -> Any:
    return x.reshape(len(x), -1).double().numpy()


@dataclass(frozen=True, eq=False)
class SklearnModel:
    """A fitted scikit-learn classifier. Posteriors are float64, from predict_proba, or one-hot labels, float32.

    answers  "probabilities" or "labels"; by default probabilities where the estimator has them

    names    of the classes, in the order of their numbers, where the estimator was fitted on names

    rows     from inputs to what the estimator takes; by default flat rows of float64

    The estimator's classes must be 0 to k-1, all of them, or these names: BadConfig otherwise.
    """

    estimator: Any
    task: Task
    answers: Kind | None = None
    names: tuple[str, ...] = ()
    rows: Callable[[Batch], Any] = flat_rows

    def __post_init__(self) -> None:
        name = type(self.estimator).__name__
        classes = getattr(self.estimator, "classes_", None)
        known = isinstance(classes, np.ndarray) and (
            self.numbered or sorted(self.names) == sorted(class_names(classes))
        )
        if self.names and not known:
            raise BadConfig(
                f"{name} must have been fitted on the classes {spelled(self.names)}. Its classes_ are {spelled(classes)}."
                " Write those in `classes` in the target file, in the order that you want them numbered."
            )
        if not known:
            raise BadConfig(
                f"{name} must have been fitted on classes 0 to {self.task.classes - 1}, all of them. {classes_of(classes)}"
            )
        if self.answers not in (None, "probabilities", "labels"):
            raise BadConfig(
                f"a scikit-learn model answers with probabilities or labels. Got '{self.answers}': declare one of them."
            )
        if self.answers == "probabilities" and not hasattr(self.estimator, "predict_proba"):
            raise BadConfig(
                f'{name} has no predict_proba. Declare answers = "labels", or calibrate the model and save it again.'
            )

    @property
    def numbered(self) -> bool:
        """Whether it was fitted on the numbers of the classes."""
        return np.ravel(self.estimator.classes_).tolist() == list(range(self.task.classes))

    @property
    def kind(self) -> Kind:
        """The kind of answers it gives."""
        return self.answers or ("probabilities" if hasattr(self.estimator, "predict_proba") else "labels")

    def __call__(self, x: Batch, /) -> Reply:
        raw = self.ask(self.estimator.predict_proba if self.kind == "probabilities" else self.estimator.predict, x)
        return Reply(Answers(self.kind, self.task.classes).posterior(raw, len(x)))

    def decisions(self, x: Batch) -> Tensor:
        """The classes that `predict` gives."""
        return self.ask(self.estimator.predict, x)

    def ask(self, method: Callable[[Any], Any], x: Batch) -> Tensor:
        rows = self.rows(x)
        with warnings.catch_warnings():
            # it was fitted on a table with column names; our columns are in the order of the data file
            warnings.filterwarnings("ignore", "X does not have valid feature names", UserWarning)
            raw = method(rows)
        return numbers(raw if self.numbered else self.in_order(raw, method == self.estimator.predict))

    def in_order(self, raw: Any, labels: bool) -> Any:
        """Answers of an estimator of names, by the numbers of the classes."""
        columns = class_names(self.estimator.classes_)
        if labels:
            return np.array([self.names.index(name) for name in class_names(raw)])
        return raw[:, [columns.index(name) for name in self.names]]


@dataclass(frozen=True, eq=False)
class Raw:
    """The unprocessed response of an API: answers (n, k) or labels (n,), and maps (n, h, w) if it returns them.

    hint  what to say of these answers if they are not what was declared
    """

    y: Tensor
    maps: Tensor | None = None
    hint: str = ""


@runtime_checkable
class Wire(Protocol):
    """Somebody else's API; `names` identify the queries."""

    def __call__(self, x: Batch, names: Sequence[bytes] | None = None, /) -> Raw: ...


@dataclass(frozen=True, eq=False)
class RemoteModel:
    """Somebody else's API as a model."""

    oracle: Wire
    task: Task
    answers: Kind
    early: list[Tensor] = field(default_factory=list[Tensor], init=False, repr=False)
    """The first raw answers (n, k): what each request by itself does not show, they may show together."""

    def __call__(self, x: Batch, /) -> Reply:
        return self.read(self.oracle(x), len(x))

    def named(self, x: Batch, names: Sequence[bytes], first: bool, /) -> Reply:
        """The same for named queries, so that the API can recognise a request that is sent again.

        first: nothing is known yet of what it answers, so that what merely looks wrong is refused as well.
        """
        raw = self.oracle(x, names)
        reply = self.read(raw, len(x), first)
        if first and self.answers == "logits":
            self.early.append(raw.y)
            together = torch.cat(self.early)
            self.read(Raw(together, hint=raw.hint), len(together), first)
        return reply

    def read(self, raw: Raw, n: int, first: bool = False) -> Reply:
        try:
            return Reply(Answers(self.answers, self.task.classes).posterior(raw.y, n, first), raw.maps)
        except Malformed as error:
            raise type(error)(f"{error} {raw.hint}".strip()) from None


def numbers(raw: Any) -> Tensor:
    """A library's answer as a tensor. Raises Malformed for anything but an array of numbers."""
    if not isinstance(raw, np.ndarray) or raw.dtype.kind not in "buif":
        met = f"an array of {raw.dtype}" if isinstance(raw, np.ndarray) else type(raw).__name__
        raise Malformed(f"the target must answer with an array of numbers; it answered with {met}.")
    return torch.from_numpy(np.ascontiguousarray(raw))


def class_names(classes: Any) -> list[str]:
    """Classes as text; whole numbers without decimals, as in a target file."""
    return [f"{each:g}" if isinstance(each, float) else str(each) for each in np.ravel(classes).tolist()]


def classes_of(classes: Any) -> str:
    """What an estimator was fitted on instead of 0 to k - 1, and what to declare then."""
    if not isinstance(classes, np.ndarray) or classes.ndim != 1:
        return "It has no classes_: it is not a fitted classifier of one label. Give one that is."
    names = class_names(classes)
    if names == [str(number) for number in range(len(names))]:
        return f"Its classes_ are 0 to {len(names) - 1}: declare classes = {len(names)}."
    listed = ", ".join(f'"{each}"' for each in names[:5]) + (", …" if len(names) > 5 else "")
    return f"Its classes_ are {spelled(classes)}: declare their names in this order, classes = [{listed}]."


def spelled(classes: Any) -> str:
    """At most five class names, for a message."""
    names = [str(c) for c in np.ravel(classes)[:5].tolist()]
    return ", ".join(names) + (", …" if np.size(classes) > 5 else "")
