"""The reproductions there are: frozen descriptions, plain data. `reproductions/description.py` says what the words mean."""

from collections.abc import Mapping, Sequence

from gamekeeper.reproductions.description import Experiment, Figure, Measure, Ordering, Reproduction

POISONING = (
    'Orekondy, Schiele, Fritz, "Prediction Poisoning: towards defenses against DNN model stealing attacks" (ICLR 2020)'
)
TRAMER = (
    'Tramèr, Zhang, Juels, Reiter, Ristenpart, "Stealing machine learning models via prediction APIs"'
    " (USENIX Security 2016)"
)
ORDERINGS = (
    'Orekondy et al., "Knockoff Nets" (CVPR 2019); Pal et al., "ActiveThief" (AAAI 2020); Lee, Han, Lee, "SwiftThief"'
    " (IJCAI 2024)"
)


# Prediction Poisoning, Table 1

LOWER = (
    "a twenty-fifth of the queries; the authors' code overwrites its substitute set in place or stores the wrong image (see"
    " the head of attacks/jbda.py), so a correct attack should do at least as well at equal budget"
)


def table_1(
    target: str, wide: str, victim: float, jbda: float, jb_self: float, jb_top3: float, knockoff: float, pools: str
) -> tuple[Figure, ...]:
    """The row of one victim: five published accuracies, and the thefts of ours beside them."""
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
            f"10 epochs for 30; {pools if wide == target else 'pool 60,000 clothes and 12,000 printed letters'}",
        ),
    )


RECIPE = (
    "LeNet and clone of 430,000 weights; one-cycle SGD up to 0.05, momentum 0.9, for the paper's rate 0.1 and momentum"
    " 0.5; the paper asks 50,000 queries and names one run. JB attacks start from 100 training images, as the paper's."
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
        "pool 12,000 printed letters for the handwritten EMNIST letters",
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
        "pool 60,000 handwritten digits and 12,000 printed letters for EMNIST",
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
            "ResNet-8 with 78,000 weights, not pre-trained, on 20,000 images, for VGG16 on 50,000",
        ),
        Figure(
            "Knockoff",
            "Table 1",
            Experiment("cifar10", "knockoff+soft:epochs=10", 10_000),
            (("accuracy", 0.787),),
            "a fifth of the queries; 10 epochs for 100; photographs of Tiny-ImageNet for CIFAR100; a fresh ResNet-8 for"
            " a VGG16 pre-trained on Tiny-ImageNet. To be compared as a share of the victim's accuracy (paper: 0.86)",
        ),
        Figure(
            "JB-top3",
            "Table 1",
            Experiment("cifar10", "jb_topk:seeds=500+soft:epochs=10", 2_000),
            (("accuracy", 0.738),),
            "a twenty-fifth of the queries, 10 epochs for 100, a fresh ResNet-8 for a pre-trained VGG16 (paper: 0.80 of"
            " the victim's accuracy)",
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
            gap="photographs for traffic signs; 500 seeds and one round",
        ),
    ),
    gap="One-cycle SGD. The victim is far below the paper's, so only shares of its accuracy can be compared.",
)


# Tramèr et al.

EXACT: tuple[tuple[Measure, float | str], ...] = (
    ("fidelity", 1.0),
    ("fidelity_uniform", 1.0),
    ("tv_uniform", "< 1e-9"),
    ("queries", "41 on average, at most 113"),
)
SOFTMAX: tuple[tuple[Measure, float | str], ...] = (
    ("fidelity", 1.0),
    ("fidelity_uniform", 1.0),
    ("tv_uniform", "< 1e-7"),
)
CLOSED = "closed form at d + 1 queries, where the paper's optimiser asks k (d + 1)"


SHORT = "; `cut-short` where the budget is below the recipe's five queries an unknown"


def table_4(
    target: str, attack: str, budgets: tuple[int, ...], said: tuple[tuple[float, float], ...], what: str, gap: str = ""
):
    """One model of Table 4: a share of the unknowns and the paper's two agreements at each budget."""
    return tuple(
        Figure(
            f"{what}, {budget:,} queries",
            "Table 4",
            Experiment(target, attack, budget),
            (("fidelity", test), ("fidelity_uniform", uniform)),
            f"101 features for 105{gap}{SHORT}",
        )
        for budget, (test, uniform) in zip(budgets, said, strict=True)
    )


def rounded(decimals: int, said: str, budget: int = 510) -> Figure:
    return Figure(
        f"softmax, answers rounded to {decimals} decimals",
        "Figure 7",
        Experiment("adult-race", "equation_fitting", budget, f"round:decimals={decimals}"),
        (("fidelity", said), ("fidelity_uniform", said)),
        f"101 features for 105; rounded probabilities are renormalised{SHORT}",
    )


CATEGORICAL = "categorical=1x3x5x6x7x8x9x13,sizes=8x17x8x15x7x6x3x42,eps=1e-4"
PATHS, TOP_DOWN = f"tree_paths:{CATEGORICAL}", f"tree_top_down:{CATEGORICAL}"
ENCODED = "UCI Adult, 14 features, for a private set; scikit-learn splits categories by order, BigML one by one"
ROUNDED = "round:decimals=2"
STEAK = "the paper's tree (Steak Survey) has 28 ids for its 193 leaves"


def tree(what: str, theft: Experiment, test: float, queries: int, gap: str = "") -> Figure:
    said: tuple[tuple[Measure, float | str], ...] = (
        ("fidelity", test),
        ("fidelity_uniform", "–"),
        ("queries", float(queries)),
    )
    return Figure(what, "Table 6", theft, said, "; ".join(filter(None, (gap, ENCODED))))


LABELS_ONLY: tuple[tuple[Measure, float | str], ...] = (("fidelity", "> 99 %"), ("queries", "827 on average"))
LOWD: tuple[tuple[Measure, float | str], ...] = (("fidelity", "> 99 %"), ("queries", "2,050 on average, at most 5,650"))
TRAINED = "labels:decay=0,least_steps=3000"
"""The clone of a label-only thief: a regression without weight decay, trained nearly to its optimum."""
ADAPTIVE, UNIFORM = f"adaptive+{TRAINED}", f"uniform+{TRAINED}"
LINEAR = (
    ("moons", "two moons", ""),
    ("diabetes", "diabetes", ""),
    (
        "breast-cancer-lr",
        "breast cancer",
        "uniform inputs are nearly all of one class here, and the thief starts from uniform inputs",
    ),
)
AGAINST_LABELS = tuple(
    (
        Experiment("adult-race", "equation_fitting", 510, f"round:decimals={decimals}"),
        Experiment("adult-race", "equation_fitting", 510, "label"),
    )
    for decimals in (2, 3)
)
TRAMER_TABLES = Reproduction(
    name="tramer",
    paper=TRAMER,
    what="equation solving, rounding, label-only retraining and tree path finding on scikit-learn's sets and UCI Adult",
    minutes=10,
    needs=("adult_train.csv.gz",),
    seeds=(0, 1, 2),
    uniform=10_000,
    figures=(
        Figure(
            "logistic regression, breast cancer", "4.1.1", Experiment("breast-cancer-lr", "equation_solving", 31), EXACT
        ),
        Figure("logistic regression, diabetes", "4.1.1", Experiment("diabetes", "equation_solving", 11), EXACT),
        Figure(
            "logistic regression, Adult income", "4.1.1", Experiment("adult-income", "equation_solving", 105), EXACT
        ),
        Figure("logistic regression, two moons", "4.1.1", Experiment("moons", "equation_solving", 3), EXACT),
        Figure("softmax, iris", "4.1.2", Experiment("iris", "equation_solving", 5), SOFTMAX, CLOSED),
        Figure("softmax, wine", "4.1.2", Experiment("wine-lr", "equation_solving", 14), SOFTMAX, CLOSED),
        Figure("softmax, digits", "4.1.2", Experiment("digits-lr", "equation_solving", 65), SOFTMAX, CLOSED),
        Figure("softmax, Adult race", "4.1.2", Experiment("adult-race", "equation_solving", 102), SOFTMAX, CLOSED),
        *table_4(
            "adult-race",
            "equation_fitting",
            (255, 510),
            ((0.9996, 0.9975), (1.0, 1.0)),
            "softmax, 510 unknowns for 530",
        ),
        *table_4(
            "adult-race-ovr",
            "equation_fitting:link=ovr",
            (255, 510),
            ((0.9998, 0.9998), (1.0, 1.0)),
            "one-vs-rest, 510 unknowns for 530",
        ),
        *table_4(
            "adult-race-mlp",
            "equation_fitting:hidden=20",
            (1_073, 2_145, 4_290, 10_725),
            ((0.9817, 0.9432), (0.9868, 0.9723), (0.9989, 0.9982), (0.9996, 0.9999)),
            "one hidden layer, 2,145 unknowns for 2,225",
            "; L-BFGS from 3 starts without weight decay for SGD: worse than the paper's at half a query an unknown, exact"
            " from two on",
        ),
        rounded(5, "no effect"),
        rounded(4, "no effect"),
        rounded(3, "weaker"),
        rounded(2, "weaker"),
        Figure(
            "softmax, labels only",
            "Figure 7",
            Experiment("adult-race", "equation_fitting", 510, "label"),
            (("fidelity", "far below"), ("fidelity_uniform", "far below")),
            "101 features for 105",
        ),
        *(
            Figure(
                f"adaptive retraining on labels, {words}",
                "6.1",
                Experiment(name, ADAPTIVE, 827, "label"),
                LABELS_ONLY,
                gap,
            )
            for name, words, gap in LINEAR
        ),
        *(
            Figure(f"Lowd-Meek, {words}", "6.1", Experiment(name, "lowd_meek", 5_650, "label"), LOWD)
            for name, words, _ in LINEAR
        ),
        tree("path finding, 26 leaves", Experiment("adult-tree", PATHS, 40_000), 1.0, 1_722),
        tree("top-down, 26 leaves", Experiment("adult-tree-incomplete", TOP_DOWN, 40_000), 1.0, 1_150),
        tree("path finding, 193 leaves, 151 ids", Experiment("adult-tree-large", PATHS, 200_000), 0.9245, 3_652, STEAK),
        tree(
            "top-down, 193 leaves, 151 ids",
            Experiment("adult-tree-large-incomplete", TOP_DOWN, 200_000),
            1.0,
            4_013,
            f"{STEAK}; 324 of 385 nodes are distinct",
        ),
        tree(
            "path finding, 193 leaves, answers rounded to 84 ids",
            Experiment("adult-tree-large", PATHS, 200_000, ROUNDED),
            0.9245,
            3_652,
            STEAK,
        ),
        tree(
            "top-down, 193 leaves, answers rounded to 84 ids",
            Experiment("adult-tree-large-incomplete", TOP_DOWN, 200_000, ROUNDED),
            1.0,
            4_013,
            f"{STEAK}; rounded, inner nodes answer as their children do, and all below such a node stays hidden",
        ),
    ),
    orderings=(
        Ordering(
            "answers of 2 or 3 decimals still give far more away than labels",
            "section 7, Figure 7",
            AGAINST_LABELS,
            "fidelity_uniform",
        ),
        Ordering(
            "adaptive retraining beats uniform queries on linear models",
            "6.1, Figure 4",
            tuple(
                (Experiment(name, ADAPTIVE, 827, "label"), Experiment(name, UNIFORM, 827, "label"))
                for name, _, _ in LINEAR
            ),
            "fidelity_uniform",
        ),
        Ordering(
            "incomplete inputs find what colliding ids hide",
            "Table 6",
            (
                (
                    Experiment("adult-tree-large-incomplete", TOP_DOWN, 200_000),
                    Experiment("adult-tree-large", PATHS, 200_000),
                ),
            ),
            "fidelity",
            "151 of 193 leaves have an id of their own here (paper: at most 28), so path finding misses little; top-down"
            " misses what lies below an inner node that answers as its child does",
        ),
    ),
    gap="Victims are scikit-learn's; features scaled to [-1, 1] (trees: (0, 1]); 10,000 uniform inputs, as the paper.",
)


# orderings

SMALL = ("mnist", "fashion")
B = 500
STRATEGIES = ("random", "uncertainty", "kcenter", "dfal", "dfal_kcenter")


def both(
    better: tuple[str, int], worse: tuple[str, int], defense: str = "none"
) -> tuple[tuple[Experiment, Experiment], ...]:
    """The pair of thieves, with their budgets, on both built-in targets."""
    return tuple((Experiment(name, *better, defense), Experiment(name, *worse, defense)) for name in SMALL)


def chosen(strategy: str) -> str:
    return f"active_thief:strategy={strategy},rounds=5"


SMALLER = "Built-in LeNets and 12,000 printed letters at 500 queries, for larger victims, pools and budgets."
COMPARED = Reproduction(
    name="orderings",
    paper=ORDERINGS,
    what="adaptive against random Knockoff, ActiveThief's strategies against noise and each other, SwiftThief against both",
    minutes=25,
    needs=(),
    seeds=(0, 1, 2),
    figures=(),
    orderings=(
        Ordering(
            "Knockoff: adaptive is a little better than random where the pool is of another world",
            "Knockoff Nets, 5.2; Prediction Poisoning, appendix C",
            both(("knockoff_adaptive", B), ("knockoff", B)),
        ),
        *(
            Ordering(
                f"ActiveThief: {strategy} beats uniform noise (on average 4.70 times its agreement)",
                "ActiveThief, abstract",
                both((chosen(strategy), B), ("uniform", B), "label"),
                "fidelity",
                "answers are labels, as in the paper; 5 rounds for 10",
            )
            for strategy in STRATEGIES
        ),
        *(
            Ordering(
                f"ActiveThief: {strategy} beats random choice",
                "ActiveThief, section 5",
                both((chosen(strategy), B), (chosen("random"), B), "label"),
                "fidelity",
                "answers are labels, as in the paper; 5 rounds for 10",
            )
            for strategy in STRATEGIES[1:]
        ),
        Ordering(
            "SwiftThief beats Knockoff at equal queries",
            "SwiftThief, section 5",
            both(("swift_thief", B), ("knockoff", B)),
            gap="5 to 10 contrastive epochs a phase for 40 to 100",
        ),
        Ordering(
            "SwiftThief with half the queries is no worse than Knockoff",
            "SwiftThief, abstract",
            both(("swift_thief", B // 2), ("knockoff", B)),
            gap="5 to 10 contrastive epochs a phase for 40 to 100",
        ),
    ),
    gap=SMALLER,
)


ON_DIGITS = "mnist"


def on_digits(better: str, worse: str, defense: str = "none") -> tuple[tuple[Experiment, Experiment], ...]:
    return ((Experiment(ON_DIGITS, better, B, defense), Experiment(ON_DIGITS, worse, B, defense)),)


PRADA = "PRADA, abstract: up to 46 points more accurate than earlier attacks"
OTHERS = Reproduction(
    name="other-thieves",
    paper='Juuti et al., "PRADA" (EuroS&P 2019); Tramèr et al. (2016); Orekondy et al., "Prediction Poisoning" (ICLR 2020)',
    what="PRADA's attacks against JBDA, retraining without a pool, smoothing and an insider, on the digits",
    minutes=10,
    needs=(),
    seeds=(0, 1, 2),
    figures=(),
    orderings=(
        Ordering("PRADA: T-RND beats JBDA", PRADA, on_digits("t_rnd", "jbda:seeds=100")),
        Ordering("PRADA: N-FGSM beats JBDA", PRADA, on_digits("n_fgsm", "jbda:seeds=100")),
        Ordering("PRADA: N I-FGSM beats JBDA", PRADA, on_digits("n_ifgsm", "jbda:seeds=100")),
        Ordering(
            "Tramèr: on networks, line search gives a little more than uniform queries",
            "6.1",
            on_digits("line_search", "uniform", "label"),
            "fidelity_uniform",
        ),
        Ordering(
            "Tramèr: on networks, adaptive retraining gives a little more than uniform queries",
            "6.1",
            on_digits("adaptive", "uniform", "label"),
            "fidelity_uniform",
        ),
        Ordering(
            "Prediction Poisoning: averaging augmented queries is no better than asking plainly (here undefended)",
            "5.2.3",
            on_digits("knockoff", "smoothing"),
        ),
        Ordering(
            "Asokan's talk: inputs of the model's own kind steal more than others",
            "defenses by out-of-distribution filters",
            on_digits("insider", "knockoff"),
        ),
    ),
    uniform=2_000,
    gap="The built-in LeNet for digits, 500 queries; accuracy stands for PRADA's F-score.",
)


# DeepDefense

MATCHING = "knockoff+attribution:explainer=grad_cam"
PP = "mad:eps=0.95,keep_top1=true"
DEEP = (
    'Lee, Han, Lee, "Model stealing defense against exploiting information leak through the interpretation of deep'
    ' neural nets" (IJCAI 2022)'
)


def matched(defense: str, budget: int = B, target: str = "mnist-maps") -> Experiment:
    """The paper's thief: he learns from answers and maps at once."""
    return Experiment(target, MATCHING, budget, defense)


def table_5(what: str, defense: str, said: float, gap: str = "") -> Figure:
    return Figure(what, "Table 5", matched(defense), (("accuracy", said),), gap)


def less(than: str, other: str, target: str = "mnist-maps", budgets: Sequence[int] = (B // 2, B)) -> Ordering:
    """Figure 2, read as: the thief gets more from the other defense."""
    pairs = tuple((matched(other, budget, target), matched("deep_defense", budget, target)) for budget in budgets)
    return Ordering(f"DeepDefense leaves the thief less than {than}", "Figure 2", pairs)


def labels_do_better(target: str = "mnist-maps") -> Ordering:
    return Ordering(
        "not in the paper: who learns from top classes alone gets more from DeepDefense than who learns from all of it",
        "–",
        ((Experiment(target, "knockoff+labels", B, "deep_defense"), matched("deep_defense", target=target)),),
    )


EXPLAINED = Reproduction(
    name="deep-defense",
    paper=DEEP,
    what="DeepDefense's ablation on MNIST, Figure 2 at two budgets, fewer layers, and a thief who looks at labels alone",
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
    gap="The shipped LeNet for digits, judged on 500; Grad-CAM; clothes as the pool, as in the paper; a twentieth of its"
    " 10,000 queries, and for Figure 2 a fortieth too. AM and EDM are trained on letters. The paper gives none of"
    " DeepDefense's constants.",
)

EXPLAINED_CLOTHES = Reproduction(
    name="deep-defense-fashion",
    paper=DEEP,
    what="DeepDefense's Figure 2 at two budgets on clothes with digits as the pool, for its KMNIST with MNIST",
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
    gap="The shipped LeNet for clothes, judged on 500; Grad-CAM; 500 and 250 queries for 10,000. AM and EDM are trained on"
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
        less("no defense at all", "none", "cifar10-maps", (B,)),
        less("PP", PP, "cifar10-maps", (B,)),
        labels_do_better("cifar10-maps"),
    ),
    gap="ResNet-8 trained 10 epochs on the images in the folder, judged on 250; Grad-CAM; Tiny ImageNet for CIFAR100; 500"
    " queries for 10,000: the bent answers take a second each here. AM and EDM take no part.",
)

REPRODUCTIONS: Mapping[str, Reproduction] = {
    each.name: each
    for each in (
        TRAMER_TABLES,
        FASHION,
        MNIST,
        COMPARED,
        CIFAR10,
        OTHERS,
        EXPLAINED,
        EXPLAINED_CLOTHES,
        EXPLAINED_CIFAR10,
    )
}
