"""Attack scores of members and non-members as counts per bin: all that a page sends to the browser of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

TAIL = 0.005
"""Share of the scores on either side that may lie beyond the bins; a few huge ones would squeeze all others into one
bin."""
SPREAD = 100.0
"""Scores that never exceed zero, as every −loss, are binned by their logarithm from this ratio of extremes on."""


@dataclass(frozen=True)
class ScoreHistograms:
    """Histograms of several audits on one set of bins, so that they can be compared."""

    counts: dict[str, pd.DataFrame]
    """Per audit: score_low, score_high (as drawn), members, non_members (records per bin), rising in score."""
    log: bool
    """Bin edges are −log10(−score): 3 stands for a score of −0.001, and higher is still more likely a member."""
    beyond: int
    """Records outside the edges; they are counted in the first and the last bin."""
    fullest: int
    """Largest count of any bin."""


def score_histograms(
    *, scores: Mapping[str, np.ndarray], is_member: np.ndarray, bins: int = 40, log: bool | None = None
) -> ScoreHistograms:
    """Bin the scores [N] of each audit ("before", "after") of the same records; is_member [N].

    Scores that are not a number are records that were not scored, and stay out; infinite ones go to the end bins.
    With at most `bins` distinct values every value has a bin of its own, so ties never straddle an edge (correctness
    has two). `log=None` decides by the spread of the scores.
    """
    values = {name: np.asarray(score, np.float64) for name, score in scores.items()}
    pooled = np.concatenate(list(values.values())) if values else np.empty(0)
    finite = pooled[np.isfinite(pooled)]
    distinct = np.unique(finite)
    own_bins = len(distinct) <= bins
    log = (_wide(finite) if log is None else log) and not own_bins
    edges = _around(distinct) if own_bins else _even(_negative_log(finite) if log else finite, bins)
    member = np.asarray(is_member, bool)
    counts, beyond = {}, 0
    for name, score in values.items():
        known = ~np.isnan(score)
        drawn = _negative_log(score[known]) if log else score[known]
        beyond += int(((drawn < edges[0]) | (drawn > edges[-1])).sum())
        inside = np.clip(drawn, edges[0], edges[-1])
        table = {"score_low": edges[:-1], "score_high": edges[1:]}
        for column, chosen in (("members", member[known]), ("non_members", ~member[known])):
            table[column] = np.histogram(inside[chosen], edges)[0]
        counts[name] = pd.DataFrame(table)
    fullest = max((int(t[["members", "non_members"]].to_numpy().max()) for t in counts.values()), default=0)
    return ScoreHistograms(counts=counts, log=log, beyond=beyond, fullest=fullest)


def _wide(finite: np.ndarray) -> bool:
    """Whether scores are all at or under zero and their bulk spans at least two powers of ten."""
    size = -finite[finite < 0]
    if len(size) == 0 or finite.max() > 0:
        return False
    low, high = np.quantile(size, [TAIL, 1 - TAIL])
    return bool(high >= SPREAD * low)


def _negative_log(score: np.ndarray) -> np.ndarray:
    """−log10(−score); a score of zero or above, such as +inf, becomes +inf, the surest of all."""
    with np.errstate(divide="ignore"):
        return -np.log10(np.maximum(-score, 0))


def _around(distinct: np.ndarray) -> np.ndarray:
    """Edges halfway between neighbours; the outer bins are as wide as the gap beside them."""
    if len(distinct) < 2:
        middle = distinct[0] if len(distinct) else 0.0
        return np.array([middle - 0.5, middle + 0.5])
    between = (distinct[1:] + distinct[:-1]) / 2
    return np.concatenate([[2 * distinct[0] - between[0]], between, [2 * distinct[-1] - between[-1]]])


def _even(drawn: np.ndarray, bins: int) -> np.ndarray:
    """Equal bins over all but the outermost `TAIL` on either side."""
    drawn = drawn[np.isfinite(drawn)]
    low, high = np.quantile(drawn, [TAIL, 1 - TAIL])
    if not high > low:  # nearly all scores tie
        low, high = drawn.min(), drawn.max()
    return np.linspace(low, high, bins + 1)
