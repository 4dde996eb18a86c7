"""Which address of a server is what: the paths of all protocols for one model. A path is compared, never taken apart.

Source      as `v2.py`, `v1.py` and `mlflow.py`
Deviations  every document of health is JSON, since KServe's client reads it; a server that is not ready answers 503
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

from gamekeeper.errors import BadRequest
from gamekeeper.protocols.bodies import Response, document
from gamekeeper.protocols.mlflow import Mlflow, status_mlflow
from gamekeeper.protocols.served import Limits, Served, Wire
from gamekeeper.protocols.v1 import V1, status_v1
from gamekeeper.protocols.v2 import EXTENSION, V2, metadata_v2
from gamekeeper.version import __version__

Status = Callable[[bool], Response]


@dataclass(frozen=True)
class Addresses:
    """The addresses of one model, by every protocol."""

    served: Served
    limits: Limits = field(default_factory=Limits)

    def at(self, method: str, path: str, ready: bool = True) -> Wire | Response:
        """What is at a path, decoded: the Wire that reads a question, or a document. Raises BadRequest (404, 405).

        ready  whether the server answers questions now
        """
        if path in self.wires:
            if method != "POST":
                raise BadRequest("questions are sent to this address by POST.", 405)
            return self.wires[path]
        if path not in self.documents:
            raise BadRequest("there is nothing at this address. Correct the path, or the name of the model in it.", 404)
        if method not in ("GET", "HEAD"):
            raise BadRequest("this address is read by GET.", 405)
        return self.documents[path](ready)

    @cached_property
    def wires(self) -> dict[str, Wire]:
        """By path, what reads a question."""
        wires: dict[str, Wire] = {"/invocations": Mlflow(self.served, self.limits)}
        for version in ("", f"/versions/{self.served.version}"):
            wires[f"/v2/models/{self.served.name}{version}/infer"] = V2(self.served, self.limits)
            wires[f"/v1/models/{self.served.name}{version}:predict"] = V1(self.served, self.limits)
        return wires

    @cached_property
    def documents(self) -> dict[str, Status]:
        """By path, what is said of server and model; given whether it is ready."""
        name, served = self.served.name, self.served
        fixed: dict[str, Status] = {
            "/": lambda _: document({"status": "alive"}),  # as KServe's clients of V1 ask
            "/v2": lambda _: document({"name": "gamekeeper", "version": __version__, "extensions": [EXTENSION]}),
            "/v2/health/live": lambda _: document({"live": True}),
            "/v2/health/ready": lambda ready: document({"ready": ready}, 200 if ready else 503),
            "/v1/models": lambda _: document({"models": [name]}),
            "/ping": status_mlflow,
            "/health": status_mlflow,
            "/version": lambda _: document(__version__),
        }
        for version in ("", f"/versions/{served.version}"):
            model = f"/v2/models/{name}{version}"
            fixed[model] = lambda _: metadata_v2(served)
            fixed[f"{model}/ready"] = lambda ready: document({"name": name, "ready": ready}, 200 if ready else 503)
            fixed[f"/v1/models/{name}{version}"] = lambda ready: status_v1(served, ready)
        return fixed
