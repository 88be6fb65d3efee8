"""One number over several trained models: intervals that know that models differ, not only points."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import scipy  # its submodules load on first use, pages start without them

from core.config import BadInput
from core.metrics.intervals import Interval


def mean_interval(
    values: Sequence[float] | np.ndarray, level: float = 0.95, *, low: float = -math.inf, high: float = math.inf
) -> Interval:
    """Mean over seeds with Student's t interval; the ends are NaN with a single seed, which has no spread to show.

    low, high: what is possible at all. Of a few seeds that differ, t intervals reach beyond it; cut there they still
    hold the truth as often.
    """
    values = np.asarray(values, np.float64)
    if not len(values):
        raise BadInput("a mean over seeds needs at least one seed")
    mean = float(values.mean())
    if len(values) < 2:
        return Interval(mean, float("nan"), float("nan"))
    half = float(scipy.stats.t.ppf((1 + level) / 2, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
    return Interval(mean, max(low, mean - half), min(high, mean + half))


def bootstrap(
    *,
    statistic: Callable[[np.ndarray, np.ndarray], float],
    scores: Sequence[np.ndarray],
    is_member: Sequence[np.ndarray],
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """Mean of `statistic(scores, is_member)` over S models with a percentile interval, models first, points second.

    Each resample draws S models with replacement and, within each drawn model, its members and its non-members with
    replacement (their numbers are fixed by design). Points that several models share are drawn anew per model. With
    fewer than about five models the percentile interval is too narrow: show `mean_interval` beside it.
    """
    if not len(scores) or len(scores) != len(is_member):
        raise BadInput(f"needs scores and membership of the same models (got {len(scores)} and {len(is_member)})")
    models = [(np.asarray(s, np.float64), np.asarray(m, bool)) for s, m in zip(scores, is_member, strict=True)]
    generator = np.random.default_rng(seed)
    value = float(np.mean([statistic(s, m) for s, m in models]))
    draws = np.empty(resamples)
    for index in range(resamples):
        chosen = generator.integers(len(models), size=len(models))
        resampled = [_resample(scores=models[m][0], is_member=models[m][1], generator=generator) for m in chosen]
        draws[index] = np.mean([statistic(*drawn) for drawn in resampled])
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high))


def _resample(
    *, scores: np.ndarray, is_member: np.ndarray, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    groups = [np.flatnonzero(is_member), np.flatnonzero(~is_member)]
    drawn = np.concatenate([generator.choice(group, len(group)) for group in groups])
    return scores[drawn], is_member[drawn]
