"""The gateway before and behind other people's software; slow, since their environments are built first."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace

import gateway_peers
import pytest
import torch
from peers.environments import PACKAGES, Missing
from peers.gateway import opened

from gamekeeper.tasks import Classify
from gamekeeper.types import Batch, Model, Reply

ROADS = {
    "V1",
    "V2 JSON",
    "V2 JSON, gzip",
    "V2 binary",
    "MLflow inputs",
    "MLflow instances",
    "MLflow dataframe_split",
}


def compared(compare: Callable[[str], list[gateway_peers.Record]], name: str) -> list[gateway_peers.Record]:
    try:
        return compare(name)
    except Missing as reason:
        pytest.skip(str(reason))


@pytest.mark.slow
@pytest.mark.parametrize("name", gateway_peers.UPSTREAMS)
def test_behind_the_gateway_are_the_numbers_of_a_real_server(name: str):
    records = compared(gateway_peers.behind, name)
    assert {(one["road"], one["inputs"]) for one in records} == {(r, n) for r in ROADS for n in gateway_peers.SIZES}
    assert not [one for one in records if not one["same"]]


@pytest.mark.slow
@pytest.mark.parametrize("name", gateway_peers.CLIENTS)
def test_a_real_client_reads_the_model_s_own_numbers(name: str):
    records = compared(gateway_peers.before, name)
    assert {one["inputs"] for one in records if "road" in one} == set(gateway_peers.SIZES)
    assert not [one for one in records if not one["same"]]


@dataclass(frozen=True)
class Linear:
    task = Classify(10)

    def __call__(self, x: Batch, /) -> Reply:
        return Reply(torch.softmax(x @ torch.randn(64, 10, generator=torch.Generator().manual_seed(0)), 1))


@dataclass(frozen=True)
class OneBitOff:
    """A model whose last number of the last row is the next float32."""

    model: Model
    task = Classify(10)

    def __call__(self, x: Batch, /) -> Reply:
        reply = self.model(x)
        y = reply.y.float().clone()
        y[-1, -1] = torch.nextafter(y[-1, -1], torch.tensor(2.0))
        return replace(reply, y=y)


@pytest.mark.thorough
def test_the_comparison_notices_one_bit():
    victim, x = Linear(), gateway_peers.inputs(5)
    own = victim(torch.from_numpy(x)).y.numpy()
    for model, expected in ((victim, True), (OneBitOff(victim), False)):
        with opened(model, gateway_peers.DIGITS) as place:
            answers = gateway_peers.by_hand(place, x)
        assert {road: gateway_peers.same(y, own) for road, y in answers.items()} == dict.fromkeys(ROADS, expected)


def test_the_committed_log_is_whole_and_of_these_versions():
    log = json.loads(gateway_peers.FILE.read_text())
    assert log["packages"] == {name: list(packages) for name, packages in PACKAGES.items()}
    assert not log["missing"]
    assert all(one["same"] for one in log["records"])
    upstreams = {(one["upstream"], one["version"]) for one in log["records"] if "upstream" in one}
    clients = {(one["client"], one["version"]) for one in log["records"] if "client" in one}
    assert {f"{name}=={version}" for name, version in clients} == {"kserve==0.21.0", "tritonclient==2.73.0"}
    assert upstreams == {("MLflow scoring server", "3.17.2"), ("MLServer", "1.7.1")}
