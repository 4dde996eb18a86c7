"""What batching brings to DeepDefense, as ratios measured in one run, with the cosine each way attained.

lenet   a batch of 64 in each mode, beside the reference: one query at a time, all weights of the sensitive layers, every
        gradient by plain autograd, from the input on
resnet  ResNet-18 at 64 x 64 pixels, last block and head alone, biases, batch 64: seconds a query

Both networks answer uniform inputs; LeNet is the shipped one for digits. One thread, CPU time.
"""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.func import functional_call

from benchmarks.timing import cpu_seconds, medians
from gamekeeper.architectures import ResNet18, fresh
from gamekeeper.defenses.deep_defense import DeepDefense, Misdirector
from gamekeeper.defenses.deep_descent import Best
from gamekeeper.defenses.deep_layers import FURTHER
from gamekeeper.defenses.deep_losses import margin, out_of_order, ranks
from gamekeeper.models import TorchModel
from gamekeeper.targets.builtin import shipped
from gamekeeper.tasks import Classify
from gamekeeper.types import Box, Owner

BATCH, LOOPED, STEPS, RESNET_STEPS = 64, 3, 20, 30
WAYS = {mode: DeepDefense(mode=mode, steps=STEPS, group=BATCH) for mode in FURTHER}
AIMS = {"bias": 50, "low_rank": None, "full": 4}
SECONDS_AIM = 0.15


def by_autograd(live: Misdirector, x: Tensor, steps: int) -> float:
    """One query as a plain loop would have it, the working form; returns the better of its last cosines."""
    net, layers, how = live.network.net, set(live.layers), live.recipe
    clean = {f"{n}.{p}": w.detach() for n, m in net.named_modules() if m in layers for p, w in m.named_parameters()}
    y = live.network(x).y
    top, order = y.argmax(1), ranks(y)

    def slope(weights: dict[str, Tensor], graph: bool) -> tuple[Tensor, Tensor]:
        z: Tensor = functional_call(net, weights, (x,))
        return torch.cat([
            g.flatten()
            for g in torch.autograd.grad(margin(z, top).sum(), list(weights.values()), create_graph=graph)
        ]), torch.softmax(z, 1)  # fmt: skip

    goal = slope({name: w.clone().requires_grad_() for name, w in clean.items()}, False)[0].detach()
    noise = torch.Generator().manual_seed(0)
    own = {
        n: (w + how.kick * w.std() * torch.randn(w.shape, generator=noise)).requires_grad_() for n, w in clean.items()
    }
    speed = [torch.zeros_like(w) for w in own.values()]
    best = 1.0
    for _ in range(steps):
        u, p = slope(own, True)
        cosine = torch.nn.functional.cosine_similarity(u, goal, 0).abs()
        if int(p.argmax()) == int(top):
            best = min(best, float(cosine.detach()))
        grads = torch.autograd.grad(cosine + 10 * out_of_order(p, order, 1).sum(), list(own.values()))
        norm = torch.stack([g.square().sum() for g in grads]).sum().sqrt()
        with torch.no_grad():
            for w, g, v in zip(own.values(), grads, speed, strict=True):
                w -= how.rate * v.mul_(how.momentum).add_(g * (how.clip / norm).clamp(max=1))
    return best


def lenet_rows() -> list[dict[str, object]]:
    target = shipped("mnist")
    x = target.owner.box.uniform(BATCH, seed=0)
    rows: list[dict[str, object]] = []
    live = {name: recipe.arm(target.victim, target.owner, 0) for name, recipe in WAYS.items()}
    y = target.victim(x).y
    reached: list[float] = []
    found: dict[str, Best] = {}
    spent = medians(
        {"loop": lambda: reached.extend(by_autograd(live["full"], one, STEPS) for one in x[:LOOPED].split(1))}
        | {name: lambda name=name: found.update({name: live[name].bend(x, y)}) for name in live},
        seconds=0,
    )
    loop = spent.pop("loop") / LOOPED
    rows.append({"way": "autograd loop", "ms": round(1e3 * loop, 1), "cosine": round(sum(reached) / len(reached), 3)})
    for name, seconds in spent.items():
        got = found[name]
        rows.append({
            "way": name, "ms": round(1e3 * seconds / BATCH, 2), "ratio": round(loop * BATCH / seconds, 1), "aim": AIMS[name],
            "cosine": round(float(got.cosines[got.found].mean()), 3), "feasible": round(float(got.found.double().mean()), 3),
        })  # fmt: skip
    return rows


def resnet_row() -> dict[str, object]:
    box, architecture = Box((3, 64, 64)), ResNet18((3, 64, 64), 17)
    victim = TorchModel(fresh(architecture, 0), Classify(17))
    owner = Owner(box.uniform(2, seed=1), torch.zeros(2).long(), box, architecture)
    live = DeepDefense(mode="bias", steps=RESNET_STEPS, last=3, sensitive=1, group=BATCH).arm(victim, owner, 0)
    x, found = box.uniform(BATCH, seed=0), []
    y = victim(x).y
    spent = cpu_seconds(lambda: found.append(live.bend(x, y))) / BATCH
    cosines = found[0].cosines[found[0].found]
    return {
        "network": "ResNet18, last block and head", "steps": RESNET_STEPS, "seconds": round(spent, 3), "aim": SECONDS_AIM,
        "cosine": round(float(cosines.mean()), 3), "feasible": round(float(found[0].found.double().mean()), 3),
    }  # fmt: skip


def measure() -> dict[str, object]:
    torch.set_num_threads(1)
    return {"batch": BATCH, "steps": STEPS, "lenet": lenet_rows(), "resnet": resnet_row()}


def show(result: Mapping[str, object]) -> None:
    print(f"DeepDefense, LeNet, milliseconds a query over {STEPS} steps; times as fast as the loop")
    for row in result["lenet"]:  # pyright: ignore
        more = "" if "ratio" not in row else " {ratio:>7} x (aim {aim}), feasible {feasible}".format(**row)
        print("{way:14}{ms:>9} cosine {cosine}".format(**row) + more)
    print("{network}: {seconds} s a query (aim {aim}), cosine {cosine}".format(**result["resnet"]))  # pyright: ignore
