"""What a chain of defenses promises."""

import pytest

from gamekeeper.defenses import MAD, Flatten, Label, LeastLikely, RandomNoise, Round, TopK
from gamekeeper.defenses.guarantees import ANY, Guarantees, guarantees


def test_no_defense_promises_the_clean_answer():
    assert guarantees(()) == Guarantees(keeps_top1=True, l1_bound=0.0, keeps_confidence=True)


def test_distances_add_up_and_the_rest_holds_if_it_holds_of_every_link():
    assert guarantees((Flatten(0.25), LeastLikely(0.5))) == Guarantees(False, 0.75, False)
    assert guarantees((Flatten(0.25), LeastLikely(0.5, keep_top1=True))).keeps_top1
    assert guarantees((Flatten(1.5), LeastLikely(1.0))).l1_bound == ANY
    assert guarantees((TopK(3), TopK(2))) == Guarantees(True, ANY, True)
    assert guarantees((Label(), Round())) == Guarantees(True, ANY, False)


def test_who_says_nothing_promises_nothing():
    assert guarantees((RandomNoise(),)) == Guarantees(False, ANY, False)


@pytest.mark.parametrize(("norm", "bound"), [("l1", 0.5), ("l2", ANY), ("kl", 1.0)])
def test_mads_bound_in_l1_follows_from_its_own_norm(norm, bound: float):
    """KL <= eps gives L1 <= sqrt(2 eps), Pinsker's inequality."""
    assert guarantees((MAD(eps=0.5, norm=norm),)).l1_bound == pytest.approx(bound)
