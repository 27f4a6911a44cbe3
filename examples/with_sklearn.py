"""scikit-learn: a grid search and a forest, on joblib's backend "zeroipc".

    python examples/with_sklearn.py [--backend loky] [--samples 4000] [--jobs 2]

The samples are copied once for the whole search and mapped by every worker. The script needs
no guard for its workers: joblib's calls travel by value.
"""

from __future__ import annotations

import argparse
import time

import joblib
import numpy as np
from sklearn.datasets import make_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import zeroipc.mp  # noqa: F401 - makes the backend known to joblib


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backend", default="zeroipc")
    parser.add_argument("--samples", type=int, default=4000)
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    samples, labels = make_classification(options.samples, 40, n_informative=8, random_state=0)
    start = time.perf_counter()
    with joblib.parallel_config(backend=options.backend, n_jobs=options.jobs):
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))
        grid = {"logisticregression__C": np.logspace(-4, 2, 13)}
        search = GridSearchCV(model, grid, cv=5).fit(samples, labels)
        forest = RandomForestClassifier(40, random_state=0)
        scores = cross_val_score(forest, samples, labels, cv=4)
    seconds = time.perf_counter() - start
    print(f"regression {search.best_score_:.4f} at {search.best_params_}")
    print(f"forest     {scores.mean():.4f}")
    print(f"{options.backend}: {seconds:.2f} s")


if __name__ == "__main__":
    main()
