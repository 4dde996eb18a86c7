"""The red team's tools: steps no longer than allowed, and a choice that brings the mean to its aim."""

import torch
from red_team import herded, stepped


def test_steps_arrive_and_are_no_longer_than_allowed():
    a, b = torch.zeros(1, 2, 2), torch.ones(1, 2, 2)
    walk = stepped(a, b, 0.3)
    gaps = torch.cat([a[None], walk]).flatten(1).diff(dim=0).norm(dim=1)
    assert torch.equal(walk[-1], b)
    assert len(walk) == 7  # the distance is 2
    assert gaps.max() <= 0.3


def test_rows_are_chosen_that_balance_what_is_there():
    z = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [5.0, 5.0]], dtype=torch.float64)
    aim, nothing = torch.zeros(2, dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
    had = torch.tensor([1.0, 0.0], dtype=torch.float64)
    assert herded(z, aim, 1, had, 1).tolist() == [2]
    assert sorted(herded(z, aim, 3, nothing, 0).tolist()) == [0, 1, 2]
    assert sorted(herded(z, aim, 9, nothing, 0).tolist()) == [0, 1, 2, 3]
