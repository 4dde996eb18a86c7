"""Accounts that send near-identical queries are linked; honest ones are not, even where they share popular images."""

from collections import defaultdict
from dataclasses import replace
from itertools import combinations

import pytest
import torch
from torch import Tensor

from gamekeeper.detectors.links import NEIGHBOURS, Linking, Links, needed, pooled, threshold, united, within
from gamekeeper.detectors.projection import Projection
from gamekeeper.detectors.tree_warning import Coverage, Visited
from gamekeeper.errors import BadConfig, Unsuited
from gamekeeper.targets.builtin import digits
from gamekeeper.types import Batch, Box, Owner

SIDE = 12
BOX = Box((1, SIDE, SIDE))
STUDENT = digits().student
Streams = dict[str, Batch]


def images(n: int, seed: int) -> Tensor:
    """Smooth images, which differ in some 20 directions."""
    coarse = torch.rand(n, 1, 5, 5, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(coarse, size=(SIDE, SIDE), mode="bilinear")


HONEST = images(1_000, 0)
OWNER = Owner(HONEST, torch.zeros(len(HONEST)), BOX, STUDENT)


def played(streams: Streams) -> Links:
    """Clients take turns, ten queries each."""
    links = Linking().arm(OWNER, seed=0)
    for start in range(0, max(len(x) for x in streams.values()), 10):
        for client, x in streams.items():
            if len(x) > start:
                links.add(client, x[start : start + 10])
    return links


def chains(seeds: int, rounds: int, seed: int) -> Batch:
    """As of JBDA: in every round each input so far is moved by .07 along signs, and sent."""
    generator = torch.Generator().manual_seed(seed)
    x = images(seeds, seed)
    for _ in range(rounds):
        signs = torch.randn(x.shape[0], 1, 3, 3, generator=generator)
        step = 0.07 * torch.nn.functional.interpolate(signs, size=(SIDE, SIDE)).sign()
        x = torch.cat([x, (x + step).clamp(0, 1)])
    return x


def honest(clients: int, queries: int, shared: int) -> Streams:
    """Every client sends inputs of their own, and so many of twenty popular ones."""
    own, popular = images(clients * queries, 1), images(20, 2)
    generator = torch.Generator().manual_seed(3)
    streams: Streams = {}
    for client, x in enumerate(own.split(queries)):
        places = torch.randperm(queries, generator=generator)[:shared]
        x[places] = popular[torch.randint(20, (shared,), generator=generator)]
        streams[f"honest {client}"] = x
    return streams


def test_a_thief_with_five_accounts_is_linked_and_fifty_honest_clients_are_not():
    x = chains(seeds=25, rounds=3, seed=9)
    account = torch.randint(5, (len(x),), generator=torch.Generator().manual_seed(0))
    thief = {f"thief {i}": x[account == i] for i in range(5)}
    links = played(honest(50, 100, shared=2) | thief)
    assert links.groups() == [set(thief)]


def test_honest_clients_alone_are_not_linked():
    assert played(honest(50, 100, shared=2)).groups() == []


def test_names_and_the_order_of_clients_change_nothing():
    x = chains(seeds=25, rounds=2, seed=9)
    streams = {f"thief {i}": x[i::4] for i in range(4)} | honest(6, 40, shared=1)
    groups = played(streams).groups()
    assert groups == [{f"thief {i}" for i in range(4)}]
    assert played(dict(reversed(streams.items()))).groups() == groups
    names = {name: f"{len(streams) - i} of them" for i, name in enumerate(streams)}
    renamed = played({names[name]: x for name, x in streams.items()}).groups()
    assert renamed == [{names[name] for name in groups[0]}]


def test_what_an_account_repeats_counts_once():
    own = images(2, 5)
    noise = 0.01 * torch.randn(20, 2, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    bursts = (own + noise).clamp(0, 1).transpose(0, 1).reshape(-1, 1, SIDE, SIDE)
    links = played({"a": bursts, "b": bursts})
    assert links.total == 4
    assert links.groups() == []  # two different queries in common, however often: three are needed
    three = played({"a": images(3, 5), "b": images(3, 5)})
    assert three.groups() == [{"a", "b"}]
    assert played({"a": images(3, 5), "b": torch.cat([images(3, 5), images(40, 6)])}).groups() == [{"a", "b"}]


def test_what_many_accounts_send_links_nobody():
    few = {f"user {i}": images(5, 7) for i in range(4)}
    many = {f"user {i}": images(5, 7) for i in range(12)}
    assert played(few).groups() == [set(few)]
    assert played(many).groups() == []


def test_near_pairs_are_those_of_brute_force():
    generator = torch.Generator().manual_seed(0)
    b = 40 * torch.randn(300, 64, generator=generator)
    a = b[:50] + 10 ** torch.linspace(-4, 0, 50)[:, None] * torch.randn(50, 64, generator=generator)
    exact = (a[:, None].double() - b.double()).square().sum(2)
    for reach in (1e-4, 0.3, 20.0):
        new, old, distance = within(a, b, b.square().sum(1), reach)
        assert torch.equal(torch.stack([new, old]), (exact < reach).nonzero().T)
        assert torch.equal(distance, exact[exact < reach])


@pytest.mark.parametrize("seed", range(3))
def test_groups_are_those_of_a_slow_twin(seed: int):
    """Points in a plane, so that many are near; older ones are dropped on the way."""
    generator = torch.Generator().manual_seed(seed)
    recipe = Linking(rows=60, crowd=4, closest=1e-3, share=0.2)
    plane = Projection(torch.zeros(2, dtype=torch.float64), torch.eye(2, dtype=torch.float64))
    links = Links(plane, near=0.02, repeat=0.005, recipe=recipe)
    sent: list[tuple[str, Tensor]] = []
    for _ in range(40):
        client = str(int(torch.randint(8, (), generator=generator)))
        x = torch.rand(int(torch.randint(1, 7, (), generator=generator)), 2, generator=generator) * 2
        links.add(client, x)
        sent += [(client, row) for row in x]
    rows, pairs, crowd = slow(sent, links)
    assert links.total == len(rows)
    assert {tuple(pair) for pair in links.live().T.tolist()} == {(i, j) for i, j in pairs if j >= len(rows) - 60}
    assert [int(links.crowd[i % 60]) for i in range(len(rows) - 60, len(rows))] == crowd[-60:]
    assert links.groups() == slow_groups(rows, pairs, crowd, links)


def slow(
    sent: list[tuple[str, Tensor]], links: Links
) -> tuple[list[tuple[str, Tensor]], list[tuple[int, int]], list[int]]:
    """Row by row: the different ones, the pairs that were near while both were held, how many are near each."""
    rows: list[tuple[str, Tensor]] = []
    pairs: list[tuple[int, int]] = []
    crowd: list[int] = []
    for client, x in sent:
        held = range(max(0, len(rows) - links.recipe.rows), len(rows))
        distance = {i: float((rows[i][1] - x).double().square().sum()) for i in held}
        if any(rows[i][0] == client and distance[i] < links.repeat for i in held):
            continue
        near = [i for i in held if rows[i][0] != client and distance[i] < links.near]
        for i in near:
            crowd[i] += 1
        pairs += [(len(rows), i) for i in near]
        rows.append((client, x))
        crowd.append(len(near))
    return rows, pairs, crowd


def slow_groups(
    rows: list[tuple[str, Tensor]], pairs: list[tuple[int, int]], crowd: list[int], links: Links
) -> list[set[str]]:
    recipe = links.recipe
    first = len(rows) - recipe.rows
    pairs = [(i, j) for i, j in pairs if j >= first and max(crowd[i], crowd[j]) <= recipe.crowd]
    groups = [{client} for client in {client for client, _ in rows[first:]}]
    while True:
        joins = []
        for a, b in combinations(groups, 2):
            met: dict[int, set[int]] = defaultdict(set)
            for i, j in [*pairs, *((j, i) for i, j in pairs)]:
                if rows[i][0] in a and rows[j][0] in b:
                    met[0].add(i)
                    met[1].add(j)
            mine, yours = ([x.double() for client, x in rows[first:] if client in group] for group in (a, b))
            wide = sum(float((x - y).square().sum()) < 4 * links.near for x in mine for y in yours)
            least = needed(min(len(mine), len(yours)), wide, recipe.pairs, recipe.share)
            if min(len(met[0]), len(met[1])) >= least:
                joins.append(a | b)
        if not joins:
            return sorted((group for group in groups if len(group) > 1), key=min)
        for join in joins:
            together = set[str]().union(*(group for group in groups if group & join))
            groups = [group for group in groups if not group & join] + [together]


def test_memory_is_bounded_under_a_flood():
    links = Linking(rows=50).arm(OWNER, seed=0)
    for client in range(300):
        links.add(str(client), HONEST[client % 3 : client % 3 + 1])
    assert len(links.rows) == 50
    assert links.stored <= 2 * NEIGHBOURS * 50 + NEIGHBOURS
    assert len(links.numbers) <= 101
    assert links.groups() == []


def test_more_at_once_than_is_remembered():
    links = Linking(rows=30).arm(OWNER, seed=0)
    links.add("a", HONEST[:100])
    assert links.total == 100
    torch.testing.assert_close(links.rows[99 % 30], links.onto(HONEST[99:100])[0])
    links.add("b", HONEST[90:100])
    assert links.groups() == [{"a", "b"}]


def test_the_threshold_is_a_quantile_of_honest_pairs():
    f = torch.tensor([[0.0], [1.0], [3.0], [7.0]])  # squared distances 1, 4, 9, 16, 36, 49
    assert threshold(f, closest=0.5) == 9
    assert threshold(f, closest=1 / 6) == 1
    assert threshold(f, closest=1 / 60) == pytest.approx(0.1)  # fewer pairs than that: a tenth of the smallest


def test_what_two_groups_need_grows_with_them():
    assert needed(5, wide=0, pairs=3, share=0.1) == 3
    assert needed(30, wide=1, pairs=3, share=0.1) == 3
    assert needed(100, wide=3, pairs=3, share=0.1) == 10
    # of 320 pairs within twice the distance, 10 within the distance by chance: P(n >= 22) = 7e-4
    assert needed(100, wide=320, pairs=3, share=0.1) == 22


def test_honest_clients_who_send_one_kind_of_input_are_not_linked():
    """All within a small ball in six directions: many are near, and far more are a little less near."""
    links = Linking().arm(OWNER, seed=0)
    generator = torch.Generator().manual_seed(0)
    coarse = 0.5 + 0.04 * torch.randn(600, 1, 2, 3, generator=generator)
    x = torch.nn.functional.interpolate(coarse, size=(SIDE, SIDE), mode="bilinear")
    links.add("a", x[:300])
    links.add("b", x[300:])
    near = links.live()
    assert min(len(side.unique()) for side in near) > 0.1 * 300
    assert links.groups() == []


def test_union_find():
    assert united(6, [(4, 1), (5, 4), (2, 3)]).tolist() == [0, 1, 2, 2, 1, 1]
    assert united(2, []).tolist() == [0, 1]


def test_where_honest_inputs_are_alike_nobody_is_linked():
    twice = replace(OWNER, natural=torch.cat([HONEST[:20], HONEST[:20]]), natural_truth=None)
    with pytest.raises(Unsuited, match="equal inputs say nothing"):
        Linking(closest=0.02).arm(twice, seed=0)
    with pytest.raises(Unsuited, match="pairs of inputs"):
        Linking().arm(replace(OWNER, x=HONEST[:0], truth=OWNER.truth[:0]), seed=0)
    with pytest.raises(BadConfig, match="share from 0 to 1"):
        Linking(share=2.0)


def test_a_group_is_remembered_as_one_client():
    coverage = Coverage(lambda x: x[:, :1].long(), torch.ones(4, dtype=torch.int64))
    memories = {"a": Visited(torch.tensor([1, 0, 0, 0]).bool()), "b": Visited(torch.tensor([0, 0, 1, 0]).bool())}
    union = pooled(coverage, {"a", "b", "never scored"}, memories)
    assert union is not None
    assert union.leaves.tolist() == [True, False, True, False]
