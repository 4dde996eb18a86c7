"""The kinds of answers a target can declare, how each becomes posteriors, and a check of every answer against them.

    probabilities   posteriors (n, k); rows sum to 1, rounding allowed
    logits          network outputs (n, k) before softmax
    labels          class numbers 0 to k-1, (n,) or (n, 1), or one-hot rows (n, k)
    top-k           posteriors (n, k) whose smaller entries are zero; rows sum to at most 1

A wrong declaration would silently give wrong results: softmax over probabilities makes every answer look diffuse, and
logits read as probabilities are not a posterior. So it is an error. Checking a batch takes a few microseconds, so every
batch is checked, and no model has to remember that it has passed.
"""

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from gamekeeper.errors import BadConfig, Malformed, Misdeclared
from gamekeeper.tasks import Classify
from gamekeeper.types import Posterior

Kind = Literal["probabilities", "logits", "labels", "top-k"]

KINDS = get_args(Kind)
OUTSIDE = 1e-4
"""How far an entry may be outside [0, 1], and a row's sum from 1 for rows that count as exact to float32."""
ROUNDED, ROUNDED_MOST = 0.01, 0.1
"""How far a row's sum may be from 1, per class, since APIs cut entries to two decimals; and at most, whatever the classes."""

MANY = 64
"""So many rows are evidence."""
SEVERAL = 16
"""So many logits do not all lie between 0 and 1 by chance."""
FEW = 4
"""Rows whose equal sums are no chance."""
UNITS = (100, 1_000, 255, 10_000, 65_535)


@dataclass(frozen=True)
class Answers:
    """The declaration: what kind of answer, over how many classes (at least 2)."""

    kind: Kind
    classes: int

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise BadConfig(f"answers must be one of {', '.join(KINDS)}. Got '{self.kind}'.")
        if self.classes < 2:
            raise BadConfig(f"the number of classes must be at least 2. Got {self.classes}.")

    def posterior(self, raw: Tensor, n: int, first: bool = False) -> Posterior:
        """The posteriors given by `raw`, the answers to n inputs. float64 stays float64.

        first: these are the first answers of all, where it is cheap to refuse what merely looks like another declaration.
        Rows with NaN or infinite values become rows of NaN, for the caller to reject; the others are checked without
        them. (A logit of -inf rules a class out and is no error.) Raises Malformed for answers that are not what was
        declared, and Misdeclared for those that may be but look like something else, naming the declaration that would fit.
        """
        raw = raw.detach()
        wrong = self._misshapen(raw, n)
        if wrong is not None:
            raise Malformed(self._message(wrong, raw, n))
        if self.kind == "logits" and n and raw.amin().item() < 0:
            return self._read(raw)  # not a posterior, so nothing to check; softmax turns broken rows into NaN by itself
        # a finite sum is the cheapest proof that all entries are finite: NaN and infinities never cancel
        broken = None if math.isfinite(raw.sum().item()) else self._broken(raw)
        whole = raw if broken is None else raw[~broken]
        wrong = complaint(self.kind, whole, self.classes)
        if wrong is None and self.kind == "logits" and len(whole):
            doubt = doubtful(floating(whole), first)
            if doubt is not None:
                raise Misdeclared(self._message(doubt, raw, n))
        if wrong is not None:
            raise Malformed(self._message(wrong, raw, n))
        if broken is None or self.kind == "logits":
            return self._read(raw)
        y = torch.full((n, self.classes), torch.nan, dtype=floating(raw).dtype)
        if not broken.all():
            y[~broken] = self._read(raw[~broken]).to(y.dtype)
        return y

    def _message(self, wrong: str, raw: Tensor, n: int) -> str:
        return (
            f"the target is declared to answer {self.kind} over {self.classes} classes, but {wrong}."
            f" {self._advice(raw, n)}"
        )

    def _misshapen(self, raw: Tensor, n: int) -> str | None:
        if raw.is_complex():
            return f"it answered with complex numbers ({raw.dtype})"
        if raw.ndim == 0 or len(raw) != n:
            return f"it gave {len(raw) if raw.ndim else 'a single number, not'} answers to {n} inputs"
        shape = tuple(raw.shape)
        if shape == (n, self.classes) or (self.kind == "labels" and shape in ((n,), (n, 1))):
            return None
        wanted = f"({n}, {self.classes})" if self.kind != "labels" else f"({n},) or ({n}, {self.classes})"
        return f"it answered with shape {shape} where {wanted} was expected"

    def _broken(self, raw: Tensor) -> Tensor:
        """Which rows hold no answer, as booleans."""
        bad = raw.isnan() | raw.isposinf() if self.kind == "logits" else ~raw.isfinite()
        return bad.reshape(len(raw), -1).any(1)

    def _advice(self, raw: Tensor, n: int) -> str:
        if raw.ndim == 0 or len(raw) != n or raw.is_complex():
            return "Each input needs one answer, in real numbers."
        whole = raw[~self._broken(raw)]
        y = floating(whole)
        unit = unit_of(y) or counted(y) if whole.ndim == 2 and len(whole) else None
        if unit is not None:
            return (
                f"They look like probabilities in units of 1/{unit}: declare answers = "
                f'"probabilities", and unit = {unit} in [http] (or divide by {unit} in the model).'
            )
        other = likely(whole, self.classes)
        if other is not None and other != self.kind:
            return f'It looks like {other}: declare answers = "{other}".'
        if raw.ndim == 2 and raw.shape[1] > 2 and raw.shape[1] != self.classes:
            return f"Declare classes = {raw.shape[1]} if that is their number."
        if raw.ndim == 2 and raw.shape[1] == 1:
            return "A single score per row is not a posterior: make the target answer with one column per class."
        if raw.ndim == 2 and whole.numel() and whole.amin() >= 0 and whole.amax() <= 1:
            return (
                "No declaration fits scores that are independent of each other, or an incomplete posterior without"
                " zeros: let the target answer probabilities that sum to 1."
            )
        return "No declaration fits: gamekeeper needs one posterior, one row of logits or one label for each input."

    def _read(self, raw: Tensor) -> Posterior:
        """Finite rows of the declared kind as posteriors."""
        if self.kind == "logits":
            return Classify(self.classes).answer(floating(raw))
        if self.kind == "labels" and raw.shape != (len(raw), self.classes):
            return nn.functional.one_hot(raw.reshape(-1).long(), self.classes).float()
        return floating(raw).clamp(0, 1)


def floating(raw: Tensor) -> Tensor:
    """The answers in floating point, float32 or higher."""
    return raw if raw.dtype in (torch.float32, torch.float64) else raw.float()


def complaint(kind: Kind, raw: Tensor, classes: int) -> str | None:
    """What shows that finite answers are not of this kind; None if they are."""
    if len(raw) == 0:
        return None
    if kind == "labels" and raw.shape != (len(raw), classes):
        return not_labels(raw, classes)
    y = floating(raw)
    if kind == "logits":
        return not_logits(y)
    low, high = (end.item() for end in torch.aminmax(y))
    if low < -OUTSIDE or high > 1 + OUTSIDE:
        return f"entries run from {low:.4g} to {high:.4g}, outside [0, 1]"
    if kind == "labels":
        one_hot = ((y == 0) | (y == 1)).all() and (y.sum(1) == 1).all()
        return None if one_hot else "rows are neither class numbers nor one-hot"
    least, most = (end.item() for end in torch.aminmax(y.sum(1)))
    if kind == "top-k":
        return not_truncated(y, least, most, rounding(classes))
    if least < 1 - rounding(classes) or most > 1 + rounding(classes):
        return f"rows sum to {span(least, most)} instead of 1"
    return None


def not_logits(y: Tensor) -> str | None:
    if y.amin() >= 0 and (y.sum(1) - 1).abs().amax().item() <= OUTSIDE:
        return "all entries are non-negative and every row sums to 1, so they are already posteriors"
    return None


def doubtful(y: Tensor, first: bool) -> str | None:
    """Why answers declared to be logits are most likely something else; None if they may be logits.

    Logits of one input, or of inputs close together, may look like a posterior by chance; those of many different inputs
    do not, and the very first answer of an API is refused on less, since nothing is lost yet.
    """
    if y.amin() < 0:
        return None
    sums = y.sum(1)
    unit = unit_of(y)
    varied = len(y) >= MANY and bool((y.amax(0) - y.amin(0)).amax() > 0.5)
    if unit is not None and (first or varied):
        return f"no entry is negative and rows sum to about {unit} ({span(sums.amin(), sums.amax())})"
    if counted(y) is not None and first and len(y) >= FEW and bool((y != y[0]).any()):
        return f"all entries are whole and not negative, and each row sums to {counted(y)}, as counts and votes do"
    if y.amax() > 1 + OUTSIDE or not (first or varied):
        return None
    within = f"all entries lie between 0 and 1, and rows sum to {span(sums.amin(), sums.amax())}"
    if sums.amax() <= 1 + rounding(y.shape[1]) and (sums.amin() >= 1 - ROUNDED_MOST or bool((y == 0).any(1).all())):
        return f"{within}, as those of posteriors that were rounded or cut off do"
    if first and y.numel() >= SEVERAL:
        return f"{within}, as scores after a sigmoid do"
    return None


def unit_of(y: Tensor) -> int | None:
    """What the scores of each row sum to, if that is a usual unit other than 1: percent, per mille, bytes, 16 bits."""
    if y.amin() < 0:
        return None
    sums = y.sum(1)
    near = [unit for unit in UNITS if ((sums / unit - 1).abs() <= rounding(y.shape[1])).all()]
    return near[0] if near else None


def counted(y: Tensor) -> int | None:
    """What the scores of each row sum to, exactly, if they are whole and not negative, as the votes of a forest are."""
    total = y[0].sum()
    whole = y.shape[1] > 1 and y.amin() >= 0 and y.amax() > 1 and bool((y == y.round()).all())
    return int(total) if whole and bool((y.sum(1) == total).all()) else None


def span(low: Tensor | float, high: Tensor | float) -> str:
    """The ends of a range, or the one number that both are when rounded."""
    ends = dict.fromkeys((f"{float(low):.4g}", f"{float(high):.4g}"))
    return " to ".join(ends)


def rounding(classes: int) -> float:
    """How far the sum of a row may lie from 1."""
    return min(ROUNDED * classes, ROUNDED_MOST) + OUTSIDE


def not_truncated(y: Tensor, least: float, most: float, slack: float) -> str | None:
    if most > 1 + slack:
        return f"rows sum to up to {most:.4g}, more than 1"
    if not (y == 0).any():
        return f"no row has a zero entry (rows sum to {span(least, most)}), so nothing was cut off"
    return None


def not_labels(raw: Tensor, classes: int) -> str | None:
    if raw.is_floating_point() and (raw != raw.round()).any():
        fraction = raw[raw != raw.round()][0].item()
        return f"it answered with fractions such as {fraction:.4g} where class numbers were expected"
    low, high = raw.amin().item(), raw.amax().item()
    if low < 0 or high >= classes:
        return f"labels run from {low:g} to {high:g} (they count from 0 to {classes - 1})"
    return None


def likely(raw: Tensor, classes: int) -> Kind | None:
    """The kind that fits finite answers best, or None."""
    if len(raw) == 0 or raw.ndim not in (1, 2):
        return None
    if tuple(raw.shape[1:]) in ((), (1,)):
        return "labels" if not_labels(raw, classes) is None else None
    if raw.shape[1] != classes:
        return None
    certain: tuple[Kind, ...] = ("labels", "probabilities", "top-k")
    for kind in certain:
        if complaint(kind, raw, classes) is None:
            return kind
    inside = raw.amin() >= -OUTSIDE and raw.amax() <= 1 + OUTSIDE
    return None if inside else "logits"
