"""Prediction Poisoning, Table 1: thefts from undefended victims."""

from gamekeeper.reproductions.description import Experiment, Figure, Ordering, Reproduction

POISONING = (
    'Orekondy, Schiele, Fritz, "Prediction Poisoning: towards defenses against DNN model stealing attacks" (ICLR 2020)'
)
LOWER = (
    "a twenty-fifth of the queries; the authors' code overwrites its substitute set in place or stores the wrong image (see"
    " the head of attacks/jbda.py), so a correct attack should do at least as well with the same budget"
)


def table_1(
    target: str, wide: str, victim: float, jbda: float, jb_self: float, jb_top3: float, knockoff: float, pools: str
) -> tuple[Figure, ...]:
    """The row of one victim: five published accuracies, with our thefts beside them."""
    place, near = "Table 1", Experiment(target, "knockoff", 5_000)
    return (
        Figure("victim", place, near, (("victim", victim),), "another training recipe"),
        Figure("Knockoff", place, near, (("accuracy", knockoff),), f"a tenth of the queries; {pools}"),
        Figure("JBDA", place, Experiment(target, "jbda:seeds=100", 2_000), (("accuracy", jbda),), LOWER),
        Figure("JB-self", place, Experiment(target, "jb_self", 2_000), (("accuracy", jb_self),), LOWER),
        Figure("JB-top3", place, Experiment(target, "jb_topk", 2_000), (("accuracy", jb_top3),), LOWER),
        Figure(
            "Knockoff, as many queries",
            place,
            Experiment(wide, "knockoff+soft:epochs=10", 50_000),
            (("accuracy", knockoff),),
            f"10 epochs instead of 30; {pools if wide == target else 'pool 60,000 clothes and 12,000 printed letters'}",
        ),
    )


RECIPE = (
    "LeNet and clone of 430,000 weights; one-cycle SGD up to 0.05, momentum 0.9, instead of the paper's rate 0.1 and"
    " momentum 0.5; the paper uses 50,000 queries and reports one run. JB attacks start from 100 training images, as in the"
    " paper."
)
MNIST = Reproduction(
    name="prediction-poisoning-mnist",
    paper=POISONING,
    what="undefended MNIST row of Table 1: JBDA, JB-self, JB-top3 and Knockoff against a LeNet",
    minutes=20,
    needs=("mnist.npz", "fashion-mnist"),
    seeds=(0,),
    figures=table_1(
        "mnist-full",
        "mnist-full-wide",
        *(0.994, 0.892, 0.894, 0.873, 0.990),
        "pool 12,000 printed letters instead of the handwritten EMNIST letters",
    ),
    gap=RECIPE,
)
FASHION = Reproduction(
    name="prediction-poisoning-fashion",
    paper=POISONING,
    what="undefended FashionMNIST row of Table 1: JBDA, JB-self, JB-top3 and Knockoff against a LeNet",
    minutes=15,
    needs=("mnist.npz", "fashion-mnist"),
    seeds=(0,),
    figures=table_1(
        "fashion-full",
        "fashion-full",
        *(0.920, 0.387, 0.458, 0.687, 0.692),
        "pool 60,000 handwritten digits and 12,000 printed letters instead of EMNIST",
    ),
    gap=RECIPE,
)
CIFAR10 = Reproduction(
    name="prediction-poisoning-cifar10",
    paper=POISONING,
    what="undefended CIFAR10 row of Table 1 at the size two cores allow: Knockoff and JB-top3 against a ResNet-8",
    minutes=20,
    needs=("cifar10_subset.npz", "tiny_imagenet32_pool.npz"),
    seeds=(0,),
    figures=(
        Figure(
            "victim",
            "Table 1",
            Experiment("cifar10", "knockoff+soft:epochs=10", 10_000),
            (("victim", 0.92),),
            "ResNet-8 with 78,000 weights, not pre-trained, on 20,000 images, instead of VGG16 on 50,000",
        ),
        Figure(
            "Knockoff",
            "Table 1",
            Experiment("cifar10", "knockoff+soft:epochs=10", 10_000),
            (("accuracy", 0.787),),
            "a fifth of the queries; 10 epochs instead of 100; photographs of Tiny-ImageNet instead of CIFAR100; a fresh"
            " ResNet-8 instead of a VGG16 pre-trained on Tiny-ImageNet. Compare shares of the victim's accuracy (paper: 0.86)",
        ),
        Figure(
            "JB-top3",
            "Table 1",
            Experiment("cifar10", "jb_topk:seeds=500+soft:epochs=10", 2_000),
            (("accuracy", 0.738),),
            "a twenty-fifth of the queries, 10 epochs instead of 100, a fresh ResNet-8 instead of a pre-trained VGG16"
            " (paper: 0.80 of the victim's accuracy)",
        ),
    ),
    orderings=(
        Ordering(
            "PRADA: COLOR beats JBDA",
            "PRADA, abstract: up to 46 points more accurate than earlier attacks",
            (
                (
                    Experiment("cifar10", "color:seeds=500+soft:epochs=10", 1_000),
                    Experiment("cifar10", "jbda:seeds=500+soft:epochs=10", 1_000),
                ),
            ),
            gap="photographs instead of traffic signs; 500 seeds and one round",
        ),
    ),
    gap="One-cycle SGD. The victim is far below the paper's, so only shares of its accuracy can be compared.",
)
