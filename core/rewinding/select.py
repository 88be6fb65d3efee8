"""From a fraction and a scope to the number of weights per layer, and from numbers to masks."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

import numpy as np
import pandas as pd

from core.config import BadInput
from core.importance.index import ScoreIndex
from core.rewinding.config import CWRF

SHOWN = 8
"""Names that an error message lists at most."""


def select(*, index: ScoreIndex, layers: pd.DataFrame, config: CWRF) -> pd.DataFrame:
    """How many weights of each layer are rewound; milliseconds, from the sorted index alone.

    layers: one row per parameter in forward order with name, region, type, count. Returns it with the columns
    `rewound` (int), `share` (of the layer) and `threshold` (lowest score selected in that layer's competition, inf
    where nothing is). Raises BadInput for unknown regions, layers or types, and for an empty scope; ValueError where
    index and layers are not of the same model in the same order.
    """
    names = list(layers["name"])
    if names != list(index.layers) or layers["count"].tolist() != index.sizes.tolist():
        raise ValueError("the score index and the table of layers belong to different models")
    _known(config.regions, layers["region"], "region")
    _known(config.exclude, [*names, *layers["type"]], "layer or weight type")
    _known(config.layer_fractions, names, "layer")
    scope = ~(layers["name"].isin(config.exclude) | layers["type"].isin(config.exclude)).to_numpy()
    if config.regions:
        scope &= layers["region"].isin(config.regions).to_numpy()
    ranked = scope & ~layers["name"].isin(config.layer_fractions).to_numpy()
    if not scope.any():
        raise BadInput("nothing left to rewind: the regions and exclusions leave no weights in scope")

    groups: dict[str, list[int]] = {}
    for i in np.flatnonzero(ranked):
        group = {"global": "all", "per layer": names[i], "per type": layers["type"].iloc[i]}[config.ranking]
        groups.setdefault(str(group), []).append(int(i))
    competitions = [(config.fraction, members) for members in groups.values()]
    competitions += [(config.layer_fractions[names[i]], [int(i)]) for i in np.flatnonzero(scope & ~ranked)]

    rewound, thresholds = np.zeros(len(names), np.int64), np.full(len(names), np.inf)
    for fraction, members in competitions:
        threshold, counts = index.top(round(fraction * int(index.sizes[members].sum())), members)
        rewound += counts
        thresholds[members] = threshold
    return layers.assign(rewound=rewound, share=rewound / layers["count"], threshold=thresholds)


def masks(*, scores: dict[str, np.ndarray], counts: dict[str, int]) -> dict[str, np.ndarray]:
    """B_r: per layer a bool array that marks exactly counts[layer] weights of highest score, ties in flat order."""
    out = {}
    for name, score in scores.items():
        flat, count = np.asarray(score).ravel(), int(counts.get(name, 0))
        mask = np.zeros(flat.size, bool)
        if count:
            cut = np.partition(flat, flat.size - count)[flat.size - count]
            mask = flat > cut
            mask[np.flatnonzero(flat == cut)[: count - int(mask.sum())]] = True
        out[name] = mask.reshape(np.shape(score))
    return out


def _known(asked: Iterable[str], existing: Iterable[str], what: str) -> None:
    existing = list(dict.fromkeys(existing))
    for name in asked:
        if name not in existing:
            shown = difflib.get_close_matches(name, existing, SHOWN) or existing
            more = f" and {len(existing) - SHOWN} more" if len(shown) > SHOWN else ""
            hint = "did you mean" if shown is not existing else "this model has"
            raise BadInput(f"unknown {what} '{name}': {hint} {', '.join(shown[:SHOWN])}{more}")
