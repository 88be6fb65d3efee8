"""Expected calibration error: by hand, against a plain loop, and what its interval covers."""

from __future__ import annotations

import numpy as np
import pytest

from core.config import BadInput
from core.metrics import calibration_error


def test_by_hand():
    # bins of 1/15: .95 and 1.0 share the last (half right, .975 sure), .5 is alone in the eighth and right
    found = calibration_error(confidence=np.array([0.95, 1.0, 0.5]), correct=np.array([True, False, True]))
    assert found.value == pytest.approx((2 * abs(0.5 - 0.975) + abs(1 - 0.5)) / 3)


def test_agrees_with_a_plain_loop():
    generator = np.random.default_rng(0)
    confidence = generator.uniform(0.1, 1, 400)
    correct = generator.uniform(size=400) < confidence**2
    expected = 0.0
    for b in range(15):
        inside = [i for i in range(400) if b / 15 <= confidence[i] < (b + 1) / 15]
        if inside:
            gap = np.mean([correct[i] for i in inside]) - np.mean([confidence[i] for i in inside])
            expected += len(inside) / 400 * abs(gap)
    assert calibration_error(confidence=confidence, correct=correct).value == pytest.approx(expected)


def test_the_interval_holds_the_error_of_a_model_that_is_off_by_a_known_amount():
    held = []
    for seed in range(60):
        generator = np.random.default_rng(seed)
        confidence = generator.uniform(0.4, 1, 500)
        correct = generator.uniform(size=500) < confidence - 0.15  # off by .15 everywhere
        found = calibration_error(confidence=confidence, correct=correct, resamples=200, seed=seed)
        held.append(found.low <= 0.15 <= found.high)
    assert np.mean(held) >= 0.85


def test_a_calibrated_model_is_rarely_told_from_0_although_its_error_is_above():
    found = []
    for seed in range(60):
        generator = np.random.default_rng(seed)
        confidence = generator.uniform(0.4, 1, 500)
        correct = generator.uniform(size=500) < confidence
        found.append(calibration_error(confidence=confidence, correct=correct, resamples=200, seed=seed))
    assert min(f.value for f in found) > 0.01 and all(f.low <= f.value <= f.high for f in found)
    assert np.mean([f.low == 0 for f in found]) >= 0.85


def test_refuses_what_does_not_match():
    with pytest.raises(BadInput, match="as many confidences"):
        calibration_error(confidence=np.ones(3), correct=np.ones(2, bool))
