"""What batching brings to DeepDefense, as ratios measured in one run, with the cosine each way attained.

lenet   a batch of 64 in each mode, beside the reference: one query at a time, all weights of the sensitive layers, every
        gradient by plain autograd, from the input on. LeNet-5 has 61,000 weights, the shipped LeNet 430,000
resnet  ResNet-18, last block and head alone, biases, batch 64: seconds a query. Its last maps are an eighth of the image's
        side wide (no pooling at the start): at 16 pixels as large as those of the usual ResNet-18 at 64

The networks answer uniform inputs. One thread, CPU time, interleaved medians but for ResNet-18.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call

from benchmarks.timing import cpu_seconds, medians
from gamekeeper.architectures import Classifier, ResNet18, fresh
from gamekeeper.defenses.deep_defense.descent import Best
from gamekeeper.defenses.deep_defense.layers import FURTHER
from gamekeeper.defenses.deep_defense.losses import margin, out_of_order, ranks
from gamekeeper.defenses.deep_defense.recipe import DeepDefense, Misdirector
from gamekeeper.models.network import TorchModel
from gamekeeper.targets.builtin import shipped
from gamekeeper.tasks import Classify
from gamekeeper.types import Box, Owner

BATCH, LOOPED, STEPS, RESNET_STEPS = 64, 3, 20, 30
WAYS = {mode: DeepDefense(mode=mode, steps=STEPS, group=BATCH) for mode in FURTHER}
LENET_5 = "LeNet-5"
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


def lenet_rows(name: str, victim: TorchModel, owner: Owner) -> list[dict[str, object]]:
    x = owner.box.uniform(BATCH, seed=0)
    live = {mode: recipe.arm(victim, owner, 0) for mode, recipe in WAYS.items()}
    y = victim(x).y
    reached: list[float] = []
    found: dict[str, Best] = {}
    spent = medians(
        {"loop": lambda: reached.extend(by_autograd(live["full"], one, STEPS) for one in x[:LOOPED].split(1))}
        | {mode: lambda mode=mode: found.update({mode: live[mode].bend(x, y)}) for mode in live},
        seconds=0,
    )
    loop = spent.pop("loop") / LOOPED
    cosine = round(sum(reached) / len(reached), 3)
    rows: list[dict[str, object]] = [
        {"network": name, "way": "autograd loop", "ms": round(1e3 * loop, 1), "cosine": cosine}
    ]
    for mode, seconds in spent.items():
        got = found[mode]
        rows.append({
            "network": name, "way": mode, "ms": round(1e3 * seconds / BATCH, 2), "ratio": round(loop * BATCH / seconds, 1),
            "aim": AIMS[mode] if name == LENET_5 else None, "cosine": round(float(got.cosines[got.found].mean()), 3),
            "feasible": round(float(got.found.double().mean()), 3),
        })  # fmt: skip
    return rows


def lenet_5() -> tuple[TorchModel, Owner]:
    """61,000 weights, untrained."""
    box = Box((1, 28, 28))

    def architecture() -> nn.Module:
        body = nn.Sequential(
            nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(),
        )  # fmt: skip
        return Classifier(body, nn.Linear(84, 10))

    owner = Owner(box.uniform(16, seed=1), torch.zeros(16).long(), box, architecture)
    return TorchModel(fresh(architecture, 0), Classify(10)), owner


def resnet_row(pixels: int) -> dict[str, object]:
    box, architecture = Box((3, pixels, pixels)), ResNet18((3, pixels, pixels), 17)
    victim = TorchModel(fresh(architecture, 0), Classify(17))
    owner = Owner(box.uniform(2, seed=1), torch.zeros(2).long(), box, architecture)
    live = DeepDefense(mode="bias", steps=RESNET_STEPS, last=3, sensitive=1, group=BATCH).arm(victim, owner, 0)
    x, found = box.uniform(BATCH, seed=0), []
    y = victim(x).y
    spent = cpu_seconds(lambda: found.append(live.bend(x, y))) / BATCH
    cosines = found[0].cosines[found[0].found]
    return {
        "network": f"ResNet18 at {pixels} pixels, last block and head", "steps": RESNET_STEPS, "seconds": round(spent, 3),
        "aim": SECONDS_AIM if pixels == 16 else None, "cosine": round(float(cosines.mean()), 3),
        "feasible": round(float(found[0].found.double().mean()), 3),
    }  # fmt: skip


def measure() -> dict[str, object]:
    torch.set_num_threads(1)
    target = shipped("mnist")
    assert isinstance(target.victim, TorchModel)
    rows = lenet_rows(LENET_5, *lenet_5()) + lenet_rows("the shipped LeNet", target.victim, target.owner)
    return {"batch": BATCH, "steps": STEPS, "lenet": rows, "resnet": [resnet_row(pixels) for pixels in (16, 64)]}


def show(result: Mapping[str, object]) -> None:
    print(f"DeepDefense, milliseconds a query over {STEPS} steps; times as fast as the loop")
    for row in result["lenet"]:  # pyright: ignore
        more = "" if "ratio" not in row else " {ratio:>7} x (aim {aim}), feasible {feasible}".format(**row)
        print("{network:20}{way:14}{ms:>9} cosine {cosine}".format(**row) + more)
    for row in result["resnet"]:  # pyright: ignore
        print("{network}: {seconds} s a query (aim {aim}), cosine {cosine}".format(**row))
