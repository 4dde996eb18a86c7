"""TensorFlow Serving's row format ("v1").

Source      TensorFlow Serving's REST API, `POST /v1/models/{model}:predict`
Numbers     the format declares no datatype, so each number is the exact value of the float32 as a double
"""

import orjson

from gamekeeper.protocols.json import inputs_json
from gamekeeper.types import Batch


def encode_v1(x: Batch) -> bytes:
    return orjson.dumps({"instances": inputs_json(x)}, option=orjson.OPT_SERIALIZE_NUMPY)
