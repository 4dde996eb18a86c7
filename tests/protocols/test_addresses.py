"""The addresses of all protocols: JSON at every one of them, and nothing anywhere else."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gamekeeper.errors import BadConfig, BadRequest
from gamekeeper.protocols.addresses import Addresses
from gamekeeper.protocols.bodies import Response
from gamekeeper.protocols.mlflow import Mlflow
from gamekeeper.protocols.served import Limits, Served, Wire
from gamekeeper.protocols.v1 import V1
from gamekeeper.protocols.v2 import V2
from gamekeeper.types import Box
from tests.protocols.exchange import IMAGES

HERE = Addresses(IMAGES)


@pytest.mark.parametrize(
    ("path", "ready", "status", "value"),
    [
        ("/v2/health/live", True, 200, {"live": True}),
        ("/v2/health/live", False, 200, {"live": True}),
        ("/v2/health/ready", True, 200, {"ready": True}),
        ("/v2/health/ready", False, 503, {"ready": False}),
        ("/v2/models/m/ready", True, 200, {"name": "m", "ready": True}),
        ("/v2/models/m/versions/1/ready", False, 503, {"name": "m", "ready": False}),
        ("/v1/models", True, 200, {"models": ["m"]}),
        ("/", False, 200, {"status": "alive"}),
        ("/ping", True, 200, {"ready": True}),
        ("/health", False, 503, {"ready": False}),
    ],
)
def test_health_is_json(path: str, ready: bool, status: int, value: object):
    for method in ("GET", "HEAD"):
        answer = HERE.at(method, path, ready)
        assert isinstance(answer, Response)
        assert (answer.status, json.loads(answer.body)) == (status, value)
        assert dict(answer.headers) == {"Content-Type": "application/json"}


def test_every_document_is_json_and_is_read_only():
    for path in HERE.documents:
        answer = HERE.at("GET", path)
        assert isinstance(answer, Response)
        json.loads(answer.body)
        with pytest.raises(BadRequest, match="read by GET") as error:
            HERE.at("POST", path)
        assert error.value.status == 405


def test_the_server_says_that_it_reads_binary_tensors():
    answer = HERE.at("GET", "/v2")
    assert isinstance(answer, Response)
    assert json.loads(answer.body)["extensions"] == ["binary_tensor_data"]


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/v2/models/m/infer", V2),
        ("/v2/models/m/versions/1/infer", V2),
        ("/v1/models/m:predict", V1),
        ("/v1/models/m/versions/1:predict", V1),
        ("/invocations", Mlflow),
    ],
)
def test_questions_are_posted(path: str, kind: type[Wire]):
    limits = Limits(rows=7)
    assert Addresses(IMAGES, limits).at("POST", path) == kind(IMAGES, limits)
    assert isinstance(HERE.at("POST", path), Wire)
    with pytest.raises(BadRequest, match="by POST") as error:
        HERE.at("GET", path)
    assert error.value.status == 405


@given(st.sampled_from(sorted({*HERE.documents, *HERE.wires})) | st.text(), st.text(max_size=2), st.text(max_size=2))
def test_any_other_path_leads_nowhere(path: str, before: str, after: str):
    path = before + path + after
    if path in HERE.documents or path in HERE.wires:
        return
    for method in ("GET", "POST", "DELETE"):
        with pytest.raises(BadRequest, match="nothing at this address") as error:
            HERE.at(method, path)
        assert error.value.status == 404


@pytest.mark.parametrize("path", ["/v2/models/other/infer", "/v2/models/m/versions/2/infer", "/v2/models/m/", "/v2/"])
def test_another_model_is_not_here_and_this_one_is_not_named(path: str):
    with pytest.raises(BadRequest) as error:
        HERE.at("POST", path)
    assert "m" not in str(error.value).split()


@pytest.mark.parametrize("name", ["", "/m", "m/", " m"])
def test_names_that_no_address_can_hold(name: str):
    with pytest.raises(BadConfig, match="needs a name"):
        Served(name, Box((2,)), 2)


@pytest.mark.parametrize("more", [{"columns": ("a",)}, {"columns": ("a", "a")}, {"maps": "y", "output": "y"}])
def test_descriptions_that_contradict_themselves(more: dict[str, object]):
    with pytest.raises(BadConfig):
        Served("m", Box((2,)), 2, **more)


def test_limits_are_positive():
    with pytest.raises(BadConfig, match="1 or more"):
        Limits(rows=0)
