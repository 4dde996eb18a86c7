"""Training a thief: our loop against the obvious PyTorch loop and against ART's KnockoffNets.

Same network (LeNet), same transfer set (2,000 letters answered by the built-in victim), same epochs and batch size,
one thread. The obvious loop: a DataLoader over a TensorDataset, float32, SGD, one cycle of the rate. ART's KnockoffNets
trains at a constant rate and offers no schedule, so the obvious loop runs at a constant rate as well: what that changes
in the clone is the schedule's doing and not the library's. Every round has another seed; beside the median time stands
the clones' mean accuracy on the built-in test digits. ART is optional (`pip install 'gamekeeper[bench]'`); it is left
out where missing.
"""

import importlib.util
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from gamekeeper.architectures import LeNet, fresh
from gamekeeper.attacks.knockoff import Knockoff
from gamekeeper.learners.distil import Soft
from gamekeeper.models.layout import bf16_pays
from gamekeeper.service.oracles import Metered
from gamekeeper.targets.load import load_target
from gamekeeper.training.fit import Fit
from gamekeeper.types import Knowledge

BUDGET, EPOCHS, ROUNDS = 2000, 10, 5
RECIPE = Fit(epochs=EPOCHS, least_steps=1)


Clone = Callable[[Tensor], Tensor]


def timed(train: Callable[[int], Clone], seed: int) -> tuple[float, Clone]:
    torch.manual_seed(seed)
    np.random.seed(seed)  # ART draws from the global generators
    start = time.process_time()
    net = train(seed)
    return time.process_time() - start, net


def plain(x: Tensor, y: Tensor, shape: tuple[int, ...], seed: int, constant: bool = False) -> Clone:
    """What one would write first."""
    net = fresh(LeNet(shape, y.shape[1]), seed)
    loader = DataLoader(TensorDataset(x, y), batch_size=RECIPE.batch, shuffle=True)
    optimiser = torch.optim.SGD(net.parameters(), RECIPE.rate, RECIPE.momentum, weight_decay=RECIPE.decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, RECIPE.rate, total_steps=EPOCHS * len(loader), pct_start=0.25, cycle_momentum=False
    )
    if constant:
        optimiser.param_groups[0]["lr"] = RECIPE.rate
    for _ in range(EPOCHS):
        for inputs, targets in loader:
            optimiser.zero_grad()
            nn.functional.cross_entropy(net(inputs), targets).backward()
            optimiser.step()
            if not constant:
                schedule.step()
    return net.eval()


def art(x: Tensor, victim: nn.Module, shape: tuple[int, ...], classes: int, seed: int) -> Clone:
    """ART's KnockoffNets, random sampling, probabilities, the same budget, epochs and batch size."""
    from art.attacks.extraction import KnockoffNets
    from art.estimators.classification import PyTorchClassifier

    def wrapped(net: nn.Module, rate: float) -> object:
        optimiser = torch.optim.SGD(net.parameters(), rate, RECIPE.momentum, weight_decay=RECIPE.decay)
        return PyTorchClassifier(net, nn.CrossEntropyLoss(), shape, classes, optimizer=optimiser, clip_values=(0, 1))

    target = wrapped(nn.Sequential(victim, nn.Softmax(1)), 0.1)
    thief = wrapped(fresh(LeNet(shape, classes), seed), RECIPE.rate)
    attack = KnockoffNets(
        target, batch_size_fit=RECIPE.batch, batch_size_query=256, nb_epochs=EPOCHS, nb_stolen=len(x),
        sampling_strategy="random", use_probability=True, verbose=False,
    )  # fmt: skip
    stolen = attack.extract(x.numpy(), thieved_classifier=thief)
    return lambda inputs: torch.from_numpy(stolen.predict(np.asarray(inputs)))


def measure() -> dict[str, object]:
    torch.set_num_threads(1)
    target = load_target("mnist")
    shape, classes = target.box.shape, target.victim.task.classes
    knows = Knowledge(target.pool.x, target.box, target.victim.task, LeNet(shape, classes))
    transfer = Knockoff()(Metered(target.victim, BUDGET, target.box), knows, 0)
    loops: dict[str, Callable[[int], Clone]] = {
        "ours": lambda seed: Soft(RECIPE)(transfer, knows, seed).logits,
        "plain": lambda seed: plain(transfer.x, transfer.reply.y, shape, seed),
        "constant": lambda seed: plain(transfer.x, transfer.reply.y, shape, seed, constant=True),
    }
    if importlib.util.find_spec("art"):
        loops["art"] = lambda seed: art(transfer.x, target.victim.net, shape, classes, seed)
    rounds = [{name: timed(loop, seed) for name, loop in loops.items()} for seed in range(ROUNDS)]
    spent = {name: float(np.median([each[name][0] for each in rounds])) for name in loops}
    with torch.no_grad():
        right = {
            name: [float((each[name][1](target.test.x).argmax(1) == target.test.y).float().mean()) for each in rounds]
            for name in loops
        }
    return {
        "budget": BUDGET,
        "epochs": EPOCHS,
        "cpu_seconds": {name: round(value, 2) for name, value in spent.items()},
        "accuracy": {name: round(float(np.mean(values)), 4) for name, values in right.items()},
        "accuracy_sd": {name: round(float(np.std(values, ddof=1)), 4) for name, values in right.items()},
        "seeds": ROUNDS,
        "bf16": bf16_pays(),
        "plain_over_ours": round(spent["plain"] / spent["ours"], 2),
        "art_over_ours": round(spent["art"] / spent["ours"], 2) if "art" in spent else None,
    }


def show(result: dict[str, object]) -> None:
    print(f"training a thief on {result['budget']} answers for {result['epochs']} epochs, one thread")
    for name, seconds in result["cpu_seconds"].items():  # pyright: ignore
        spread = f"{result['accuracy'][name]:.3f} (sd {result['accuracy_sd'][name]:.3f})"  # pyright: ignore
        print(f"  {name:9}{seconds:8.2f} CPU s   accuracy {spread}")
    print(
        f"  plain loop / ours {result['plain_over_ours']}, ART / ours {result['art_over_ours'] or 'ART is not installed'}"
    )
