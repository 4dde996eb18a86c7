"""A defense's surrogate: an input that is given again and again is looked at once."""

import torch
from torch import nn

from gamekeeper.architectures import Mlp
from gamekeeper.defenses.mad.recipe import MAD
from gamekeeper.learners.lookup_table import KnownDefense
from gamekeeper.models.network import TorchModel
from gamekeeper.tasks import Classify
from gamekeeper.training.surrogate import runs
from gamekeeper.types import Box, Owner, Reply

BOX, TASK = Box((3,)), Classify(4)


class Counting(nn.Module):
    """A network that counts the inputs it sees."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3, 4)
        self.seen = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen += len(x)
        return self.head(x)


def test_a_row_like_the_one_before_it_is_found_and_any_other_is_not():
    a, b, nan = [0.1, 0.2], [0.1, 0.3], [float("nan"), 0.2]
    first, place = runs(torch.tensor([a, a, b, a, nan, nan]))
    assert first.tolist() == [0, 2, 3, 4, 5]
    assert place.tolist() == [0, 0, 1, 2, 3, 4]
    assert [rows.tolist() for rows in runs(torch.empty(0, 2))] == [[], []]


def test_a_thief_s_table_of_mad_costs_one_look_at_each_input_and_is_what_single_questions_give():
    owner = Owner(torch.empty(0, 3), torch.empty(0, dtype=torch.long), BOX, Mlp((3,), 4))
    armed = MAD().arm(TorchModel(Counting(), TASK), owner, 0)
    counting = Counting()
    object.__setattr__(armed, "surrogate", TorchModel(counting, TASK))
    x, rows = BOX.uniform(7, 0), torch.arange(700) % 7
    clean = torch.softmax(4 * torch.randn(700, 4, generator=torch.Generator().manual_seed(0)), 1)
    table = KnownDefense((armed,), keeps_top1=False).table(x, clean, rows)
    assert counting.seen == 7
    singly = [armed.respond(x[row : row + 1], Reply(y), None).y for row, y in zip(rows, clean.split(1), strict=True)]
    assert torch.allclose(table.answered, torch.cat(singly), atol=1e-6)
    assert torch.equal(table.clean, clean)
