"""Runs in an environment of MLServer's: saves a classifier of the digits that ship with scikit-learn, and its settings.

python mlserver_model.py FOLDER PORT
"""

import json
import sys
from pathlib import Path

import joblib
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

folder, port = Path(sys.argv[1]), int(sys.argv[2])
folder.mkdir()
x, y = load_digits(return_X_y=True)
joblib.dump(LogisticRegression(max_iter=300).fit(x[:1000] / 16, y[:1000]), folder / "model.joblib")
server = {
    "host": "127.0.0.1",
    "http_port": port,
    "grpc_port": port + 1,
    "metrics_port": port + 2,
    "parallel_workers": 0,
}
model = {
    "name": "digits",
    "implementation": "mlserver_sklearn.SKLearnModel",
    "parameters": {"uri": "./model.joblib", "version": "1"},
}
(folder / "settings.json").write_text(json.dumps(server))
(folder / "model-settings.json").write_text(json.dumps(model))
