import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gamekeeper.data.dataset import Dataset
from gamekeeper.data.splits import overlap, split
from gamekeeper.errors import BadConfig


def numbered(values: list[int]) -> Dataset:
    """One row for each value; y is the row's number, so that rows can be told apart."""
    return Dataset(torch.tensor(values).float()[:, None], torch.arange(len(values)))


VALUES = st.lists(st.integers(0, 8), min_size=1, max_size=60)


@given(VALUES, st.integers(0, 1000), st.data())
@settings(deadline=None)
def test_parts_have_their_sizes_and_share_no_content_however_many_rows_are_equal(values, seed, data):
    distinct = len(set(values))
    first = data.draw(st.integers(1, distinct))
    sizes = [first] + ([distinct - first] if first < distinct else [])
    parts = split(numbered(values), sizes, seed)
    assert [len(part) for part in parts] == sizes
    contents = [set(part.x.flatten().tolist()) for part in parts]
    assert all(a.isdisjoint(b) for i, a in enumerate(contents) for b in contents[:i])


@given(VALUES, st.integers(0, 1000))
@settings(deadline=None)
def test_no_row_is_used_twice_and_labels_stay_with_their_rows(values, seed):
    (part,) = split(numbered(values), [len(set(values))], seed)
    assert len(set(part.y.tolist())) == len(part)
    assert [values[row] for row in part.y.tolist()] == part.x.flatten().tolist()


def test_all_rows_are_divided_if_none_are_equal():
    a, b = split(numbered(list(range(100))), [30, 70], seed=3)
    assert sorted(a.y.tolist() + b.y.tolist()) == list(range(100))


def test_a_group_that_does_not_fit_goes_whole_into_a_later_part():
    values = [7] * 50 + list(range(100, 130))
    for seed in range(20):
        small, large = split(numbered(values), [10, 70], seed)
        assert 7 not in small.x
        assert (large.x == 7).sum() == 50


def test_same_seed_same_split_other_seed_other_split():
    data = numbered(list(range(200)))
    digests = [[part.digest() for part in split(data, [50, 50], seed)] for seed in (1, 1, 2)]
    assert digests[0] == digests[1]
    assert digests[0] != digests[2]


def test_every_row_has_the_same_chance():
    counts = torch.zeros(10)
    for seed in range(1000):
        (part,) = split(numbered(list(range(10))), [3], seed)
        counts[part.y] += 1
    # 1000 draws of probability 0.3: standard deviation 14.5
    assert (counts - 300).abs().max() < 65


def test_order_inside_a_part_is_random():
    (part,) = split(numbered(list(range(100))), [100], seed=0)
    assert abs(torch.corrcoef(torch.stack([part.y.float(), torch.arange(100).float()]))[0, 1]) < 0.4


@pytest.mark.parametrize("sizes", [[11], [6, 5], [0], [-1, 3], []])
def test_too_many_rows_or_an_empty_part_are_refused(sizes):
    with pytest.raises(BadConfig, match=r"needs sizes of at least 1|Ask for at most 10"):
        split(numbered(list(range(10))), sizes, seed=0)


def test_equal_rows_do_not_count_as_enough():
    with pytest.raises(BadConfig, match="got 10 rows, of which 1 are"):
        split(numbered([4] * 10), [5, 5], seed=0)


def test_an_unlabelled_set_splits_into_unlabelled_parts():
    a, b = split(Dataset(torch.rand(10, 1, 4, 4)), [4, 6], seed=0)
    assert a.y is None
    assert b.x.shape == (6, 1, 4, 4)


@given(VALUES, VALUES)
@settings(deadline=None)
def test_overlap_counts_the_rows_of_the_first_that_occur_in_the_second(a, b):
    assert overlap(numbered(a).x, numbered(b).x) == sum(value in b for value in a)


def test_overlap_does_not_depend_on_memory_layout():
    x = torch.rand(5, 3, 4, 4)
    assert overlap(x, x.contiguous(memory_format=torch.channels_last)) == 5


def test_overlap_sees_a_change_of_one_bit():
    x = torch.rand(5, 7)
    changed = x.clone()
    changed[2, 3] = torch.nextafter(x[2, 3], torch.tensor(2.0))
    assert overlap(x, changed) == 4


def test_overlap_takes_negative_zero_for_zero():
    assert overlap(torch.zeros(2, 3), -torch.zeros(1, 3)) == 2


@pytest.mark.parametrize("other", [torch.zeros(2, 4), torch.zeros(2, 3).double(), torch.zeros(2, 3, 1)])
def test_overlap_refuses_rows_that_cannot_be_equal(other):
    with pytest.raises(BadConfig, match="the same shape and dtype"):
        overlap(torch.zeros(2, 3), other)


def test_digest_depends_on_content_shape_and_labels_only():
    x, y = torch.rand(6, 3, 4, 4), torch.arange(6)
    digest = Dataset(x, y).digest()
    assert Dataset(x.contiguous(memory_format=torch.channels_last), y.clone()).digest() == digest
    others = [Dataset(x), Dataset(x, y.flip(0)), Dataset(x + 1, y), Dataset(x.reshape(6, 48), y), Dataset(x, y.int())]
    assert len({digest, *(other.digest() for other in others)}) == 6


def test_take_keeps_the_given_order():
    part = numbered([5, 6, 7]).take(torch.tensor([2, 0]))
    assert part.x.flatten().tolist() == [7, 5]
    assert part.y.tolist() == [2, 0]
