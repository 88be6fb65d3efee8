"""Intervals for a proportion."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy  # its submodules load on first use, pages start without them

from core.config import BadInput


@dataclass(frozen=True)
class Interval:
    """A value with its two-sided interval."""

    value: float
    low: float
    high: float


def clopper_pearson(k: float, n: float, level: float = 0.95) -> Interval:
    """Exact interval of a proportion seen k times in n (Clopper & Pearson 1934): it covers at least `level`.

    Fractional k is allowed (half points for ties); the beta quantiles are continuous in it.
    """
    _check(k, n, level)
    tail = (1 - level) / 2
    low = float(scipy.stats.beta.ppf(tail, k, n - k + 1)) if k > 0 else 0.0
    high = float(scipy.stats.beta.ppf(1 - tail, k + 1, n - k)) if k < n else 1.0
    return Interval(value=k / n, low=low, high=high)


def wilson(k: float, n: float, level: float = 0.95) -> Interval:
    """Score interval of a proportion (Wilson 1927): covers `level` on average; the building block of differences."""
    _check(k, n, level)
    z = float(scipy.stats.norm.ppf((1 + level) / 2))
    share = k / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * float(np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))) / (1 + z * z / n)
    # the formula meets 0 and 1 exactly at the ends; rounding must not push the value out of its interval
    return Interval(share, 0.0 if k == 0 else centre - half, 1.0 if k == n else centre + half)


def _check(k: float, n: float, level: float) -> None:
    if n <= 0 or not 0 <= k <= n:
        raise BadInput(f"a proportion needs 0 ≤ k ≤ n with n above 0 (got {k} of {n})")
    if not 0 < level < 1:
        raise BadInput(f"the level of an interval lies between 0 and 1 (got {level})")
