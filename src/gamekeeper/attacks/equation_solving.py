"""Equation solving: logistic regression, binary or softmax, from d + 1 posteriors.

Source      Tramèr, Zhang, Juels, Reiter, Ristenpart, "Stealing machine learning models via prediction APIs"
            (USENIX Security 2016), section 4.1; rounded answers: section 7
Equations   log p_k - log p_r = (w_k - w_r).x + (b_k - b_r) for a reference class r, linear in the unknowns
Assumes     a softmax of linear scores (two classes: a sigmoid); posteriors, possibly rounded or truncated to a few classes
Deviations  softmax is solved in closed form as well (the paper minimises the cross-entropy over k (d + 1) queries):
            d + 1 queries serve all classes at once. More are needed where answers are truncated, or where they saturate;
            those are drawn nearer the centre of the box. Up to `checks` further queries test the link. If they disagree,
            because answers are rounded or the link is another, the system is solved again by least squares on up to
            `oversample` (d + 1) answers; if those still disagree, Unsuited is raised
Keeps       no state. Gauge: only differences between classes are identifiable; the solution has zero mean over classes
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from gamekeeper.attacks.formula_clones import Linear
from gamekeeper.attacks.rows import Rows
from gamekeeper.errors import BadConfig, Unsuited
from gamekeeper.types import Knowledge, Meter, Model, Posterior, need_box

PILOT = 8
"""Inputs queried before it is known how far from the centre answers saturate."""
NEAREST = 1 / 64
"""The smallest part of the box that is queried, as a share of its width."""
AGREE = 1e-6
"""How far exact answers may lie from the solution's, in probability."""
ROWS = 100
"""Answers inspected to find the rounding."""
SAYS = 0.01
"""Answers reveal the rounding only if their second probability is above this."""
OFF = 2.0
"""How many rounding steps (root mean square) rounded answers may lie from the solution's."""


@dataclass(frozen=True)
class EquationSolving:
    """Weights of logistic or softmax regression, solved from the log-ratios of d + 1 posteriors."""

    checks: int = 10
    oversample: int = 5

    def __post_init__(self) -> None:
        if self.checks < 0 or self.oversample < 1:
            raise BadConfig(
                "EquationSolving needs checks of at least 0 and oversample of at least 1."
                f" Got {self.checks} and {self.oversample}."
            )

    def __call__(self, oracle: Meter, knows: Knowledge, seed: int) -> Model:
        """Raises Unsuited if answers are labels or not a softmax of linear scores."""
        rows, k = Rows(oracle, need_box(knows.box, type(self).__name__)), knows.task.classes
        samples = Samples(rows, torch.Generator().manual_seed(seed), k)
        samples.gather(rows.d + 1, most=rows.left)
        theta = solve(samples.t, samples.y)
        t, y = samples.ask(min(self.checks, rows.left))
        if len(t) and off(theta, t, y).amax() > AGREE:
            samples.gather(self.oversample * (rows.d + 1), most=self.oversample * (rows.d + 1))
            theta = solve(samples.t, samples.y)
            if samples.equations() >= 2 * (rows.d + 1):  # with fewer, rounding alone can explain the difference
                refuse_another_link(theta, samples.t, samples.y)
        weights = theta[:, :-1] / rows.half
        bias = theta[:, -1] - rows.centre * weights.sum(1)
        return Linear(weights, bias, knows.task, complete=samples.equations() > rows.d)


@dataclass
class Samples:
    """Queries, in coordinates t in [-1, 1] about the centre of the box, and their answers y."""

    rows: Rows
    generator: torch.Generator
    k: int
    radius: float = 1.0

    def __post_init__(self) -> None:
        self.t = torch.empty(0, self.rows.d, dtype=torch.float64)
        self.y = torch.empty(0, self.k, dtype=torch.float64)

    def ask(self, n: int) -> tuple[Tensor, Tensor]:
        """Queries n more random inputs within the radius; they are stored as well as returned."""
        if n == 0:
            return self.t[:0], self.y[:0]
        x = self.rows.uniform(n, self.generator, self.radius)
        t, y = (x - self.rows.centre) / self.rows.half, self.rows(x).y
        # float32 answers stay float32, so that their precision stays known
        self.t, self.y = torch.cat([self.t, t]), torch.cat([self.y.to(y.dtype), y])
        return t, y

    def gather(self, wanted: int, most: int) -> None:
        """Queries until every class has `wanted` equations, `most` inputs have been queried or the budget ends.

        Raises Unsuited if every answer names one class with certainty, however near the centre.
        """
        batch = PILOT if len(self.t) == 0 else wanted
        while (lack := wanted - self.equations()) > 0 and min(self.rows.left, most - len(self.t)) > 0:
            _, y = self.ask(min(batch, lack, self.rows.left, most - len(self.t)))
            batch = wanted
            # truncated answers are no better near the centre: they name the same few classes there
            share = (usable(y).double().sum(1) - 1).mean() / (self.k - 1)
            if share < 0.5 and float(y.sum(1).amin()) > 0.99 and self.radius > NEAREST:
                self.radius, batch = self.radius / 2, PILOT
            elif self.radius <= NEAREST and self.certain():
                break
        if len(self.t) and self.certain():
            raise Unsuited(
                "EquationSolving needs probabilities; every answer names one class with certainty, even near the centre"
                " of the box. Use lowd_meek for labels of two classes, tree_paths for a decision tree."
            )

    def certain(self) -> bool:
        """Whether no answer so far has two usable entries."""
        return not bool((usable(self.y).sum(1) > 1).any())

    def equations(self) -> int:
        """How many equations the class with the fewest has."""
        return int(equations(self.y).sum(0).amin()) if len(self.y) else 0


def step(y: Posterior) -> float:
    """The power of ten that answers were rounded to, from 0.1 down to 1e-6; 0 if they were not rounded.

    Rounded rows may have been divided by their sum, which lies within k / 2 steps of 1: every such sum is tried.
    """
    p = y.double()
    p = p[p.topk(2).values[:, 1] > SAYS][:ROWS]  # rows that name one class fit any grid
    spread = torch.arange(-(y.shape[1] // 2), y.shape[1] // 2 + 1)
    for decimals in range(1, 7):
        sums = 10**decimals + spread
        units = p[None] * sums[sums > 0][:, None, None]
        slack = 1e-3 + 4 * 10**decimals * torch.finfo(y.dtype).eps
        whole = ((units - units.round()).abs() < slack).all(2).any(0)
        if len(p) and whole.double().mean() > 0.9:  # a defense may have lifted the top class of some rows
            return 10.0**-decimals
    return 0.0


def usable(y: Posterior) -> Bool[Tensor, "n k"]:
    """Entries whose logarithm is meaningful: above 0 by more than the answers' precision."""
    return y > max(3 * step(y), 1e-9 if y.dtype == torch.float64 else 1e-5)


def reference(y: Posterior) -> int:
    """The class with the most usable entries; ties go to the likeliest."""
    counts = usable(y).sum(0).double()
    return int((counts + y.double().mean(0) / 2).argmax())


def equations(y: Posterior) -> Bool[Tensor, "n k"]:
    """Which log-ratios with the reference class can be used."""
    good = usable(y)
    return good & good[:, [reference(y)]]


def solve(t: Float[Tensor, "n d"], y: Posterior) -> Float[Tensor, "k e"]:
    """Weights and bias of the scores, e = d + 1, with mean 0 over classes; least squares if overdetermined.

    For rounded answers, equations are weighted by 1 / sqrt(1/p_k^2 + 1/p_r^2): an error in a small probability is a
    large one in its logarithm.
    """
    good, r, rounded = equations(y), reference(y), step(y) > 0
    p = y.double()
    A = torch.cat([t, torch.ones(len(t), 1, dtype=torch.float64)], 1)
    ratios = p.clamp(min=1e-300).log() - p[:, [r]].clamp(min=1e-300).log()
    theta = torch.zeros(y.shape[1], A.shape[1], dtype=torch.float64)
    if good.all() and not rounded:
        theta = least_squares(A, ratios).T  # one system for all classes
    else:
        for k in range(y.shape[1]):
            rows = good[:, k]
            weight = (p[rows, k] ** -2 + p[rows, r] ** -2).rsqrt()[:, None] if rounded else torch.ones(1, 1).double()
            if k != r and rows.any():
                theta[k] = least_squares(weight * A[rows], weight * ratios[rows][:, [k]])[:, 0]
    return theta - theta.mean(0)


def least_squares(A: Float[Tensor, "n e"], b: Float[Tensor, "n m"]) -> Float[Tensor, "e m"]:
    """The minimum-norm solution where there are fewer equations than unknowns."""
    return torch.linalg.lstsq(A, b, driver="gels" if len(A) >= A.shape[1] else "gelsd").solution


def off(theta: Float[Tensor, "k e"], t: Float[Tensor, "n d"], y: Posterior) -> Float[Tensor, " m"]:
    """Distances of the answers' usable entries from the solution's; a 0 is appended, so that the result is never empty."""
    p = torch.softmax(t @ theta[:, :-1].T + theta[:, -1], dim=1)
    return torch.cat([(p - y).abs()[usable(y)], torch.zeros(1, dtype=torch.float64)])


def refuse_another_link(theta: Float[Tensor, "k e"], t: Float[Tensor, "n d"], y: Posterior) -> None:
    """Raises Unsuited if the solution does not explain the answers it was solved from."""
    error = float(off(theta, t, y).square().mean().sqrt())
    blur = max(step(y), AGREE if y.dtype == torch.float64 else 10 * AGREE)
    if error > OFF * blur:
        raise Unsuited(
            f"EquationSolving needs a softmax of linear scores; the best one is off by {error:.2g} in probability (root"
            f" mean square) where {OFF * blur:.2g} could be rounding. The target has another link, or its answers are"
            " perturbed. Use equation_fitting."
        )
