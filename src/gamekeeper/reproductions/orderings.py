"""Claims from several papers that one thief beats another, tested pair by pair."""

from gamekeeper.reproductions.description import Experiment, Ordering, Reproduction

ORDERINGS = (
    'Orekondy et al., "Knockoff Nets" (CVPR 2019); Pal et al., "ActiveThief" (AAAI 2020); Lee, Han, Lee, "SwiftThief"'
    " (IJCAI 2024)"
)
SMALL = ("mnist", "fashion")
BUDGET = 500
STRATEGIES = ("random", "uncertainty", "kcenter", "dfal", "dfal_kcenter")


def both(
    better: tuple[str, int], worse: tuple[str, int], defense: str = "none"
) -> tuple[tuple[Experiment, Experiment], ...]:
    """The pair of thieves, with their budgets, on both built-in targets."""
    return tuple((Experiment(name, *better, defense), Experiment(name, *worse, defense)) for name in SMALL)


def chosen(strategy: str) -> str:
    return f"active_thief:strategy={strategy},rounds=5"


SMALLER = "Built-in LeNets and 12,000 printed letters at 500 queries, instead of larger victims, pools and budgets."
COMPARED = Reproduction(
    name="orderings",
    paper=ORDERINGS,
    what="adaptive Knockoff against random, ActiveThief's strategies against noise and each other, SwiftThief against Knockoff",
    minutes=25,
    needs=(),
    seeds=(0, 1, 2),
    figures=(),
    orderings=(
        Ordering(
            "Knockoff: adaptive is a little better than random if the pool is of another kind",
            "Knockoff Nets, 5.2; Prediction Poisoning, appendix C",
            both(("knockoff_adaptive", BUDGET), ("knockoff", BUDGET)),
        ),
        *(
            Ordering(
                f"ActiveThief: {strategy} beats uniform noise (on average 4.70 times its agreement)",
                "ActiveThief, abstract",
                both((chosen(strategy), BUDGET), ("uniform", BUDGET), "label"),
                "fidelity",
                "answers are labels, as in the paper; 5 rounds instead of 10",
            )
            for strategy in STRATEGIES
        ),
        *(
            Ordering(
                f"ActiveThief: {strategy} beats random choice",
                "ActiveThief, section 5",
                both((chosen(strategy), BUDGET), (chosen("random"), BUDGET), "label"),
                "fidelity",
                "answers are labels, as in the paper; 5 rounds instead of 10",
            )
            for strategy in STRATEGIES[1:]
        ),
        Ordering(
            "SwiftThief beats Knockoff at equal queries",
            "SwiftThief, section 5",
            both(("swift_thief", BUDGET), ("knockoff", BUDGET)),
            gap="5 to 10 contrastive epochs per phase instead of 40 to 100",
        ),
        Ordering(
            "SwiftThief with half the queries is no worse than Knockoff",
            "SwiftThief, abstract",
            both(("swift_thief", BUDGET // 2), ("knockoff", BUDGET)),
            gap="5 to 10 contrastive epochs per phase instead of 40 to 100",
        ),
    ),
    gap=SMALLER,
)


ON_DIGITS = "mnist"


def on_digits(better: str, worse: str, defense: str = "none") -> tuple[tuple[Experiment, Experiment], ...]:
    return ((Experiment(ON_DIGITS, better, BUDGET, defense), Experiment(ON_DIGITS, worse, BUDGET, defense)),)


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
            "Prediction Poisoning: averaging augmented queries is no better than plain queries (here undefended)",
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
    gap="The built-in LeNet for digits, 500 queries; accuracy in place of PRADA's F-score.",
)
