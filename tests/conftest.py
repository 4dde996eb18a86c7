"""One torch thread in every test process, as in the engine's workers; no wall clock in property tests; what `make quick` leaves out."""

import pytest
import torch
from hypothesis import settings

torch.set_num_threads(1)
settings.register_profile("no deadline", deadline=None)  # a loaded machine is no failure
settings.load_profile("no deadline")

THOROUGH = frozenset(
    [
        "attacks/test_boundary",
        "attacks/test_equation_fitting",
        "attacks/test_every_querying",
        "attacks/test_relu_reconstruction",
        "attacks/test_swift_thief",
        "attacks/test_tree_paths",
        "attacks/test_tree_top_down",
        "contracts/test_defenses",
        "defenses/test_deep_defense",
        "defenses/test_keyed_misinformation",
        "defenses/test_mad_argmax",
        "defenses/test_mad_live",
        "defenses/test_modelguard",
        "defenses/test_ood_scores",
        "engine/test_any_target",
        "engine/test_follow_on",
        "engine/test_lineup",
        "engine/test_run",
        "follow_on/test_inversion",
        "learners/test_attribution",
        "learners/test_distil",
        "learners/test_robust",
        "learners/test_semi_supervised",
        "surfaces/test_cli",
        "surfaces/test_curves",
        "surfaces/test_figures",
        "surfaces/test_report",
        "targets/test_http",
        "targets/test_local",
        "targets/test_pt2",
        "targets/test_safety",
        "test_docs",
    ]
)
"""Test files that take longest: three quarters of the time together."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if any(item.path.as_posix().endswith(f"tests/{name}.py") for name in THOROUGH):
            item.add_marker(pytest.mark.thorough)
