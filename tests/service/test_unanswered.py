"""Inputs that somebody's API gives no answer to: each costs itself, and nothing that was paid is lost."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from gamekeeper.errors import Lost, Malformed, Refused, Unreachable
from gamekeeper.service.ledger import Ledger, Recorded, RecordedModel
from gamekeeper.service.oracles import Metered
from gamekeeper.service.service import Service
from gamekeeper.tasks import Classify
from gamekeeper.types import Box, Reply, answered


@pytest.fixture
def ledger(tmp_path: Path):
    ledger = Ledger(tmp_path / "ledger.sqlite")
    yield ledger
    ledger.close()


def inputs(n: int) -> torch.Tensor:
    return torch.arange(n, dtype=torch.float32)[:, None]


class Api:
    """Answers (x, 1 - x) / n; NaN, or an error for the whole batch, if any input is bad."""

    def __init__(self, bad: Callable[[float], bool], error: type[Exception] | None = None) -> None:
        self.bad, self.error, self.sizes = bad, error, list[int]()

    def __call__(self, x: torch.Tensor, /) -> Reply:
        self.sizes.append(len(x))
        bad = torch.tensor([self.bad(value) for value in x[:, 0].tolist()])
        if self.error is not None and bad.any():
            raise self.error("one of them is too large")
        y = torch.cat([x, 1 - x], 1) / 1000
        y[bad] = torch.nan
        return Reply(y)


def recorded(api: Api, ledger: Ledger) -> Recorded:
    return Recorded(api, ledger, "api", 32, costly=True, unanswered="asked again")


def test_a_bad_input_is_asked_once_more_alone_and_then_no_more(ledger):
    api = Api(lambda value: value in (5, 40))
    reply = recorded(api, ledger)(inputs(65))
    assert answered(reply).logical_not().nonzero()[:, 0].tolist() == [5, 40]
    assert torch.equal(reply.y[41], torch.tensor([41.0, -40.0]) / 1000)
    assert api.sizes == [1, 8, 1, 1, 32, 1, 23]
    again = recorded(api, ledger)
    assert torch.equal(again(inputs(65)).y.nan_to_num(-1), reply.y.nan_to_num(-1))
    assert (len(api.sizes), again.charged) == (7, 0)
    assert (ledger.answers("api"), ledger.given_up("api")) == (63, 2)
    assert ledger.unanswered("api") == 4, "each was sent twice, and may have been charged twice"


def test_an_input_that_failed_for_once_is_answered_alone(ledger):
    api = Api(lambda value: value == 5 and len(api.sizes) < 3)
    assert bool(answered(recorded(api, ledger)(inputs(33))).all())
    assert api.sizes == [1, 8, 1, 24]
    assert (ledger.answers("api"), ledger.unanswered("api")) == (33, 1)


def test_a_first_input_without_an_answer_does_not_end_the_run(ledger):
    api = Api(lambda value: value == 0)
    assert answered(recorded(api, ledger)(inputs(40))).sum() == 39
    assert api.sizes == [1, 1, 1, 8, 30], "alone until there is an answer"


def test_an_api_that_answers_nothing_stops_after_a_few_single_inputs(ledger):
    api = Api(lambda value: True)
    with pytest.raises(Malformed, match=r"4 of 4 inputs brought no answer that can be read .* more than 10%"):
        recorded(api, ledger)(inputs(100))
    assert set(api.sizes) == {1}
    assert len(api.sizes) == 7


def test_too_many_without_an_answer_stop_the_run_and_the_others_are_kept(ledger):
    api = Api(lambda value: value % 4 == 1)
    with pytest.raises(Malformed, match=r"run stops\. The 33 answers are recorded"):
        recorded(api, ledger)(inputs(100))
    assert ledger.answers("api") == 33


def test_a_batch_refused_for_one_input_is_halved_until_only_that_input_is_lost(ledger):
    api = Api(lambda value: value == 20, Refused)
    reply = recorded(api, ledger)(inputs(33))
    assert answered(reply).logical_not().nonzero()[:, 0].tolist() == [20]
    assert reply.y.shape == (33, 2)
    assert ledger.unanswered("api") == 0, "refusals are not charged"


def test_a_refusal_of_the_very_first_input_is_an_error(ledger):
    with pytest.raises(Refused):
        recorded(Api(lambda value: True, Refused), ledger)(inputs(3))


@pytest.mark.parametrize(("error", "lost"), [(Lost, 32), (Malformed, 32), (Unreachable, 0)])
def test_what_was_under_way_when_the_server_died_may_have_been_charged(ledger, error: type[Exception], lost: int):
    with pytest.raises(error):
        recorded(Api(lambda value: value == 50, error), ledger)(inputs(100))
    assert ledger.answers("api") == 41
    assert ledger.unanswered("api") == lost


def test_one_input_a_request_that_cannot_be_read_is_one_input(ledger):
    api = Api(lambda value: value == 7, Malformed)
    reply = Recorded(api, ledger, "api", 1, costly=True, unanswered="asked again")(inputs(40))
    assert answered(reply).sum() == 39


def test_the_thief_behind_a_defense_pays_for_it_and_gets_the_others(ledger):
    class Halves:
        def fresh(self) -> None:
            return None

        def respond(self, x: torch.Tensor, reply: Reply, memory: None) -> Reply:
            assert bool(answered(reply).all()), "a defense sees answers only"
            return Reply(torch.full_like(reply.y, 0.5))

    victim = RecordedModel(recorded(Api(lambda value: value == 5), ledger), Classify(2))
    thief = Recorded(Service(victim, (Halves(),)).open("thief"), ledger, "thief", 16, unanswered="passed on")
    meter = Metered(thief, 100, Box((1,), 0.0, 100.0))
    reply = meter(inputs(40))
    assert answered(reply).sum() == 39
    assert reply.y[6].tolist() == [0.5, 0.5]
    assert (meter.spent, ledger.answers("thief"), ledger.unanswered("thief")) == (40, 39, 1)


def test_a_reply_of_nothing_but_inputs_without_an_answer_has_the_width_of_the_task(ledger):
    def client() -> RecordedModel:
        return RecordedModel(recorded(Api(lambda value: value == 5), ledger), Classify(2))

    client()(inputs(40))
    assert client()(inputs(6)[5:]).y.shape == (1, 2)
