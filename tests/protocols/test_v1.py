"""TensorFlow Serving's rows: exact numbers."""

import json

import numpy as np
import pytest
import torch

from gamekeeper.protocols.v1 import encode_v1

pytestmark = pytest.mark.thorough


def test_rows_carry_the_exact_value_of_a_float32():
    x = torch.tensor([[0.1, 1 / 255]])
    assert json.loads(encode_v1(x)) == {"instances": [[0.10000000149011612, 0.003921568859368563]]}


def test_images_keep_their_shape():
    x = torch.rand(2, 1, 3, 3)
    assert np.array(json.loads(encode_v1(x))["instances"]).shape == (2, 1, 3, 3)
