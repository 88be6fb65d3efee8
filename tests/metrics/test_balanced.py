import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score

from core.metrics import balanced_accuracy, best_balanced_accuracy, best_threshold

records = st.lists(st.tuples(st.integers(-4, 4), st.booleans()), min_size=2, max_size=40).filter(
    lambda rows: 0 < sum(m for _, m in rows) < len(rows)
)


def test_by_hand():
    scores, is_member = np.array([3.0, 2.0, 1.0, 2.5, 0.0]), np.array([1, 1, 1, 0, 0], bool)
    found = balanced_accuracy(scores=scores, is_member=is_member, threshold=2.0)
    assert (found.tpr, found.tnr) == (pytest.approx(2 / 3), 0.5)
    assert found.value == pytest.approx((2 / 3 + 0.5) / 2)
    assert not found.optimistic
    assert best_threshold(scores=scores, is_member=is_member) == 1.0
    best = best_balanced_accuracy(scores=scores, is_member=is_member)
    assert (best.value, best.threshold, best.optimistic) == (0.75, 1.0, True)


@given(records, st.integers(-5, 5))
def test_equals_scikit_learn_and_best_is_best(rows, threshold):
    scores, is_member = np.array([s for s, _ in rows], float), np.array([m for _, m in rows])
    found = balanced_accuracy(scores=scores, is_member=is_member, threshold=threshold)
    assert found.value == pytest.approx(balanced_accuracy_score(is_member, scores >= threshold))
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert best_balanced_accuracy(scores=scores, is_member=is_member).value >= found.value - 1e-12


def test_interval_covers():
    generator = np.random.default_rng(4)
    truth = (0.8 + 0.9) / 2
    covered = 0
    for _ in range(400):
        is_member = np.arange(150) < 60
        scores = np.where(is_member, generator.random(150) < 0.8, generator.random(150) < 0.1).astype(float)
        found = balanced_accuracy(scores=scores, is_member=is_member, threshold=0.5)
        covered += found.low <= truth <= found.high
    assert 0.95 - 4 * np.sqrt(0.95 * 0.05 / 400) <= covered / 400
