"""Agreement with answers held out: a way of learning that memorises, against counts made by hand."""

import torch

from gamekeeper.tasks import Classify
from gamekeeper.training.validation import HELD_OUT, held_out_agreement
from gamekeeper.types import Reply, Transfer


class Always:
    """A model that answers class 0, and remembers what it was made from."""

    task = Classify(3)

    def __init__(self, seen: Transfer):
        self.seen = seen

    def __call__(self, x: torch.Tensor, /) -> Reply:
        return Reply(torch.eye(3)[torch.zeros(len(x), dtype=torch.long)])


def transfer(n: int) -> Transfer:
    """Row i is input i; every third answer is class 0."""
    return Transfer(torch.arange(float(n))[:, None], Reply(torch.eye(3)[torch.arange(n) % 3]), n)


def test_a_tenth_is_held_out_by_the_seed_and_counted():
    made: list[Always] = []
    for seed in (0, 0, 1):
        found = held_out_agreement(lambda some: made.append(Always(some)) or made[-1], transfer(47), seed)
        seen = made[-1].seen.x[:, 0].long()
        held = [i for i in range(47) if i not in seen.tolist()]
        assert (len(seen), len(held), found.n) == (43, 4, 4)
        assert found.value == sum(i % 3 == 0 for i in held) / 4
        assert torch.equal(made[-1].seen.reply.y, torch.eye(3)[seen % 3])
    first, again, other = (each.seen.x for each in made)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_too_few_answers_are_not_split():
    def never(some: Transfer):
        raise AssertionError

    assert held_out_agreement(never, transfer(HELD_OUT - 1), 0) is None
