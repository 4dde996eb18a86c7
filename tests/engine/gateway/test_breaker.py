"""The circuit breaker by a clock that only the test moves."""

import pytest

from gamekeeper.engine.gateway.breaker import Breaker
from gamekeeper.errors import Busy


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def sends(breaker: Breaker, worked: bool | None) -> None:
    with breaker.trial() as trial:
        trial.worked = worked


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker(failures=3, rest=5.0, clock=clock)


def test_it_opens_after_so_many_failures_in_a_row_and_says_for_how_long(breaker: Breaker, clock: Clock):
    for worked in (False, False, True, False, False, None, False):
        assert not breaker.resting
        sends(breaker, worked)
    assert breaker.resting
    clock.now += 2
    with pytest.raises(Busy, match="failed 3 times") as error:
        sends(breaker, True)
    assert error.value.wait == 3.0


def test_after_the_rest_one_request_goes_out_and_decides_for_the_others(breaker: Breaker, clock: Clock):
    for _ in range(3):
        sends(breaker, False)
    clock.now += 5
    with breaker.trial() as trial:
        with pytest.raises(Busy):
            sends(breaker, True)
        trial.worked = False
    clock.now += 4.9
    with pytest.raises(Busy):
        sends(breaker, True)
    clock.now += 0.1
    sends(breaker, True)
    assert not breaker.resting
    sends(breaker, False)
    assert not breaker.resting


def test_a_probe_that_shows_nothing_leaves_its_turn_to_the_next(breaker: Breaker, clock: Clock):
    for _ in range(3):
        sends(breaker, False)
    clock.now += 5
    sends(breaker, None)
    with pytest.raises(ZeroDivisionError), breaker.trial():
        raise ZeroDivisionError
    sends(breaker, True)
    assert not breaker.resting


def test_a_late_success_of_an_earlier_request_closes_it(breaker: Breaker):
    with breaker.trial() as late:
        for _ in range(3):
            sends(breaker, False)
        assert breaker.resting
        late.worked = True
    assert not breaker.resting
