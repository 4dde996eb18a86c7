"""Other people's servers behind the gateway and other people's clients before it: writes results/gateway-peers.json.

    python tools/gateway_peers.py            builds their environments first, some 2 GB (`peers/environments.py`)

The gateway has no defense. So what leaves it must be what the model behind it says, cast to float32, bit for bit: by every
protocol, whoever asks, in whatever company. Compared are

    upstreams   MLflow's scoring server and MLServer, against their own answers to requests written by hand
    clients     KServe's InferenceRESTClient and NVIDIA's tritonclient, unmodified, against the model's own answers
"""

import gzip
import json
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import torch
from peers import servers
from peers.environments import PACKAGES, Missing, python
from peers.gateway import Open, opened

from gamekeeper.aside import replaced
from gamekeeper.engine.gateway.upstream import upstream
from gamekeeper.models.opaque import RemoteModel
from gamekeeper.protocols.served import Served
from gamekeeper.targets.builtin import BUILTIN
from gamekeeper.targets.http import HttpOracle
from gamekeeper.tasks import Classify
from gamekeeper.types import Box, Model
from gamekeeper.version import __version__

FILE = Path(__file__).parent.parent / "results" / "gateway-peers.json"
SIZES = (1, 5, 64)
"""Inputs in one request."""
DIGITS = Served("digits", Box((servers.FEATURES,)), servers.CLASSES)
UPSTREAMS: dict[str, Callable[[], Any]] = {"mlflow": servers.mlflow, "mlserver": servers.mlserver}
CLIENTS = {"kserve": "kserve_client.py", "tritonclient": "triton_client.py"}
Record = dict[str, Any]


def inputs(n: int) -> np.ndarray:
    """n rows of float32 that no decimal fraction is, (n, 64)."""
    return np.random.default_rng(n).random((n, servers.FEATURES), dtype=np.float32)


def same(y: np.ndarray, expected: np.ndarray) -> bool:
    """Whether two arrays are the same float32, bit for bit."""
    return y.shape == expected.shape and y.astype("<f4").tobytes() == expected.astype("<f4").tobytes()


# --- upstreams


def by_hand(place: Open, x: np.ndarray) -> dict[str, np.ndarray]:
    """What the gateway answers, by every road; requests are written and answers read here."""
    rows, exact = x.astype(float).tolist(), x.astype(float).ravel().tolist()
    tensor = {"name": "input-0", "shape": list(x.shape), "datatype": "FP32"}
    whole = {"inputs": [{**tensor, "data": exact}]}
    ask = asking(place)
    infer = f"/v2/models/{DIGITS.name}/infer"
    names = [str(column) for column in range(x.shape[1])]
    split = {"dataframe_split": {"columns": names, "data": rows}}
    return {
        "V1": predictions(ask(f"/v1/models/{DIGITS.name}:predict", json.dumps({"instances": rows}).encode())),
        "V2 JSON": listed(ask(infer, json.dumps(whole).encode())),
        "V2 JSON, gzip": listed(ask(infer, gzip.compress(json.dumps(whole).encode()), {"content-encoding": "gzip"})),
        "V2 binary": binary(ask, infer, tensor, x),
        "MLflow inputs": predictions(ask("/invocations", json.dumps({"inputs": rows}).encode())),
        "MLflow instances": predictions(ask("/invocations", json.dumps({"instances": rows}).encode())),
        "MLflow dataframe_split": predictions(ask("/invocations", json.dumps(split).encode())),
    }


def asking(place: Open) -> Callable[..., httpx.Response]:
    def ask(path: str, body: bytes, headers: dict[str, str] | None = None) -> httpx.Response:
        given = {"authorization": f"Bearer {place.key}", "content-type": "application/json", **(headers or {})}
        answer = httpx.post(place.url + path, content=body, headers=given, timeout=30)
        assert answer.status_code == 200, (path, answer.status_code, answer.text[:300])
        return answer

    return ask


def predictions(answer: httpx.Response) -> np.ndarray:
    return np.array(answer.json()["predictions"])


def listed(answer: httpx.Response) -> np.ndarray:
    (output,) = answer.json()["outputs"]
    return np.array(output["data"]).reshape(output["shape"])


def binary(ask: Callable[..., httpx.Response], infer: str, tensor: dict[str, Any], x: np.ndarray) -> np.ndarray:
    told = {
        "inputs": [{**tensor, "parameters": {"binary_data_size": x.nbytes}}],
        "parameters": {"binary_data_output": True},
    }
    head = json.dumps(told).encode()
    about = {"inference-header-content-length": str(len(head)), "content-type": "application/octet-stream"}
    answer = ask(infer, head + x.tobytes(), about)
    length = int(answer.headers["inference-header-content-length"])
    (output,) = json.loads(answer.content[:length])["outputs"]
    return np.frombuffer(answer.content[length:], "<f4").reshape(output["shape"])


def behind(name: str) -> list[Record]:
    """An upstream compared: a record for each road and number of inputs."""
    with UPSTREAMS[name]() as peer:
        oracle = HttpOracle(peer.config, DIGITS.domain, DIGITS.classes)
        victim = upstream(RemoteModel(oracle, Classify(DIGITS.classes), "probabilities"))
        with opened(victim, DIGITS) as place:
            return [
                {
                    "upstream": peer.name,
                    "version": peer.version,
                    "road": road,
                    "inputs": n,
                    "same": same(y, peer.direct(inputs(n))),
                }
                for n in SIZES
                for road, y in by_hand(place, inputs(n)).items()
            ]


# --- clients


def own_model() -> tuple[Model, Served]:
    """The built-in classifier of digits, in this process."""
    target = BUILTIN["digits"]()
    return target.victim, Served("digits", target.box, target.victim.task.classes)


def before(name: str) -> list[Record]:
    """A client compared: a record for each road and number of inputs, and for each of its other calls."""
    interpreter = python(name)
    victim, served = own_model()
    with opened(victim, served) as place, tempfile.TemporaryDirectory() as folder:
        own = {}
        for n in SIZES:
            x = served.domain.uniform(n, n)
            np.save(Path(folder) / f"x-{n}.npy", x.numpy())
            own[f"x-{n}.npy"] = victim(x).y.numpy()
        servers.program(interpreter, CLIENTS[name], place.url, place.key, served.name, folder)
        report = json.loads((Path(folder) / "done.json").read_text())
        client = dict(zip(("client", "version"), report["client"].split(), strict=True))
        answers = [
            {
                **client,
                "road": one["road"],
                "inputs": len(own[one["x"]]),
                "same": same(np.load(Path(folder) / one["y"]), own[one["x"]]),
            }
            for one in report["answers"]
        ]
        return answers + [{**client, "check": check, "same": worked} for check, worked in report["checks"].items()]


def main() -> None:
    torch.set_num_threads(1)
    records, missing = [], {}
    for compare, names in ((behind, UPSTREAMS), (before, CLIENTS)):
        for name in names:
            try:
                records += compare(name)
                print(name, "done")
            except Missing as reason:
                missing[name] = str(reason)
                print(name, "is missing:", reason)
    head = {"version": __version__, "date": datetime.now(UTC).date().isoformat(), "python": sys.version.split()[0]}
    head |= {"packages": {name: list(packages) for name, packages in PACKAGES.items()}, "missing": missing}
    rows = ",\n".join(json.dumps(record) for record in records)
    replaced(FILE, [f'{json.dumps(head)[:-1]}, "records": [\n{rows}\n]}}\n'.encode()])
    wrong = [record for record in records if not record["same"]]
    print(f"{len(records)} comparisons, {len(wrong)} differ", *wrong, sep="\n")
    sys.exit(bool(wrong or missing))


if __name__ == "__main__":
    main()
