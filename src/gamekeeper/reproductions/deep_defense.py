"""DeepDefense: thefts from a service that publishes attribution maps with its answers."""

from collections.abc import Sequence

from gamekeeper.reproductions.description import Experiment, Figure, Ordering, Reproduction

BUDGET = 500
MATCHING = "knockoff+attribution:explainer=grad_cam"
PP = "mad:eps=0.95,keep_top1=true"
DEEP = (
    'Lee, Han, Lee, "Model stealing defense against exploiting information leak through the interpretation of deep'
    ' neural nets" (IJCAI 2022)'
)


def matched(defense: str, budget: int = BUDGET, target: str = "mnist-maps") -> Experiment:
    """The paper's thief, who learns from answers and maps together."""
    return Experiment(target, MATCHING, budget, defense)


def table_5(what: str, defense: str, published: float, gap: str = "") -> Figure:
    return Figure(what, "Table 5", matched(defense), (("accuracy", published),), gap)


def less(than: str, other: str, target: str = "mnist-maps", budgets: Sequence[int] = (BUDGET // 2, BUDGET)) -> Ordering:
    """Figure 2 as an ordering: the thief gets more past the other defense."""
    pairs = tuple((matched(other, budget, target), matched("deep_defense", budget, target)) for budget in budgets)
    return Ordering(f"DeepDefense leaves the thief less than {than}", "Figure 2", pairs)


def labels_do_better(target: str = "mnist-maps") -> Ordering:
    return Ordering(
        "not in the paper: a thief who learns only from top classes gets more past DeepDefense than one who learns from everything",
        "–",
        ((Experiment(target, "knockoff+labels", BUDGET, "deep_defense"), matched("deep_defense", target=target)),),
    )


EXPLAINED = Reproduction(
    name="deep-defense",
    paper=DEEP,
    what="DeepDefense's ablation on MNIST, Figure 2 at two budgets, fewer layers, and a thief who looks only at labels",
    minutes=35,
    needs=(),
    seeds=(0,),
    figures=(
        table_5("undefended", "none", 0.9337),
        table_5("PP", PP, 0.6403, "top class kept; eps is not given in the paper"),
        table_5("DD", "deep_defense", 0.1756),
        table_5("DD-S, answers alone", "deep_defense:release=answer", 0.2607),
        table_5("DD-I, maps alone", "deep_defense:release=map", 0.8216),
    ),
    orderings=(
        less("PP", PP),
        less("Adaptive Misinformation", "adaptive_misinformation"),
        less("EDM", "edm"),
        Ordering(
            "moving layers with half of the sensitivity leaves the thief a little more (2 points)",
            "Table 3, Flowers-17",
            ((matched("deep_defense:sensitive=0.5"), matched("deep_defense")),),
        ),
        labels_do_better(),
    ),
    gap="The shipped LeNet for digits, tested on 500 inputs; Grad-CAM; clothes as the pool, as in the paper; a twentieth of"
    " its 10,000 queries, and for Figure 2 also a fortieth. AM and EDM are trained on letters. The paper gives none of"
    " DeepDefense's constants.",
)

EXPLAINED_CLOTHES = Reproduction(
    name="deep-defense-fashion",
    paper=DEEP,
    what="DeepDefense's Figure 2 at two budgets on clothes with digits as the pool, in place of its KMNIST with MNIST",
    minutes=15,
    needs=(),
    seeds=(0,),
    figures=(),
    orderings=(
        less("no defense at all", "none", "fashion-maps"),
        less("PP", PP, "fashion-maps"),
        less("Adaptive Misinformation", "adaptive_misinformation", "fashion-maps"),
        less("EDM", "edm", "fashion-maps"),
        labels_do_better("fashion-maps"),
    ),
    gap="The shipped LeNet for clothes, tested on 500 inputs; Grad-CAM; 500 and 250 queries instead of 10,000. AM and EDM are trained on"
    " letters.",
)

EXPLAINED_CIFAR10 = Reproduction(
    name="deep-defense-cifar10",
    paper=DEEP,
    what="DeepDefense's Figure 2 at one small budget on CIFAR10, with photographs as the pool",
    minutes=100,
    needs=("cifar10_subset.npz", "tiny_imagenet32_pool.npz"),
    seeds=(0,),
    figures=(),
    orderings=(
        less("no defense at all", "none", "cifar10-maps", (BUDGET,)),
        less("PP", PP, "cifar10-maps", (BUDGET,)),
        labels_do_better("cifar10-maps"),
    ),
    gap="ResNet-8 trained for 10 epochs on the images in the folder, tested on 250 inputs; Grad-CAM; Tiny ImageNet instead of"
    " CIFAR100; 500 queries instead of 10,000, since a defended answer takes a second here. AM and EDM take no part.",
)
