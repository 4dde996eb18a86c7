"""What a chain of defenses promises."""

import pytest

from gamekeeper.defenses import MAD, Flatten, Label, LeastLikely, RandomNoise, Round, TopK
from gamekeeper.defenses.guarantees import ANY, Promise, promise


def test_no_defense_promises_the_clean_answer():
    assert promise(()) == Promise(keeps_top1=True, l1_bound=0.0, keeps_confidence=True)


def test_distances_add_up_and_the_rest_holds_if_it_holds_of_every_link():
    assert promise((Flatten(0.25), LeastLikely(0.5))) == Promise(False, 0.75, False)
    assert promise((Flatten(0.25), LeastLikely(0.5, keep_top1=True))).keeps_top1
    assert promise((Flatten(1.5), LeastLikely(1.0))).l1_bound == ANY
    assert promise((TopK(3), TopK(2))) == Promise(True, ANY, True)
    assert promise((Label(), Round())) == Promise(True, ANY, False)


def test_who_says_nothing_promises_nothing():
    assert promise((RandomNoise(),)) == Promise(False, ANY, False)


@pytest.mark.parametrize(("norm", "bound"), [("l1", 0.5), ("l2", ANY), ("kl", 1.0)])
def test_mads_bound_in_l1_follows_from_its_own_norm(norm, bound: float):
    """KL <= eps gives L1 <= sqrt(2 eps), Pinsker's inequality."""
    assert promise((MAD(eps=0.5, norm=norm),)).l1_bound == pytest.approx(bound)
