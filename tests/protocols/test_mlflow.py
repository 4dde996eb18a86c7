"""MLflow's and SageMaker's `/invocations`: the documented bodies, data frames by name, and what is refused."""

import json

import pytest
import torch

from gamekeeper.errors import BadRequest
from gamekeeper.protocols.mlflow import Mlflow, encode_invocations, status_mlflow
from gamekeeper.protocols.served import Served
from gamekeeper.types import Box, Reply
from tests.protocols.exchange import IMAGES, LIMITS, OPEN, TABLE, Y, asks, images, rows, same

JSON = {"Content_Type": "application/json"}
TABLE_WIRE, IMAGE_WIRE = Mlflow(TABLE, LIMITS), Mlflow(IMAGES, LIMITS)
X = [[1.0, 2.0], [3.0, 4.0]]


@pytest.mark.parametrize(
    "body",
    [
        {"inputs": X},
        {"inputs": {"input-0": X}},
        {"instances": X},
        {"instances": [{"age": 1, "income": 2}, {"income": 4, "age": 3}]},
        {"instances": [{"input-0": row} for row in X]},
        {"dataframe_split": {"columns": ["age", "income"], "data": X}},
        {"dataframe_split": {"columns": ["income", "age"], "index": [7, 8], "data": [[2, 1], [4, 3]]}},
        {"dataframe_split": {"data": X}},
        {"dataframe_records": [{"income": 2.0, "age": 1}, {"age": 3, "income": 4.0}]},
        {"inputs": X, "params": {}},
    ],
)
def test_every_form_is_the_same_question(body: object):
    question = asks(TABLE_WIRE, body, **JSON)
    assert question.x.tolist() == X
    answer = TABLE_WIRE.write(question, Reply(torch.tensor([[0.25, 0.75], [1.0, 0.0]])))
    assert json.loads(answer.body) == {"predictions": [[0.25, 0.75], [1.0, 0.0]]}


def test_the_documented_example():
    """Three rows of two numbers, sent with a semicolon behind the type, as MLflow's page has it."""
    wire = Mlflow(Served("m", Box((2,), 0.0, 9.0), 2))
    body = b'{"inputs": [[1, 2], [3, 4], [5, 6]]}'
    assert asks(wire, body, Content_Type="application/json;").x.tolist() == [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]


def test_a_table_without_names_takes_columns_as_they_come():
    wire = Mlflow(OPEN)
    assert asks(wire, {"dataframe_split": {"columns": ["x", "y"], "data": X}}).x.tolist() == X
    assert asks(wire, {"dataframe_records": [{"x": 1, "y": 2}, {"y": 4, "x": 3}]}).x.tolist() == X


def test_images_are_lists():
    x = images(3)
    assert same(asks(IMAGE_WIRE, encode_invocations(x)).x, x)
    assert same(asks(TABLE_WIRE, encode_invocations(rows(3))).x, rows(3))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"columns": ["age"], "data": X}, "exactly one of inputs, .*; got none of them"),
        ({"inputs": X, "instances": X}, "got inputs, instances"),
        ({"inputs": X, "params": {"temperature": 1}}, "takes no `params`"),
        ({"inputs": {"x": X}}, "an object with `input-0` alone"),
        ({"inputs": {}}, "an object with `input-0` alone"),
        ({"inputs": "abc"}, "must be a list of inputs; got a string"),
        ({"inputs": []}, "at least one input"),
        ({"inputs": X * 3}, "at most 4 inputs; got 6"),
        ({"inputs": [[1, 2], [3]]}, "Rows of different lengths"),
        ({"inputs": [[1, None]]}, "numbers only; got null"),
        ({"dataframe_split": X}, "an object with `columns` and `data`"),
        ({"dataframe_split": {"columns": ["age", "income"]}}, "an object with `columns` and `data`"),
        ({"dataframe_split": {"columns": ["age", "wage"], "data": X}}, "without 'income'"),
        ({"dataframe_split": {"columns": ["age", "age"], "data": X}}, "without 'income'"),
        (
            {"dataframe_split": {"columns": ["age", "income", "income"], "data": X}},
            "2 columns, each once; one came twice",
        ),
        ({"dataframe_split": {"columns": "ai", "data": X}}, "a list of names; got a string"),
        ({"dataframe_split": {"columns": [0, 1], "data": X}}, "a list of names; got a list of 2"),
        ({"dataframe_split": {"columns": ["age", "income"], "data": [[1, 2, 3]]}}, "shape .1, 2."),
        ({"dataframe_split": {"columns": ["age", "income"], "data": [{"age": 1}]}}, "shape .1, 2."),
        ({"dataframe_records": X}, "an object for each input; got a list of 2"),
        ({"dataframe_records": []}, "at least one input"),
        ({"dataframe_records": [{"age": 1, "income": 2}, 5]}, "must be objects, as the first"),
        ({"dataframe_records": [{"age": 1, "income": 2}, {"age": 1}]}, "without 'income'"),
    ],
)
def test_refusals(body: object, message: str):
    with pytest.raises(BadRequest, match=message):
        asks(TABLE_WIRE, body, **JSON)


def test_data_frames_are_for_tables():
    for body in ({"dataframe_split": {"data": images(1).tolist()}}, {"dataframe_records": [{"a": 1}]}):
        with pytest.raises(BadRequest, match=r"Send `inputs`|or objects with `input-0` alone"):
            asks(IMAGE_WIRE, body)


def test_a_table_without_names_refuses_another_number_of_columns():
    with pytest.raises(BadRequest, match="2 columns"):
        asks(Mlflow(OPEN), {"dataframe_split": {"columns": ["x"], "data": X}})


@pytest.mark.parametrize("text", ["text/csv", "", "application/json; charset=utf-16", "application/jsonx", "json"])
def test_other_types_are_refused_as_such(text: str):
    with pytest.raises(BadRequest, match="application/json, in UTF-8") as error:
        asks(TABLE_WIRE, {"inputs": X}, Content_Type=text)
    assert error.value.status == 415


@pytest.mark.parametrize(
    "text", ["application/json", "Application/JSON; charset=UTF-8", 'application/json;charset="utf-8"']
)
def test_types_that_are_json(text: str):
    assert asks(TABLE_WIRE, {"inputs": X}, Content_Type=text).x.tolist() == X


def test_errors_and_health_are_json():
    answer = TABLE_WIRE.refuse(400, "what was needed.")
    assert json.loads(answer.body) == {"error_code": "BAD_REQUEST", "message": "what was needed."}
    assert json.loads(TABLE_WIRE.refuse(502, "x.").body)["error_code"] == "INTERNAL_ERROR"
    assert json.loads(TABLE_WIRE.refuse(429, "x.").body)["error_code"] == "REQUEST_LIMIT_EXCEEDED"
    assert (status_mlflow(True).status, json.loads(status_mlflow(True).body)) == (200, {"ready": True})
    assert status_mlflow(False).status == 503


def test_numbers_are_exact():
    wire = IMAGE_WIRE
    answer = wire.write(asks(wire, {"inputs": images(2).tolist()}), Reply(Y))
    assert torch.equal(torch.tensor(json.loads(answer.body)["predictions"]), Y)
