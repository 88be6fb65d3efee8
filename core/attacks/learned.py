"""A small classifier for attacks that are learned on reference models. scikit-learn is loaded when first used."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np

MOST_ROWS = 20_000
"""Rows an attack classifier trains on at most: its few inputs are learned long before."""


def fit_classifier(
    *, features: np.ndarray, is_member: np.ndarray, hidden: tuple[int, ...], seed: int
) -> Callable[[np.ndarray], np.ndarray]:
    """Train on features [R, F] of shadow records; returns features [N, F] → logits [N] of membership.

    A multilayer perceptron (ReLU, Adam, weight decay 1e-4) on standardised inputs, stopped on a tenth of the *shadow*
    rows: the target's labels play no part. The logit is read off before the sigmoid, which would round to ties.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    rows = np.random.default_rng(seed).permutation(len(features))[:MOST_ROWS]
    centre, scale = features[rows].mean(axis=0), features[rows].std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    network = MLPClassifier(
        hidden_layer_sizes=hidden,
        alpha=1e-4,
        batch_size=min(256, len(rows)),
        early_stopping=len(rows) >= 100,
        n_iter_no_change=5,
        max_iter=60,
        random_state=seed,
    )
    with warnings.catch_warnings():
        # running out of epochs is an ordinary end here
        warnings.simplefilter("ignore", ConvergenceWarning)
        network.fit((features[rows] - centre) / scale, is_member[rows].astype(int))

    def logits(features: np.ndarray) -> np.ndarray:
        hidden = (features - centre) / scale
        for weights, bias in zip(network.coefs_[:-1], network.intercepts_[:-1], strict=True):
            hidden = np.maximum(hidden @ weights + bias, 0)
        return (hidden @ network.coefs_[-1] + network.intercepts_[-1])[:, 0]

    return logits
