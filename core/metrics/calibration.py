"""Whether a model's confidence can be taken at its word."""

from __future__ import annotations

import numpy as np

from core.config import BadInput
from core.metrics.intervals import Interval

BINS = 15


def calibration_error(
    *, confidence: np.ndarray, correct: np.ndarray, resamples: int = 500, seed: int = 0, level: float = 0.95
) -> Interval:
    """Expected calibration error (ECE; Naeini 2015, Guo 2017), a fraction: 0 where confidence equals accuracy.

    confidence [N]: highest posterior per record; correct [N] bool. Records are put into 15 bins of equal width by
    confidence; the mean over records of |accuracy − mean confidence| of their bin. Chance alone puts it above 0, the
    more so the fewer the records. The interval is the basic bootstrap, twice the value minus the quantiles of the
    resamples, which takes that bias off again, stretched to hold the value where the bias is large. It begins at 0
    where answers that are right as often as the confidence says would reach the value by chance (consistency
    resampling, Bröcker and Smith 2007).
    """
    confidence, correct = np.asarray(confidence, np.float64), np.asarray(correct, bool)
    if confidence.shape != correct.shape or not confidence.size:
        raise BadInput(f"needs as many confidences as answers, at least one (got {confidence.size}, {correct.size})")
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    generator, size, gap = np.random.default_rng(seed), len(confidence), correct - confidence

    def error(bins: np.ndarray, gap: np.ndarray) -> float:
        return float(np.abs(np.bincount(bins, gap, BINS)).sum() / size)

    value = error(bins, gap)
    drawn, calibrated = np.empty(resamples), np.empty(resamples)
    for index in range(resamples):
        chosen = generator.integers(size, size=size)
        drawn[index] = error(bins[chosen], gap[chosen])
        calibrated[index] = error(bins, (generator.random(size) < confidence) - confidence)
    high, low = 2 * value - np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    by_chance = value <= np.quantile(calibrated, level)
    return Interval(value, 0.0 if by_chance else min(value, max(0.0, float(low))), max(value, float(high)))
