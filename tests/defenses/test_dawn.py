"""DAWN: how many inputs are marked, how their labels are drawn, what a client's memory holds, and cells that are crowded."""

import functools
import hmac
import math
from dataclasses import replace

import pytest
import torch
from scipy.stats import chisquare
from torch import Tensor

from gamekeeper.architectures import Mlp, fresh
from gamekeeper.defenses.dawn import DAWN, ArmedDAWN, Cells, Marks, canonical, chosen, exchanged, steps
from gamekeeper.defenses.keyed import secret
from gamekeeper.errors import BadConfig, Unsuited
from gamekeeper.models.network import TorchModel
from gamekeeper.service.service import Service
from gamekeeper.service.stored import packed, unpacked
from gamekeeper.tasks import Classify
from gamekeeper.types import Box, Owner, PerClient, Ranges, Reply

K, MANY = 10, 100_000
SECRET = bytes(range(32))
NET = Mlp((4,), K, (16,))


def inputs(n: int, seed: int = 0) -> Tensor:
    return torch.rand(n, 4, generator=torch.Generator().manual_seed(seed))


@functools.cache
def victim() -> TorchModel:
    return TorchModel(fresh(NET, 0), Classify(K))


def owner(n: int = 500) -> Owner:
    return Owner(inputs(n, 1), torch.zeros(n, dtype=torch.long), Box((4,)), NET, secret=SECRET)


def arm(recipe: DAWN) -> ArmedDAWN:
    return recipe.arm(victim(), owner(), 0)


def answers(n: int) -> Tensor:
    return torch.softmax(torch.randn(n, K, generator=torch.Generator().manual_seed(2)), 1)


@functools.cache
def moved(client: str, share: float = 0.01) -> Tensor:
    armed = arm(DAWN(share))
    return armed.drawn(inputs(MANY), armed.client_key(client), K)


def near(count: float, n: int, share: float) -> bool:
    return abs(count - n * share) < 4 * math.sqrt(n * share * (1 - share))


@pytest.mark.parametrize("share", [0.01, 0.3])
def test_the_stated_share_of_inputs_is_marked(share: float):
    assert near(int((moved("one", share) > 0).sum()), MANY, share)


def test_wrong_labels_are_uniform_over_the_other_classes():
    marked = moved("one", 0.3)
    counts = torch.bincount(marked[marked > 0], minlength=K)[1:]
    assert len(counts) == K - 1
    assert chisquare(counts.numpy()).pvalue > 1e-4


def test_two_clients_share_no_more_marks_than_by_chance():
    one, other = (moved(client, 0.3) > 0 for client in ("one", "other"))
    assert near(int((one & other).sum()), MANY, 0.3**2)
    both = moved("one", 0.3)[one & other] == moved("other", 0.3)[one & other]
    assert near(int(both.sum()), len(both), 1 / (K - 1))


def test_the_comparison_is_strict_and_of_128_bits():
    half = (2**127).to_bytes(16) + bytes(16)
    below = (2**127 - 1).to_bytes(16) + b"\xff" * 16
    assert (chosen(below, 0.5), chosen(half, 0.5)) == (True, False)
    assert (chosen(bytes(32), 0.0), chosen(b"\xff" * 32, 1.0)) == (False, True)


def test_a_mark_worked_by_hand():
    armed, x = arm(DAWN(1.0)), inputs(1)
    master = secret("DAWN", 0, SECRET)
    key = hmac.digest(hmac.digest(b"gamekeeper", master, "sha256"), b"client c\x01", "sha256")  # HKDF, RFC 5869
    assert armed.client_key("c") == key
    levels = (x[0] * 255).round().to(torch.uint8).numpy().tobytes()
    tag = hmac.digest(key, (4).to_bytes(8, "little") + b";" + levels, "sha256")
    move = 1 + int.from_bytes(tag[16:]) % (K - 1)
    y = torch.eye(K)[[7]] * 0.55 + 0.045
    given = armed.respond(x, Reply(y), armed.fresh_for("c")).y
    assert int(given.argmax()) == (7 + move) % K
    assert torch.equal(given.sort().values, y.sort().values)
    assert steps(tag, K) == move


def test_exchanged_swaps_two_entries_of_each_row():
    y = torch.tensor([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7]])
    swapped = exchanged(y, torch.tensor([0, 2]), torch.tensor([2, 1]))
    assert torch.equal(swapped, torch.tensor([[0.2, 0.3, 0.5], [0.1, 0.7, 0.2]]))


@pytest.mark.parametrize("mapping", ["inputs", "cells"])
def test_the_top_class_of_a_marked_input_is_never_the_clean_one_and_comes_again(mapping):
    recipe = DAWN(0.5, mapping, bits=6)
    armed, x, y = recipe.arm(victim(), owner(), 0), inputs(400), answers(400)
    memory = armed.fresh_for("c")
    given = armed.respond(x, Reply(y), memory).y
    marked = armed.drawn(x, armed.client_key("c"), K) > 0
    assert 50 < int(marked.sum()) < 350
    assert torch.equal(given.argmax(1) != y.argmax(1), marked)
    assert torch.equal(given[~marked], y[~marked])
    assert torch.equal(memory.x, x[marked])
    assert torch.equal(memory.y, given[marked].argmax(1))
    again = armed.respond(x.flip(0), Reply(y.flip(0)), memory).y.flip(0)
    assert torch.equal(again, given)
    assert len(memory.y) == int(marked.sum())  # nothing is noted twice


def test_an_input_that_is_sent_twice_in_one_batch_is_noted_once():
    armed, x = arm(DAWN(1.0)), inputs(3)
    memory = armed.fresh()
    armed.respond(x[[0, 1, 0, 2, 1]], Reply(answers(3)[[0, 1, 0, 2, 1]]), memory)
    assert torch.equal(memory.x, x)


def test_a_change_of_less_than_half_a_level_changes_no_answer_and_one_of_a_level_does():
    x = (inputs(200) * 255).round() / 255
    box = Box((4,))
    assert canonical(x, box) == canonical(x + 0.4 / 255, box) == canonical(x.double(), box)
    assert not set(canonical(x, box)) & set(canonical((x + 1 / 255) % 1, box))
    assert canonical(x.reshape(200, 2, 2), box) != canonical(x, box)
    assert canonical(2 * x - 1, Box((4,), -1.0, 1.0)) == canonical(x, box)


def test_other_domains_are_read_as_float32():
    x = torch.tensor([[0.0, 1.0], [-0.0, 1.0], [1e-7, 1.0]])
    one, two, three = canonical(x, Ranges((0.0, 0.0), (1.0, 9.0)))
    assert one == two != three


def test_memory_is_bounded_and_later_marks_are_wrong_all_the_same():
    armed, x, y = arm(DAWN(1.0, most=5)), inputs(12), answers(12)
    memory = armed.fresh()
    given = armed.respond(x[:4], Reply(y[:4]), memory).y, armed.respond(x[4:], Reply(y[4:]), memory).y
    assert (torch.cat(given).argmax(1) != y.argmax(1)).all()
    assert (len(memory.x), len(memory.y), len(memory.names), memory.beyond) == (5, 5, 5, 7)


def test_memory_is_stored_bit_for_bit_and_goes_on():
    armed, x, y = arm(DAWN(0.5)), inputs(60), answers(60)
    whole, parts = armed.fresh_for("c"), armed.fresh_for("c")
    armed.respond(x, Reply(y), whole)
    armed.respond(x[:30], Reply(y[:30]), parts)
    stored = unpacked(Marks, packed(parts))
    armed.respond(x[30:], Reply(y[30:]), stored)
    assert packed(stored) == packed(whole)


def test_marks_are_noted_as_one_by_one_in_a_dictionary():
    """The slow twin; and a copy that goes on by itself leaves the first one alone."""
    armed, slow = arm(DAWN(0.4, most=60)), dict[bytes, Tensor]()
    key, memory, generator = armed.client_key("c"), armed.fresh_for("c"), torch.Generator().manual_seed(3)
    x = inputs(120)
    for n in (0, 1, 1, 7, 30, 2, 60, 9):
        rows = torch.randint(len(x), (n,), generator=generator)
        armed.respond(x[rows], Reply(answers(n)), memory)
        for row, move in zip(rows, armed.drawn(x[rows], key, K), strict=True):
            name = hmac.digest(key, b"name" + canonical(x[row][None], armed.domain)[0], "sha256")
            if move and len(slow) < 60:
                slow.setdefault(name, x[row])
        assert [bytes(name.tolist()) for name in memory.names] == list(slow)
        assert torch.equal(
            memory.x.reshape(-1, 4), torch.cat([torch.zeros(0, 4), *(each[None] for each in slow.values())])
        )
    armed = arm(DAWN(1.0))
    one = armed.fresh()
    armed.respond(x[:3], Reply(answers(3)), one)
    before, other = packed(one), replace(one)
    armed.respond(x[3:4], Reply(answers(1)), other)
    armed.respond(x[4:5], Reply(answers(1)), one)
    assert torch.equal(other.x, x[:4])
    assert torch.equal(one.x, x[[0, 1, 2, 4]])
    assert packed(unpacked(Marks, before)) == before


def test_a_service_gives_each_client_marks_of_their_own():
    armed = arm(DAWN(0.5))
    assert isinstance(armed, PerClient)
    x = inputs(200)
    one, again = (Service(victim(), (arm(DAWN(0.5)),)).open("one")(x).y for _ in range(2))
    other = Service(victim(), (armed,)).open("other")(x).y
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_inputs_of_one_cell_share_their_move_and_crowded_cells_are_clean():
    armed = DAWN(0.02, "cells", bits=5).arm(victim(), owner(), 0)
    assert isinstance(armed.mapping, Cells)
    x, key = inputs(3_000), armed.client_key("c")
    cells = armed.mapping.buckets(x)
    whole = armed_everywhere().drawn(x, key, K)
    for cell in cells.unique():
        assert len(whole[cells == cell].unique()) == 1
    owned = armed.mapping.buckets(owner().x)
    for cell, count in zip(*owned.unique(return_counts=True), strict=True):
        assert (int(cell) in armed.mapping.crowded) == (count > 0.02 * 500)
        if int(cell) in armed.mapping.crowded:
            assert (armed.drawn(x[cells == cell], key, K) == 0).all()


def armed_everywhere() -> ArmedDAWN:
    """Every cell is marked, and none is crowded."""
    return DAWN(1.0, "cells", bits=5).arm(victim(), owner(), 0)


def test_what_does_not_fit_is_refused():
    for wrong in ({"share": 1.5}, {"bits": 0}, {"most": 0}):
        with pytest.raises(BadConfig):
            DAWN(**wrong)

    with pytest.raises(Unsuited, match="inputs from the owner"):
        DAWN(mapping="cells").arm(victim(), owner(0), 0)
