"""MLflow's scoring server and MLServer on 127.0.0.1, each before the same classifier of digits, and what they answer by themselves.

Their own answers are asked for in requests that are written here by hand, not by gamekeeper's client.
"""

import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np

from gamekeeper.targets.http_config import HttpConfig
from peers.environments import Missing, python

FEATURES, CLASSES = 64, 10
PROGRAMS = Path(__file__).parent
START = 180
"""Seconds for a server to begin."""


@dataclass(frozen=True)
class Peer:
    """A server that runs.

    version  its own word
    config   the `[http]` table by which gamekeeper calls it
    direct   what it answers to inputs (n, 64) by itself: posteriors (n, 10) as float64
    """

    name: str
    version: str
    config: HttpConfig
    direct: Callable[[np.ndarray], np.ndarray]


@contextmanager
def mlflow() -> Iterator[Peer]:
    interpreter, url = python("mlflow"), f"http://127.0.0.1:{free_port()}"
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model"
        program(interpreter, "mlflow_model.py", str(model))
        command = ["mlflow", "models", "serve", "-m", str(model), "-h", "127.0.0.1", "--env-manager", "local"]
        with running([*command, "-p", url.rpartition(":")[2]], interpreter, f"{url}/ping"):

            def direct(x: np.ndarray) -> np.ndarray:
                return np.array(asked(f"{url}/invocations", {"inputs": x.astype(float).tolist()})["predictions"])

            config = HttpConfig(
                url=f"{url}/invocations",
                protocol="json",
                request={"inputs": "$INPUTS"},
                response="predictions",
                batch=256,
            )
            yield Peer("MLflow scoring server", httpx.get(f"{url}/version").text.strip(), config, direct)


@contextmanager
def mlserver() -> Iterator[Peer]:
    interpreter, port = python("mlserver"), free_port(3)
    url = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model"
        program(interpreter, "mlserver_model.py", str(model), str(port))
        with running(["mlserver", "start", str(model)], interpreter, f"{url}/v2/models/digits/ready"):

            def direct(x: np.ndarray) -> np.ndarray:
                tensor = {
                    "name": "input-0",
                    "shape": list(x.shape),
                    "datatype": "FP32",
                    "data": x.astype(float).ravel().tolist(),
                }
                body = {"inputs": [tensor], "outputs": [{"name": "predict_proba"}]}
                (output,) = asked(f"{url}/v2/models/digits/infer", body)["outputs"]
                return np.array(output["data"]).reshape(output["shape"])

            config = HttpConfig(url=url, model="digits", output_name="predict_proba", batch=256)
            yield Peer("MLServer", httpx.get(f"{url}/v2").json()["version"], config, direct)


def asked(url: str, body: object) -> dict:
    answer = httpx.post(url, json=body, timeout=30)
    answer.raise_for_status()
    return answer.json()


def free_port(together: int = 1) -> int:
    """A port that nobody has now, with those after it."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as first:
            port = first.getsockname()[1]
            try:
                for more in range(1, together):
                    socket.create_server(("127.0.0.1", port + more)).close()
            except OSError:
                continue
            return port


def program(interpreter: Path, name: str, *arguments: str) -> None:
    """Runs one of the programs beside this file in an environment. Raises Missing with its last words."""
    done = subprocess.run(
        [interpreter, PROGRAMS / name, *arguments],
        capture_output=True,
        text=True,
        env=environment(interpreter),
        check=False,
    )
    if done.returncode:
        raise Missing(f"{name} failed: {done.stderr.strip()[-2000:]}")


@contextmanager
def running(command: list[str], interpreter: Path, ready: str) -> Iterator[None]:
    """A server of an environment, once `ready` answers 200, until the block ends."""
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            [interpreter.parent / command[0], *command[1:]], stdout=log, stderr=log, env=environment(interpreter),
            start_new_session=True,
        )  # fmt: skip
        try:
            wait_for(ready, process, log)
            yield
        finally:
            os.killpg(process.pid, 15)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, 9)
                process.wait()


def wait_for(ready: str, process: "subprocess.Popen[bytes]", log: object) -> None:
    end = time.monotonic() + START
    while time.monotonic() < end and process.poll() is None:
        try:
            if httpx.get(ready, timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.25)
    log.seek(0)  # type: ignore[attr-defined]
    raise Missing(f"{process.args[0]} did not begin: {log.read()[-2000:]}")  # type: ignore[attr-defined,index]


def environment(interpreter: Path) -> dict[str, str]:
    """Variables under which a peer runs: its own programs first, nothing of ours, one thread."""
    mine = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    path = f"{interpreter.parent}{os.pathsep}{mine.get('PATH', '')}"
    return {**mine, "PATH": path, "OMP_NUM_THREADS": "1", "NO_PROXY": "127.0.0.1"}
