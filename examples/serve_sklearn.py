"""A model behind HTTP, to try a live audit on. Standard library only; listens on 127.0.0.1.

    python examples/serve_sklearn.py mnist            # the shipped LeNet; or breast-cancer
    gamekeeper audit examples/http_target.toml        # in another terminal

v2: GET /v2/models/{name} and POST /v2/models/{name}/infer (JSON tensors); v1: POST /v1/models/{name}:predict
"""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np


def breast_cancer():
    """Logistic regression on the even rows, every feature scaled to [0, 1]; the odd rows are left for a test set."""
    from sklearn.datasets import load_breast_cancer
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import minmax_scale

    x, y = load_breast_cancer(return_X_y=True)
    return (30,), LogisticRegression(C=100, max_iter=5000).fit(minmax_scale(x)[::2], y[::2]).predict_proba


def mnist():
    """The shipped LeNet for digits, (1, 28, 28) in [0, 1]."""
    import torch
    from safetensors.torch import load_file

    from gamekeeper import TorchModel, architectures, tasks
    from gamekeeper.data import batteries

    net = architectures.LeNet((1, 28, 28), 10)()
    net.load_state_dict(load_file(batteries.weights("mnist-lenet")))
    model = TorchModel(net, tasks.Classify(10))
    return (1, 28, 28), lambda x: model(torch.from_numpy(x.astype(np.float32))).y.numpy()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # keeps connections open
    disable_nagle_algorithm = True

    def do_GET(self):
        name, shape, _ = self.server.model
        known = self.path == f"/v2/models/{name}"
        inputs = [{"name": "x", "datatype": "FP32", "shape": [-1, *shape]}]
        self.reply({"name": name, "inputs": inputs} if known else {"error": "unknown path"}, 200 if known else 404)

    def do_POST(self):
        name, shape, predict = self.server.model
        try:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.path == f"/v2/models/{name}/infer":
                y = predict(np.array(asked["inputs"][0]["data"], dtype=np.float32).reshape(-1, *shape))
                output = {"name": "posterior", "datatype": "FP64", "shape": y.shape, "data": y.ravel().tolist()}
                self.reply({"model_name": name, "id": asked.get("id", ""), "outputs": [output]})
            elif self.path == f"/v1/models/{name}:predict":
                self.reply({"predictions": predict(np.array(asked["instances"]).reshape(-1, *shape)).tolist()})
            else:
                self.reply({"error": "unknown path"}, 404)
        except (ValueError, LookupError, TypeError) as error:
            self.reply({"error": f"the request makes no sense: {error}"}, 400)

    def reply(self, document, status=200):
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        """Quiet."""


def server(name, port=8000):
    """Ready to `serve_forever`; port 0 takes a free one."""
    model = (name, *{"mnist": mnist, "breast-cancer": breast_cancer}[name]())
    ready = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    ready.model = model
    return ready


if __name__ == "__main__":
    ready = server(sys.argv[1] if len(sys.argv) > 1 else "mnist")
    print(f"{ready.model[0]} answers at http://127.0.0.1:{ready.server_port}; Ctrl-C ends")  # noqa: T201
    ready.serve_forever()
