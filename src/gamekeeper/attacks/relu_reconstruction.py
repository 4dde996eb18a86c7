"""Exact reconstruction of a two-layer ReLU network from the input gradients an API sells as explanations.

Source      Milli, Schmidt, Dragan, Hardt, "Model reconstruction from model explanations" (FAT* 2019); the algorithm
            below is our own for the same setting
Equations   f(x) = sum_i w_i max(A_i.x + b_i, 0) + q.x + c. Along a line with direction v the gradient jumps by
            D_i = w_i sign(A_i.v) A_i where neuron i flips, at x_i. With s_i = sign(D_i.v), a_i = s_i D_i and
            o_i = -a_i.x_i:  f(x) = sum_i s_i max(a_i.x + o_i, 0) + q.x + c, since max(z, 0) = z + max(-z, 0)
Assumes     two classes; `Reply.maps` is the raw gradient of the log-odds f = log y_1 - log y_0 (the logit of a
            one-output network) with respect to the input, the same quantity for every input whatever its class,
            float64, one entry per input entry in their order: (n, h, w) for one-channel images, (n, 1, d) for rows.
            No built-in target sells such maps, and the ledger of an audit stores maps in float32, so this attack runs
            from Python only, with TorchModel(explain=...) as in docs/papers/relu-reconstruction.md
Deviations  lines end at the box; neurons that do not flip on the first line are found on segments to random inputs whose
            gradient the clone does not explain yet. Each neuron is confirmed elsewhere on its hyperplane, so that two
            neurons that flip within `width` of each other are reported, and separated on another line
Keeps       no state
"""

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from gamekeeper.attacks.kinks import NEAR, Search, chord, line
from gamekeeper.attacks.rows import Rows, flat
from gamekeeper.errors import BadConfig, BudgetExceeded, Unsuited
from gamekeeper.facts import Reads
from gamekeeper.types import Batch, Knowledge, Meter, Model, Reply, Task, need_box


@dataclass(frozen=True)
class ReluReconstruction:
    """The weights of a two-layer ReLU network with one logit, from the jumps of its input gradients along lines.

    width   where bisection stops, as a share of the line
    checks  random inputs whose gradients the clone must explain before it counts as complete
    lines   fruitless lines after which the search ends
    """

    width: float = 1e-12
    checks: int = 32
    lines: int = 5

    def __post_init__(self) -> None:
        if not 1e-14 <= self.width <= 1e-3 or self.checks < 1 or self.lines < 1:
            raise BadConfig(
                "ReluReconstruction needs width from 1e-14 to 1e-3, checks and lines of at least 1."
                f" Got {self.width}, {self.checks} and {self.lines}."
            )

    @property
    def reads(self) -> Reads:
        return "map"

    def __call__(self, oracle: Meter, knows: Knowledge, seed: int) -> Model:
        """Raises Unsuited if explanations are missing or are not gradients of such a network."""
        if knows.task.classes != 2:
            raise Unsuited(f"ReluReconstruction needs two classes; the target has {knows.task.classes}.")
        search = Search(
            Rows(oracle, need_box(knows.box, type(self).__name__)), torch.Generator().manual_seed(seed), self.width
        )
        try:
            complete = explore(search, self.checks, self.lines) and search.sure
        except BudgetExceeded:
            complete = False
        return copied(search, knows.task, complete)


@dataclass(frozen=True, eq=False)
class ReluNet:
    """f(x) = sum_i s_i max(a_i.x + o_i, 0) + slope.x + constant, the log-odds of class 1.

    crossings  jumps that came from more than one neuron: several flipped within the bisection's width
    complete   whether the clone explained every gradient it was checked against
    """

    a: Float[Tensor, "h d"]
    o: Float[Tensor, " h"]
    s: Float[Tensor, " h"]
    slope: Float[Tensor, " d"]
    constant: float
    task: Task
    crossings: int
    complete: bool

    def __len__(self) -> int:
        return len(self.a)

    @property
    def caveats(self) -> tuple[str, ...]:
        return () if self.complete else ("cut-short",)

    def odds(self, x: Batch) -> Float[Tensor, " n"]:
        """The log-odds of class 1."""
        rows = flat(x)
        return (rows @ self.a.T + self.o).clamp(min=0) @ self.s + rows @ self.slope + self.constant

    def __call__(self, x: Batch, /) -> Reply:
        f = self.odds(x)
        return Reply(torch.sigmoid(torch.stack([-f, f], 1)))


def explore(search: Search, checks: int, lines: int) -> bool:
    """Follows lines until all fresh gradients are explained. Raises BudgetExceeded if the budget ends."""
    start = begin(search)
    direction = search.rows.uniform(1, search.generator)[0] - start
    # the first line crosses the whole box, later ones run from the start to unexplained points
    added = line(search, chord(search, start, -direction), chord(search, start, direction))
    fruitless = 0 if added else 1
    while fruitless < lines:
        x = search.rows.uniform(checks, search.generator)
        # half of them are corners of the box, where neurons are active that are silent almost everywhere else
        x[::2] = search.rows.centre + search.rows.half * (x[::2] - search.rows.centre).sign()
        g = search.gradients(x)
        if math.isinf(search.calm[0]):
            raise Unsuited(
                "ReluReconstruction needs probabilities, to find the constant; all answers were bare labels."
            )
        missing = search.unexplained(x, g)
        if not bool(missing.any()):
            return True
        for point, gradient in zip(x[missing], g[missing], strict=True):
            # an earlier line may have explained it
            if fruitless < lines and bool(search.unexplained(point[None], gradient[None])):
                fruitless = 0 if line(search, start, point) else fruitless + 1
    if len(search.a) == 0:
        raise Unsuited(
            "ReluReconstruction needs raw gradients of the log-odds of a two-layer ReLU network; these maps jump, but not"
            " as single neurons do. They may be absolute values, normalised, or those of the predicted class."
        )
    return False


def begin(search: Search) -> Float[Tensor, " d"]:
    """A point near the centre, queried with two neighbours. Raises Unsuited if their gradients all differ."""
    rows = search.rows
    start = rows.uniform(1, search.generator, 0.1)[0]
    near = (rows.uniform(2, search.generator) - rows.centre) * NEAR
    g = search.gradients(torch.cat([start[None], start + near]))
    search.start = start, g[0]
    if bool(search.differ(g[1:], g[0]).all()):
        raise Unsuited(
            "ReluReconstruction needs gradients that are constant between the kinks of a ReLU network; these change"
            " within a millionth of the box. Gradients of probabilities or of smooth networks will not do."
        )
    return start


def copied(search: Search, task: Task, complete: bool) -> ReluNet:
    """The known neurons, plus the linear term that fits the start and the constant that fits the least certain answer."""
    slope = search.rest(search.start[0][None], search.start[1][None])[0]
    net = ReluNet(search.a, search.o, search.s, slope, 0.0, task, search.crossings, complete)
    odds, x = search.calm
    return net if math.isinf(odds) else replace(net, constant=odds - float(net.odds(x[None])[0]))
