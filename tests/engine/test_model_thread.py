"""The model's thread: what an answer depends on, who waits for whom, and who fails for what."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

from gamekeeper.architectures import LeNet
from gamekeeper.detectors.features import ObservedModel, observed, tap
from gamekeeper.engine.gateway.model_thread import ModelThread, padded, steady
from gamekeeper.engine.gateway.request import Request, under_way
from gamekeeper.errors import Busy
from gamekeeper.models.network import TorchModel
from gamekeeper.service.principals import Principal
from gamekeeper.tasks import Classify
from gamekeeper.types import Box, Reply

DOMAIN = Box((1, 28, 28))


def network(seed: int = 0) -> ObservedModel:
    torch.manual_seed(seed)
    victim = observed(TorchModel(LeNet((1, 28, 28), 10)(), Classify(10)))
    assert isinstance(victim, ObservedModel)
    tap(victim, "a test", "penultimate")
    return victim


class Counting:
    """A model that notes its passes, waits for a signal, and fails for inputs above 1."""

    def __init__(self) -> None:
        self.task = Classify(2)
        self.passes: list[list[float]] = []
        self.threads: set[str] = set()
        self.go = threading.Event()
        self.go.set()

    def __call__(self, x: torch.Tensor) -> Reply:
        self.go.wait(10)
        self.passes.append(x[:, 0].tolist())
        self.threads.add(threading.current_thread().name)
        if (x > 1).any():
            raise ValueError("too large")
        return Reply(torch.cat([x, 1 - x], 1))


def rows(*values: float) -> torch.Tensor:
    return torch.tensor(values)[:, None]


def together(thread: ModelThread, model: Counting, *batches: torch.Tensor) -> list[Reply | Exception]:
    """What batches that wait at the same time, in this order, are answered."""
    model.go.clear()
    with ThreadPoolExecutor(len(batches) + 1) as pool:
        first = pool.submit(thread, rows(0.0))  # keeps the model busy while the others come
        waits(lambda: not thread._queue)
        futures = []
        for place, batch in enumerate(batches):
            futures.append(pool.submit(thread, batch))
            waits(lambda place=place: len(thread._queue) == place + 1)
        model.go.set()
        first.result(10)
        return [future.exception(10) or future.result() for future in futures]


def waits(condition) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


def test_without_buckets_requests_follow_each_other_as_they_are():
    model = Counting()
    with ModelThread(model) as thread:
        replies = together(thread, model, rows(0.1, 0.2), rows(0.3))
        assert [len(reply) for reply in replies] == [2, 1]
        assert model.passes == [pytest.approx(each) for each in ([0.0], [0.1, 0.2], [0.3])]
        assert model.threads == {"model"}
        assert thread.task is model.task


def test_those_who_wait_share_a_padded_bucket_and_a_large_request_holds_up_nobody():
    model = Counting()
    measured = []
    with ModelThread(model, batch=4, passed=lambda *each: measured.append(each[:2])) as thread:
        large, small, other = together(thread, model, rows(*[0.1] * 9), rows(0.2), rows(0.3, 0.4))
    assert model.passes == [
        pytest.approx(each)
        for each in (
            [0.0] * 4,
            [0.1, 0.1, 0.1, 0.1],
            [0.2, 0.3, 0.4, 0.1],  # the others come first, then more of the large one
            [0.1, 0.1, 0.1, 0.1],
        )
    ]
    assert measured == [(1, 4), (4, 4), (4, 4), (4, 4)]
    assert torch.equal(large.y, torch.cat([rows(*[0.1] * 9), 1 - rows(*[0.1] * 9)], 1))
    assert torch.equal(small.y[:, 0], torch.tensor([0.2]))
    assert torch.equal(other.y[:, 0], torch.tensor([0.3, 0.4]))


def test_an_answer_has_the_same_bits_alone_and_in_any_company_at_any_place():
    victim = network()
    x = DOMAIN.uniform(21, 1)
    assert steady(victim, DOMAIN, 16)
    with ModelThread(victim, batch=16) as thread:
        alone = [thread(row) for row in x.split(1)]
        whole = thread(x)  # a bucket and a part of one
        assert torch.equal(whole.y, torch.cat([reply.y for reply in alone]))
        for seed in range(3):
            order = torch.randperm(21, generator=torch.Generator().manual_seed(seed))
            parts = x[order].split([1, 4, 3, 7, 6])
            with ThreadPoolExecutor(5) as pool:
                replies = list(pool.map(thread, parts))
            y = torch.cat([reply.y for reply in replies])
            features = torch.cat([victim.behind(reply)["penultimate"] for reply in replies])
            assert torch.equal(y, whole.y[order])
            assert torch.equal(features, victim.behind(whole)["penultimate"][order])
    # and they are the features of these inputs
    assert torch.allclose(victim.behind(whole)["penultimate"], victim.taps["penultimate"](x), atol=1e-5)


def test_features_stay_with_answers_without_buckets():
    victim = network()
    x = DOMAIN.uniform(3, 1)
    with ModelThread(victim) as thread:
        reply = thread(x)
    assert torch.equal(victim.behind(reply)["penultimate"], victim.behind(victim(x))["penultimate"])


class Neighbours(nn.Module):
    """Its answers depend on who else is in the pass."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1)[:, :2] * x.mean()


class Places(nn.Module):
    """Its answers depend on the place in the pass."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1)[:, :2] * (1 + torch.arange(len(x))[:, None] * 1e-5)


@pytest.mark.parametrize("net", [Neighbours, Places])
def test_a_model_whose_answers_depend_on_others_is_noticed(net):
    assert not steady(TorchModel(net(), Classify(2)), DOMAIN, 8)


def test_nobody_fails_for_what_another_sent():
    model = Counting()
    with ModelThread(model, batch=4) as thread:
        first, bad, last = together(thread, model, rows(0.1), rows(2.0, 0.5), rows(0.3))
    assert isinstance(bad, ValueError)
    assert torch.equal(first.y[:, 0], torch.tensor([0.1]))
    assert torch.equal(last.y[:, 0], torch.tensor([0.3]))


def test_a_large_request_that_fails_in_one_bucket_fails_once_and_the_thread_goes_on():
    model = Counting()
    with ModelThread(model, batch=2) as thread:
        with pytest.raises(ValueError, match="too large"):
            thread(rows(0.1, 2.0, 0.1, 0.1, 0.1))
        assert thread(rows(0.5)).y[0, 0] == 0.5
    assert len(model.passes) == 2


def test_a_question_past_its_deadline_never_reaches_the_model():
    model = Counting()
    model.go.clear()
    with ModelThread(model) as thread, ThreadPoolExecutor(2) as pool:
        first = pool.submit(thread, rows(0.0))
        waits(lambda: not thread._queue)

        def late() -> Reply:
            who = Principal("acme", "ann", "home")
            with under_way(Request(who, rows(0.7), 0.0, deadline=time.monotonic() + 0.05)):
                return thread(rows(0.7))

        second = pool.submit(late)
        time.sleep(0.1)
        model.go.set()
        assert first.result(10).y[0, 0] == 0
        with pytest.raises(Busy, match="until its time was over"):
            second.result(10)
    assert model.passes == [[0.0]]


def test_more_than_may_wait_hear_that_at_once():
    model = Counting()
    model.go.clear()
    with ModelThread(model, waiting=2) as thread, ThreadPoolExecutor(3) as pool:
        futures = [pool.submit(thread, rows(0.0))]
        waits(lambda: not thread._queue)
        futures += [pool.submit(thread, rows(0.1)) for _ in range(2)]
        waits(lambda: len(thread._queue) == 2)
        with pytest.raises(Busy, match="2 requests wait"):
            thread(rows(0.2))
        with pytest.raises(Busy):
            thread.run(lambda: None)
        model.go.set()
        assert all(len(future.result(10)) == 1 for future in futures)


def test_a_call_runs_between_passes_and_its_error_is_the_callers():
    model = Counting()
    with ModelThread(model) as thread:
        assert thread.run(lambda: threading.current_thread().name) == "model"
        assert thread.run(lambda: thread.run(lambda: 3)) == 3
        with pytest.raises(ZeroDivisionError):
            thread.run(lambda: 1 // 0)
        assert len(thread(rows(0.5))) == 1


def test_those_who_wait_are_answered_before_the_end_and_nobody_after():
    model = Counting()
    thread = ModelThread(model)
    model.go.clear()
    with ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(thread, rows(0.1)) for _ in range(3)]
        waits(lambda: len(thread._queue) == 2)
        closing = pool.submit(thread.close)
        time.sleep(0.05)
        model.go.set()
        closing.result(10)
        assert all(len(future.result(10)) == 1 for future in futures)
    with pytest.raises(Busy, match="stopped"):
        thread(rows(0.1))


def test_padding_repeats_the_first_row():
    assert padded(rows(1.0, 2.0), 4)[:, 0].tolist() == [1, 2, 1, 1]
    x = rows(1.0)
    assert padded(x, 1) is x
