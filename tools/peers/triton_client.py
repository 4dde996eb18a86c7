"""Runs in an environment of its own: NVIDIA's client asks a server in binary and JSON, compressed or not, at once or later.

python triton_client.py URL KEY MODEL FOLDER     reads x-N.npy of the folder, writes y-N-ROAD.npy and done.json
"""

import itertools
import json
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import tritonclient.http as triton


def given(x: np.ndarray, binary: bool) -> list[triton.InferInput]:
    one = triton.InferInput("input-0", list(x.shape), "FP32")
    one.set_data_from_numpy(x, binary_data=binary)
    return [one]


def main(url: str, key: str, model: str, folder: Path) -> None:
    client, headers = triton.InferenceServerClient(url.removeprefix("http://")), {"authorization": f"Bearer {key}"}
    done = []
    checks = {
        "server live": client.is_server_live(),
        "server ready": client.is_server_ready(),
        "model ready": client.is_model_ready(model),
        "binary is offered": "binary_tensor_data" in client.get_server_metadata(headers=headers)["extensions"],
        "metadata name the input": client.get_model_metadata(model, headers=headers)["inputs"][0]["name"] == "input-0",
    }
    for file in sorted(folder.glob("x-*.npy")):
        x, answers = np.load(file), {}
        name = client.get_model_metadata(model, headers=headers)["outputs"][0]["name"]
        for into, back, packed in itertools.product((False, True), (False, True, None), (None, "gzip", "deflate")):
            outputs = None if back is None else [triton.InferRequestedOutput(name, binary_data=back)]
            reply = client.infer(
                model,
                given(x, into),
                outputs=outputs,
                request_id="seven",
                headers=dict(headers),
                request_compression_algorithm=packed,
                response_compression_algorithm=packed,
            )
            words = {True: "binary", False: "json", None: "default"}
            answers[f"{words[into]} {words[back]} {packed or 'plain'}"] = reply.as_numpy(name)
            checks["the id comes back"] = (
                checks.get("the id comes back", True) and reply.get_response()["id"] == "seven"
            )
        later = client.async_infer(model, given(x, True), headers=dict(headers))
        answers["asynchronous"] = later.get_result().as_numpy(name)
        for road, y in answers.items():
            place = f"{file.stem}-{road}.npy".replace(" ", "-").replace("x-", "y-", 1)
            np.save(folder / place, y)
            done.append({"x": file.name, "y": place, "road": road})
    try:
        client.infer(model, given(x[:, :1], True), headers=dict(headers))
    except triton.InferenceServerException as error:
        checks["a refusal reaches the caller in words"] = error.status() == "400" and "shape" in error.message()
    client.close()
    report = {"client": f"tritonclient {version('tritonclient')}", "checks": checks, "answers": done}
    (folder / "done.json").write_text(json.dumps(report))


url, key, model, folder = sys.argv[1:]
main(url, key, model, Path(folder))
