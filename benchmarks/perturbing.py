"""What batching and closed forms bring to defenses that perturb answers, as ratios measured in one run.

programs   GRAD^2 and ModelGuard-W, microseconds a row, beside HiGHS solving the same rows one by one
loops      MAD and MAD-argmax over the last layer, served in batches, beside the obvious loop: for every query one backward
           pass a class, then every vertex (MAD-argmax: every set up to 10 classes, above greedy up to 1,024 of them)
jacobians  the Gram matrix of all weights beside the explicit Jacobian, in time and in peak memory on top of the network

One thread, CPU time, interleaved medians. Takes about two minutes, most of them in the loops.
"""

from collections.abc import Mapping
from multiprocessing import get_context

import numpy as np
import torch
from scipy.optimize import linprog
from torch import Tensor, nn

from benchmarks.memory import peak
from benchmarks.timing import medians
from gamekeeper.architectures import LeNet, Vgg16, fresh
from gamekeeper.defenses.grad2 import grad2
from gamekeeper.defenses.mad.jacobian import gram
from gamekeeper.defenses.mad.recipe import MAD
from gamekeeper.defenses.modelguard import MARGIN, SMALL, modelguard_w
from gamekeeper.models.network import TorchModel
from gamekeeper.service.service import Service
from gamekeeper.tasks import Classify
from gamekeeper.types import Architecture, Box, Owner

EPS = 0.95
PROGRAM_AIMS = {10: 50.0, 100: 300.0}
"""Microseconds a row."""
SOLVER_AIM, JACOBIAN_AIM = 40, 10
EVALUATIONS = 1024


def program_rows(classes: int) -> list[dict[str, object]]:
    generator = torch.Generator().manual_seed(0)
    y = torch.softmax(3 * torch.randn(256, classes, generator=generator, dtype=torch.float64), 1)
    v = torch.randn(256, classes, generator=generator, dtype=torch.float64)
    ours = {"grad2": lambda: grad2(y, v, EPS), "modelguard_w": lambda: modelguard_w(y, EPS)}
    theirs = {
        "grad2": lambda: [solve(-goal, row, None) for goal, row in zip(v[:8], y[:8], strict=True)],
        "modelguard_w": lambda: [solve((row + SMALL).log(), row, MARGIN) for row in y[:8]],
    }
    spent = medians(ours | {f"{n} solver": c for n, c in theirs.items()}, 2.0)
    return [
        {
            "defense": name,
            "classes": classes,
            "us_per_row": round(1e6 * spent[name] / 256, 2),
            "aim": PROGRAM_AIMS[classes],
            "solver_us_per_row": round(1e6 * spent[f"{name} solver"] / 8, 1),
            "ratio": round(spent[f"{name} solver"] / 8 / (spent[name] / 256), 1),
            "ratio_aim": SOLVER_AIM,
        }
        for name in ours
    ]


def solve(cost: Tensor, y: Tensor, margin: float | None) -> None:
    """One row by HiGHS: mass received and given as variables, so that there are few constraints."""
    k, top = len(y), int(y.argmax())
    limits, rows = [EPS], [np.ones(2 * k)]
    if margin is not None:
        lead = np.delete(np.eye(k) - np.eye(k)[top], top, 0)
        rows, limits = [*rows, *np.hstack([lead, -lead])], [*limits, *(-margin - lead @ y.numpy())]
    bounds = [(0, None)] * k + [(0, entry) for entry in y.tolist()]
    balance = np.r_[np.ones(k), -np.ones(k)][None]
    found = linprog(np.r_[cost, -cost], np.array(rows), limits, balance, [0.0], bounds, method="highs")
    assert found.status in (0, 2), found.message


def loop_rows(architecture: Architecture, shape: tuple[int, ...], batch: int, queries: int) -> list[dict[str, object]]:
    """Seconds a query of the obvious loop over those of a served batch."""
    classes = architecture().head.out_features  # pyright: ignore
    victim = TorchModel(fresh(architecture, 0), Classify(classes))
    surrogate = fresh(architecture, 1).eval()
    owner = Owner(torch.empty(0, *shape), torch.empty(0, dtype=torch.long), Box(shape), architecture)
    x = owner.box.uniform(batch, seed=0)
    calls = {}
    for name, keep in (("mad", False), ("mad_argmax", True)):
        service = Service(victim, [MAD(EPS, keep_top1=keep).arm(victim, owner, 0)])
        calls[name] = lambda s=service: s.reply("alice", x)
        calls[f"{name} loop"] = lambda k=keep: [by_autograd(victim, surrogate, row, k) for row in x[:queries].split(1)]
    spent = medians(calls, 1.0, rounds=3)
    return [
        {
            "defense": name,
            "network": type(architecture).__name__,
            "classes": classes,
            "batch": batch,
            "loop_ms": round(1e3 * spent[f"{name} loop"] / queries, 2),
            "ours_ms": round(1e3 * spent[name] / batch, 3),
            "ratio": round(spent[f"{name} loop"] / queries / (spent[name] / batch), 1),
            "aim": {"mad": 20, "mad_argmax": 30}[name] if classes == 100 else None,
        }
        for name in ("mad", "mad_argmax")
    ]


def by_autograd(victim: TorchModel, surrogate: nn.Module, x: Tensor, keep_top1: bool) -> Tensor:
    """One query as the authors' code answers it: G of the last layer by k backward passes, then vertex after vertex."""
    y = victim(x).y[0]
    log_p = torch.log_softmax(surrogate(x)[0], 0)
    weight: Tensor = surrogate.head.weight  # pyright: ignore
    G = torch.stack([torch.autograd.grad(entry, weight, retain_graph=True)[0].flatten() for entry in log_p])
    clean = nn.functional.normalize(G.T @ y, dim=0)

    def turned(z: Tensor) -> float:
        return float((nn.functional.normalize(G.T @ z, dim=0) - clean).square().sum())

    goals = sets_of(len(y), int(y.argmax()), turned) if keep_top1 else torch.eye(len(y))
    goal = max(goals, key=turned)
    return y + min(EPS / float((goal - y).abs().sum()), 1) * (goal - y)


def sets_of(k: int, top: int, turned) -> list[Tensor]:  # pyright: ignore
    """Vertices of the part where `top` leads: all of them up to 10 classes, else the best of each size, grown greedily."""
    others = [j for j in range(k) if j != top]

    def share(members: list[int]) -> Tensor:
        return torch.zeros(k).index_fill_(0, torch.tensor(members), 1 / len(members))

    if k <= 10:
        return [share([top, *(j for i, j in enumerate(others) if n >> i & 1)]) for n in range(2 ** (k - 1))]
    grown, found, spent = [top], [], 0
    while spent < EVALUATIONS and len(grown) < k:
        more = [share([*grown, j]) for j in others if j not in grown]
        spent += len(more)
        found.append(max(more, key=turned))
        grown = torch.nonzero(found[-1])[:, 0].tolist()
    return found


def explicit_gram(net: nn.Module, x: Tensor) -> Tensor:
    """G G^T of one input by k backward passes over all weights."""
    log_p, weights = torch.log_softmax(net(x)[0], 0), list(net.parameters())
    rows = [torch.autograd.grad(entry, weights, retain_graph=True) for entry in log_p]
    G = torch.stack([torch.cat([g.flatten() for g in row]) for row in rows])
    return G @ G.T


def peak_memory(kind: str) -> float:
    """Megabytes on top of VGG16 and one forward pass. Runs in a process of its own."""
    torch.set_num_threads(1)
    net = fresh(Vgg16((3, 32, 32), 10), 0).eval()
    x = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        net(x)
    before = peak()
    explicit_gram(net, x) if kind == "explicit" else gram(net, x)
    return (peak() - before) / 1e6


def jacobian_rows() -> list[dict[str, object]]:
    cases = {"LeNet": (LeNet((1, 28, 28), 10), 32), "Vgg16": (Vgg16((3, 32, 32), 10), 4)}
    rows: list[dict[str, object]] = []
    for name, (architecture, batch) in cases.items():
        net = fresh(architecture, 0).eval()
        x = torch.rand(batch, *architecture.shape)
        calls = {"explicit": lambda: explicit_gram(net, x[:1]), "ours": lambda: gram(net, x)}  # noqa: B023
        spent = medians(calls, 1.0, rounds=3)
        row = {"network": name, "batch": batch, "explicit_ms": round(1e3 * spent["explicit"], 1)}
        row |= {"ours_ms": round(1e3 * spent["ours"] / batch, 2), "aim": JACOBIAN_AIM}
        rows.append(row | {"ratio": round(spent["explicit"] / (spent["ours"] / batch), 1)})
    rows[-1] |= jacobian_memory()
    return rows


def jacobian_memory() -> dict[str, object]:
    with get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        explicit, ours = pool.map(peak_memory, ["explicit", "ours"], chunksize=1)
    return {"explicit_mb": round(explicit), "ours_mb": round(ours), "memory_ratio": round(explicit / max(ours, 1), 1)}


def measure() -> dict[str, object]:
    torch.set_num_threads(1)
    loops = loop_rows(LeNet((1, 28, 28), 10), (1, 28, 28), 64, 4) + loop_rows(
        Vgg16((3, 32, 32), 100), (3, 32, 32), 64, 1
    )
    return {
        "programs": [row for k in PROGRAM_AIMS for row in program_rows(k)],
        "loops": loops,
        "jacobians": jacobian_rows(),
    }


def show(result: Mapping[str, object]) -> None:
    print("Linear programs in batches of 256, microseconds a row; times as fast as HiGHS row by row")
    for row in result["programs"]:  # pyright: ignore
        print(
            "{defense:13}{classes:>5} classes {us_per_row:>8} (aim {aim:g}) {ratio:>8} x (aim {ratio_aim})".format(
                **row
            )
        )
    print("Served answers, milliseconds a query; times as fast as one backward pass a class")
    for row in result["loops"]:  # pyright: ignore
        aim = "" if row["aim"] is None else f" (aim {row['aim']})"
        print(
            "{defense:13}{network:6}{classes:>5} classes {loop_ms:>9} to {ours_ms:>8} {ratio:>7} x".format(**row) + aim
        )
    print("All weights, milliseconds a query, and megabytes: explicit Jacobian over Gram matrix")
    for row in result["jacobians"]:  # pyright: ignore
        line = "{network:6} batch {batch:>3} {explicit_ms:>9} to {ours_ms:>8} {ratio:>7} x (aim {aim})".format(**row)
        print(line + (" {explicit_mb} to {ours_mb} MB".format(**row) if "ours_mb" in row else ""))
