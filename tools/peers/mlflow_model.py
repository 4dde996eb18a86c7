"""Runs in an environment of MLflow's: saves a classifier of the digits that ship with scikit-learn, as MLflow packs models.

python mlflow_model.py FOLDER
"""

import sys

import mlflow.sklearn
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

x, y = load_digits(return_X_y=True)
model = LogisticRegression(max_iter=300).fit(x[:1000] / 16, y[:1000])
mlflow.sklearn.save_model(
    model, sys.argv[1], pyfunc_predict_fn="predict_proba", serialization_format="skops", skops_trusted_types=[]
)
