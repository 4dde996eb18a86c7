"""Runs in an environment of KServe's: its own client asks a server by every protocol that it speaks.

python kserve_client.py URL KEY MODEL FOLDER     reads x-N.npy of the folder, writes y-N-ROAD.npy and done.json
"""

import asyncio
import json
import sys
from importlib.metadata import version
from pathlib import Path

import httpx
import numpy as np
from kserve import InferenceRESTClient, InferInput, InferRequest
from kserve.inference_client import RESTConfig


def asked(x: np.ndarray, model: str, binary: bool) -> InferRequest:
    given = InferInput("input-0", list(x.shape), "FP32")
    given.set_data_from_numpy(x, binary_data=binary)
    parameters = {"binary_data_output": True} if binary else None
    return InferRequest(model_name=model, infer_inputs=[given], request_id="seven", parameters=parameters)


async def healthy(client: InferenceRESTClient, url: str, model: str, headers: dict[str, str]) -> bool:
    ready = await client.is_model_ready(url, model, headers=headers)
    live = await client.is_server_live(url)
    return bool(ready and live)


async def main(url: str, key: str, model: str, folder: Path) -> None:
    headers, done = {"authorization": f"Bearer {key}"}, []
    v1, v2 = (InferenceRESTClient(RESTConfig(protocol=protocol)) for protocol in ("v1", "v2"))
    checks = {
        "v1 live and model ready": await healthy(v1, url, model, headers),
        "v2 live and model ready": await healthy(v2, url, model, headers),
        "v2 server ready": bool(await v2.is_server_ready(url)),
    }
    for file in sorted(folder.glob("x-*.npy")):
        x = np.load(file)
        answers = {
            "v1": np.array((await v1.infer(url, {"instances": x.tolist()}, model, dict(headers)))["predictions"])
        }
        for road, binary in (("v2 json", False), ("v2 binary", True)):
            reply = await v2.infer(url, asked(x, model, binary), model, dict(headers))
            answers[road] = reply.outputs[0].as_numpy()
            checks[f"{road} keeps the id"] = reply.id == "seven"
        for road, y in answers.items():
            name = f"{file.stem}-{road}.npy".replace(" ", "-").replace("x-", "y-", 1)
            np.save(folder / name, y.astype(np.float32))
            done.append({"x": file.name, "y": name, "road": road})
    try:
        await v2.infer(url, asked(x[:, :1], model, False), model, dict(headers))
    except httpx.HTTPStatusError as error:
        checks["a refusal reaches the caller in words"] = error.response.status_code == 400 and "shape" in str(error)
    report = {"client": f"kserve {version('kserve')}", "checks": checks, "answers": done}
    (folder / "done.json").write_text(json.dumps(report))


url, key, model, folder = sys.argv[1:]
asyncio.run(main(url, key, model, Path(folder)))
