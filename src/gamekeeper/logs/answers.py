"""Answers in a log: probabilities, logits or labels, in every form that `protocols/answers.py` reads.

Source      none
Assumes     numbers stand in the order of the model's classes
Keeps       nothing
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from gamekeeper.errors import Malformed
from gamekeeper.logs.event import Unusable, shown
from gamekeeper.logs.mapping import AnswerTable
from gamekeeper.logs.paths import MISSING, first
from gamekeeper.logs.tensors import is_tensor, tensor
from gamekeeper.protocols.answers import answers
from gamekeeper.protocols.json import Expected, loads
from gamekeeper.types import Posterior

Array = np.ndarray[Any, np.dtype[Any]]
KIND = "an answer that cannot be read"
ROUNDED = 0.01
"""How far probabilities that were rounded may sum to more than 1."""


@dataclass(frozen=True)
class AnswerReader:
    """Reads the answers of records as a mapping declares them.

    table    [answer] of the mapping
    classes  how many the target has; None: as the mapping says, or as many as there are probabilities
    names    of the target's classes, if it has some
    """

    table: AnswerTable
    classes: int | None
    names: tuple[str, ...] = ()

    def __call__(self, fields: dict[str, Any], n: int | None) -> Posterior | None:
        """The answers to n inputs, (n, k); n is None where the log does not say. Raises Unusable."""
        value = first(fields, self.table.field)
        if value is MISSING:
            return None
        if isinstance(value, str):
            value = text_value(value)
        if is_tensor(value):
            value = tensor(value).tolist()
        fast = None if self.table.form == "labels" else rows(value, n, self.width)
        if fast is not None:
            return self.posterior(torch.from_numpy(fast))
        values = one_each(value, n, 1 if self.table.form == "labels" else self.width)
        if not values or n not in (None, len(values)):
            raise Unusable(KIND, f"{n or 'some'} inputs have {len(values)} answers")
        k = self.width or width_of(values)
        if k is None:
            raise Unusable(KIND, "labels need the number of classes: set `classes` or `names` in [answer]")
        labels = tuple(self.table.names or self.names) or None
        try:
            y = answers(values, Expected(len(values), k, labels))
        except (Malformed, OverflowError, RecursionError) as error:
            raise Unusable(KIND, shown(str(error), 300)) from None
        return self.labelled(y, k) if y.ndim == 1 else self.posterior(y)

    @property
    def width(self) -> int | None:
        """The number of classes, if the mapping or the target says."""
        names = self.table.names or self.names
        return self.table.classes or self.classes or (len(names) if names else None)

    def labelled(self, labels: Tensor, k: int) -> Posterior:
        """Labels as one-hot rows, NaN for an input without an answer."""
        if self.table.form in ("probabilities", "logits"):
            raise Unusable(KIND, f"{self.table.form} of {k} classes were expected; got labels")
        y = one_hot(labels.nan_to_num().long(), k).double()
        if labels.is_floating_point():
            y[labels.isnan()] = math.nan
        return y

    def posterior(self, y: Tensor) -> Posterior:
        """Logits as their softmax; checks that probabilities are some."""
        if self.table.form == "labels":
            raise Unusable(KIND, f"labels were expected; got {y.shape[1]} numbers for each input")
        if self.table.form == "logits":
            return y.softmax(1)
        values = y.numpy()  # a few numbers, where numpy's calls cost less than torch's
        # a row of NaN is an input without an answer
        least = np.fmin.reduce(values, None)
        if least < -1e-6 or np.fmax.reduce(values.sum(1)) > 1 + ROUNDED:
            raise Unusable(KIND, f'probabilities lie in 0 to 1; got {shown(str(values[0]))}. Set form = "logits"?')
        return y if least >= 0 else y.clamp(min=0)


def rows(value: Any, n: int | None, k: int | None) -> Array | None:
    """Lists of fractions as they nearly always are: an array (n, k); None for any other answers, which are read with care."""
    if not isinstance(value, list) or not value or not isinstance(value[0], float | list):
        return None
    try:
        y = np.asarray(value)
    except (ValueError, RecursionError, OverflowError):
        return None
    if y.dtype != np.float64 or y.ndim > 2:
        return None
    if y.ndim == 1:
        width = k or (len(y) // n if n else len(y))
        if width < 2 or len(y) % width:
            return None
        y = y.reshape(-1, width)
    plain = y.shape[1] == (k or y.shape[1]) > 1 and n in (None, len(y))
    return y if plain and bool(np.isfinite(y).all()) else None


def text_value(text: str) -> Any:
    """Text is JSON if it begins as a list or an object, and a label if not."""
    if text.lstrip()[:1] not in ("[", "{"):
        return text
    try:
        return loads(text.encode(errors="replace"))
    except ValueError:
        raise Unusable(KIND, f"it is text that is not JSON: {shown(text)}") from None


def one_each(value: Any, n: int | None, k: int | None) -> list[Any]:
    """The answers, one for each of n inputs: flat numbers are rows laid end to end, and one answer needs no list."""
    if not isinstance(value, list):
        return [value]
    flat = bool(value) and all(isinstance(each, int | float) for each in value)
    if not flat:
        return value if n in (None, len(value)) or n != 1 else [value]
    if n is None:
        n = len(value) // k if k and len(value) % k == 0 else 1
    if len(value) == n:
        return value
    if n and len(value) % n == 0:
        size = len(value) // n
        return [value[place : place + size] for place in range(0, len(value), size)]
    raise Unusable(KIND, f"{n} inputs have {len(value)} numbers for their answers")


def width_of(values: list[Any]) -> int | None:
    """How many numbers each answer has, if they are rows."""
    sizes = {len(each) for each in values if isinstance(each, list)}
    return sizes.pop() if len(sizes) == 1 and 1 not in sizes else None
