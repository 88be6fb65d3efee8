"""Small tables about two scores, for the page: correlations, concentration, histograms, shares, density.

All functions take scores as {layer: array ≥ 0}, layers in forward order, and never keep more than a copy of them.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from core.importance.index import ScoreIndex

FRACTIONS = (0.001, 0.01, 0.05, 0.1)
RANKED = 1_000_000
"""Spearman and the density are computed on at most this many weights, drawn evenly with a fixed seed."""


def correlations(*, learnability: dict, vulnerability: dict, types: dict[str, str]) -> pd.DataFrame:
    """Pearson and Spearman correlation of the two scores by weight type and over all weights.

    Columns: type, weights, share (of all weights), pearson, spearman. nan where a score does not vary.
    """
    from scipy.stats import rankdata  # a page that only reads the tables need not wait for it

    names = list(learnability)
    groups = {t: [n for n in names if types[n] == t] for t in dict.fromkeys(types[n] for n in names)}
    groups["all"] = names
    total = sum(np.size(learnability[n]) for n in names)
    rows = []
    for kind, members in groups.items():
        a, b = _flat(learnability, members), _flat(vulnerability, members)
        rows.append({"type": kind, "weights": len(a), "share": len(a) / total, "pearson": _pearson(a, b)})
        a, b = _thin(a, b)
        rows[-1]["spearman"] = _pearson(rankdata(a), rankdata(b))
    return pd.DataFrame(rows)


def concentration(scores: dict, points: int = 200) -> pd.DataFrame:
    """Share of the total score held by the top fraction of weights. Columns: fraction (log-spaced), share."""
    flat = np.sort(_flat(scores, list(scores)).astype(np.float64))[::-1]
    counts = np.unique(np.geomspace(1, len(flat), points).astype(np.int64))
    total = flat.sum()
    share = np.cumsum(flat)[counts - 1] / total if total > 0 else np.full(len(counts), np.nan)
    return pd.DataFrame({"fraction": counts / len(flat), "share": share})


def histograms(scores: dict, bins: int = 60) -> pd.DataFrame:
    """Per layer counts of log10 score in common bins. Zeros are counted in the lowest bin.

    Columns: layer, bin_low, bin_high (log10), count.
    """
    positive = [np.asarray(s)[np.asarray(s) > 0] for s in scores.values()]
    low = min((float(p.min()) for p in positive if p.size), default=1e-12)
    high = max((float(p.max()) for p in positive if p.size), default=1.0)
    # the far tail of almost unused weights would squeeze the rest: nine decades below the maximum are kept
    edges = np.linspace(max(np.log10(low), np.log10(high) - 9), np.log10(high) + 1e-6, bins + 1)
    rows = []
    for name, score in scores.items():
        with np.errstate(divide="ignore"):
            logs = np.log10(np.asarray(score, np.float64).ravel())
        counts, _ = np.histogram(logs.clip(edges[0], edges[-1]), edges)
        rows.append(pd.DataFrame({"layer": name, "bin_low": edges[:-1], "bin_high": edges[1:], "count": counts}))
    return pd.concat(rows, ignore_index=True)


def top_shares(index: ScoreIndex, fractions: tuple[float, ...] = FRACTIONS) -> pd.DataFrame:
    """Which share of each layer belongs to the global top r. Columns: layer, r, count, share (of the layer)."""
    rows = []
    for r in fractions:
        _, counts = index.top(max(1, round(r * len(index.values))))
        rows.append(pd.DataFrame({"layer": index.layers, "r": r, "count": counts, "share": counts / index.sizes}))
    return pd.concat(rows, ignore_index=True)


def shares_by_layer(scores: dict) -> pd.Series:
    """Share of the total score in each layer, indexed by layer."""
    sums = pd.Series({name: float(np.sum(s, dtype=np.float64)) for name, s in scores.items()})
    return sums / sums.sum()


def density(
    learnability: dict[str, np.ndarray], vulnerability: dict[str, np.ndarray], bins: int = 80
) -> dict[str, np.ndarray]:
    """2-D histogram of log10 learnability (x) against log10 vulnerability (y), zero scores left out.

    Returns x_edges, y_edges [bins + 1] and counts [bins, bins]; empty counts where no weight has both scores.
    """
    a, b = _thin(_flat(learnability, list(learnability)), _flat(vulnerability, list(learnability)))
    both = (a > 0) & (b > 0)
    counts, x, y = np.histogram2d(np.log10(a[both]), np.log10(b[both]), bins)
    return {"x_edges": x, "y_edges": y, "counts": counts.astype(np.int64)}


def _flat(scores: dict, names: list[str]) -> np.ndarray:
    return np.concatenate([np.asarray(scores[n], np.float32).ravel() for n in names])


def _thin(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if len(a) <= RANKED:
        return a, b
    keep = np.random.default_rng(0).choice(len(a), RANKED, replace=False)
    return a[keep], b[keep]


def _pearson(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a.astype(np.float64), b.astype(np.float64)
    a, b = a - a.mean(), b - b.mean()
    scale = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / scale) if scale > 0 else float("nan")
