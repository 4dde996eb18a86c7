"""Tramèr et al.: equation solving, rounding, thefts by labels alone, decision trees."""

from gamekeeper.reproductions.description import Experiment, Figure, Measure, Ordering, Reproduction

TRAMER = (
    'Tramèr, Zhang, Juels, Reiter, Ristenpart, "Stealing machine learning models via prediction APIs"'
    " (USENIX Security 2016)"
)
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
CLOSED = "closed form with d + 1 queries, while the paper's optimiser needs k (d + 1)"


SHORT = "; `cut-short` if the budget is below the recipe's five queries per unknown"


def table_4(
    target: str,
    attack: str,
    budgets: tuple[int, ...],
    published: tuple[tuple[float, float], ...],
    what: str,
    gap: str = "",
):
    """One model of Table 4: the paper's agreement on test and on uniform inputs at each budget."""
    return tuple(
        Figure(
            f"{what}, {budget:,} queries",
            "Table 4",
            Experiment(target, attack, budget),
            (("fidelity", test), ("fidelity_uniform", uniform)),
            f"101 features instead of 105{gap}{SHORT}",
        )
        for budget, (test, uniform) in zip(budgets, published, strict=True)
    )


def rounded(decimals: int, published: str, budget: int = 510) -> Figure:
    return Figure(
        f"softmax, answers rounded to {decimals} decimals",
        "Figure 7",
        Experiment("adult-race", "equation_fitting", budget, f"round:decimals={decimals}"),
        (("fidelity", published), ("fidelity_uniform", published)),
        f"101 features instead of 105; rounded probabilities are renormalised{SHORT}",
    )


CATEGORICAL = "categorical=1x3x5x6x7x8x9x13,sizes=8x17x8x15x7x6x3x42,eps=1e-4"
PATHS, TOP_DOWN = f"tree_paths:{CATEGORICAL}", f"tree_top_down:{CATEGORICAL}"
ENCODED = "UCI Adult, 14 features, instead of a private set; scikit-learn splits categories by order, BigML one by one"
ROUNDED = "round:decimals=2"
STEAK = "the paper's tree (Steak Survey) has 28 ids for its 193 leaves"


def tree(what: str, theft: Experiment, test: float, queries: int, gap: str = "") -> Figure:
    published: tuple[tuple[Measure, float | str], ...] = (
        ("fidelity", test),
        ("fidelity_uniform", "–"),
        ("queries", float(queries)),
    )
    return Figure(what, "Table 6", theft, published, "; ".join(filter(None, (gap, ENCODED))))


LABELS_ONLY: tuple[tuple[Measure, float | str], ...] = (("fidelity", "> 99 %"), ("queries", "827 on average"))
LOWD: tuple[tuple[Measure, float | str], ...] = (("fidelity", "> 99 %"), ("queries", "2,050 on average, at most 5,650"))
TRAINED = "labels:decay=0,least_steps=3000"
"""The clone of a label-only thief: a regression without weight decay, trained nearly to the optimum."""
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
            "softmax, 510 unknowns instead of 530",
        ),
        *table_4(
            "adult-race-ovr",
            "equation_fitting:link=ovr",
            (255, 510),
            ((0.9998, 0.9998), (1.0, 1.0)),
            "one-vs-rest, 510 unknowns instead of 530",
        ),
        *table_4(
            "adult-race-mlp",
            "equation_fitting:hidden=20",
            (1_073, 2_145, 4_290, 10_725),
            ((0.9817, 0.9432), (0.9868, 0.9723), (0.9989, 0.9982), (0.9996, 0.9999)),
            "one hidden layer, 2,145 unknowns instead of 2,225",
            "; L-BFGS from 3 starts without weight decay instead of SGD: worse than the paper at half a query per unknown, exact"
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
            "101 features instead of 105",
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
            f"{STEAK}; rounded, inner nodes have the same answers as their children, and everything below such a node stays hidden",
        ),
    ),
    orderings=(
        Ordering(
            "answers with 2 or 3 decimals still give away far more than labels",
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
            "151 of 193 leaves have their own id here (paper: at most 28), so path finding misses little; top-down misses"
            " what lies below an inner node with the same answer as its child",
        ),
    ),
    gap="Victims are scikit-learn's; features scaled to [-1, 1] (trees: (0, 1]); 10,000 uniform inputs, as in the paper.",
)
