"""The server's side of TensorFlow Serving's rows."""

import json

import pytest
import torch

from gamekeeper.errors import BadRequest
from gamekeeper.protocols.served import Limits, Served
from gamekeeper.protocols.v1 import V1, status_v1
from gamekeeper.types import Box, Reply
from tests.protocols.exchange import IMAGES, LIMITS, MAPS, TABLE, Y, asks, images, same

WIRE = V1(IMAGES, LIMITS)
ROW = [[[0.0, 0.25, 0.5], [0.75, 1.0, 0.125]]]


def test_the_documented_example():
    """TensorFlow Serving's half_plus_two, x / 2 + 2, with rows of one number."""
    wire = V1(Served("half_plus_two", Box((1,), 0.0, 9.0), 1))
    question = asks(wire, {"instances": [[1.0], [2.0], [5.0]]})
    assert question.x.tolist() == [[1.0], [2.0], [5.0]]
    answer = wire.write(question, Reply(question.x / 2 + 2))
    assert json.loads(answer.body) == {"predictions": [[2.5], [3.0], [4.5]]}


def test_instances_may_name_their_input():
    request = {"signature_name": "serving_default", "instances": [{"input-0": ROW}] * 2}
    assert asks(WIRE, request).x.tolist() == [ROW] * 2


def test_instances_of_a_table_may_name_its_columns_in_any_order():
    request = {"instances": [{"age": 3, "income": -1.5}, {"income": 2, "age": 4}]}
    assert asks(V1(TABLE), request).x.tolist() == [[3.0, -1.5], [4.0, 2.0]]


def test_numbers_are_the_exact_values_of_float32():
    answer = WIRE.write(asks(WIRE, {"instances": [ROW]}), Reply(Y[:1]))
    assert answer.body == b'{"predictions":[[0.10000000149011612,0.699999988079071,0.20000000298023224]]}'


def test_maps_stand_beside_their_scores():
    wire = V1(MAPS)
    maps = torch.tensor([[[0.5, 0.25]], [[1.0, 0.0]]])
    rows = json.loads(wire.write(asks(wire, {"instances": [ROW] * 2}), Reply(Y, maps)).body)["predictions"]
    assert [row["maps"] for row in rows] == maps.tolist()
    assert torch.equal(torch.tensor([row["probabilities"] for row in rows]), Y)


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({}, 400, "must hold `instances`"),
        ({"inputs": [ROW]}, 400, "must hold `instances`"),
        ({"instances": None}, 400, "`instances` must be a list of inputs; got null"),
        ({"instances": []}, 400, "at least one input"),
        ({"instances": ROW}, 400, "`instances` must be lists of shape"),
        ({"instances": [ROW] * 5}, 413, "at most 4 inputs; got 5"),
        ({"instances": [ROW, [[[0.0, 0.0], [0.0, 0.0, 0.0, 0.0]]]]}, 400, "Rows of different lengths"),
        ({"instances": [{"b64": "aGk="}]}, 400, r"or objects with `input-0` alone; got an object with b64"),
        ({"instances": [{}]}, 400, "an object with nothing"),
        ({"instances": [{"input-0": ROW}, ROW]}, 400, "must be objects, as the first of them is; got a list of 1"),
        ({"instances": [[[[0.0, 0.25, 0.5], [0.75, 1.0, 7.0]]]]}, 400, r"must lie in \[0, 1\]; got 0 to 7"),
    ],
)
def test_refusals(body: object, status: int, message: str):
    with pytest.raises(BadRequest, match=message) as error:
        asks(WIRE, body)
    assert error.value.status == status


@pytest.mark.parametrize(
    ("instance", "message"),
    [
        ({"age": 3}, "without 'income'"),
        ({"age": 3, "income": 1, "name": 2}, "with 'name'"),
        ({"age": 3, "income": "1"}, "numbers only; got a string"),
        ({"age": 3, "income": 6}, r"column 2 must lie in \[-5, 5\]"),
    ],
)
def test_columns_that_do_not_fit(instance: dict[str, object], message: str):
    with pytest.raises(BadRequest, match=message):
        asks(V1(TABLE), {"instances": [instance]})


def test_the_largest_request_fits_the_limits_even_with_a_digit_to_every_bit():
    x = images(4) * (1 - 2**-24) + 2**-24
    body = json.dumps({"instances": x.double().tolist()}, indent=4).encode()
    wire = V1(IMAGES, Limits(rows=4, body=len(body)))
    assert same(asks(wire, body).x, x)
    assert V1(IMAGES, LIMITS).most >= len(body)


def test_the_state_of_the_model_in_both_servers_words():
    value = json.loads(status_v1(IMAGES, True).body)
    assert (value["name"], value["ready"]) == ("m", True)
    assert value["model_version_status"] == [{"version": "1", "state": "AVAILABLE"}]
    assert status_v1(IMAGES, False).status == 503
