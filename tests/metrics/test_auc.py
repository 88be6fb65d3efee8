import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score

from core.config import BadInput
from core.metrics import auc, paired_delong

records = st.lists(st.tuples(st.integers(-4, 4), st.integers(-4, 4), st.booleans()), min_size=4, max_size=40).filter(
    lambda rows: 2 <= sum(m for *_, m in rows) <= len(rows) - 2
)


def arrays(rows):
    return (
        np.array([a for a, _, _ in rows], float),
        np.array([b for _, b, _ in rows], float),
        np.array([m for *_, m in rows]),
    )


def slow_placements(scores, is_member):
    """The definition: every member against every non-member."""
    kernel = [[1.0 if a > b else 0.5 if a == b else 0.0 for b in scores[~is_member]] for a in scores[is_member]]
    return np.mean(kernel, axis=1), np.mean(kernel, axis=0)


def slow_covariance(first, second):
    """DeLong's covariance of two AUCs from their placements, written as plain sums."""
    total = 0.0
    for mine, yours in zip(first, second, strict=True):
        n = len(mine)
        total += sum((a - mine.mean()) * (b - yours.mean()) for a, b in zip(mine, yours, strict=True)) / (n - 1) / n
    return total


def test_by_hand():
    # member 2 beats 0 and ties 2; member 3 beats both: (1.5 + 2) / 4
    found = auc(scores=np.array([2.0, 3.0, 0.0, 2.0]), is_member=np.array([1, 1, 0, 0], bool))
    assert found.value == 3.5 / 4
    # placements: members .75, 1; non-members 1, .75; each variance .03125, over 2
    half = 1.959964 * np.sqrt(0.03125 / 2 + 0.03125 / 2)
    assert found.low == pytest.approx(0.875 - half, abs=1e-6)
    assert found.high == 1


@given(records)
def test_equals_scikit_learn_and_the_slow_definition(rows):
    scores, _, is_member = arrays(rows)
    found = auc(scores=scores, is_member=is_member)
    assert found.value == pytest.approx(roc_auc_score(is_member, scores))
    placements = slow_placements(scores, is_member)
    variance = slow_covariance(placements, placements)
    if variance > 1e-12:
        half = stats.norm.ppf(0.975) * np.sqrt(variance)
        assert found.low == pytest.approx(max(0, found.value - half))
        assert found.high == pytest.approx(min(1, found.value + half))
    assert 0 <= found.low <= found.value <= found.high <= 1


@given(records)
def test_paired_equals_the_slow_definition(rows):
    before, after, is_member = arrays(rows)
    found = paired_delong(before=before, after=after, is_member=is_member)
    first, second = slow_placements(before, is_member), slow_placements(after, is_member)
    difference = second[0].mean() - first[0].mean()
    variance = slow_covariance(first, first) + slow_covariance(second, second) - 2 * slow_covariance(first, second)
    assert found.difference == pytest.approx(difference)
    if variance > 1e-12:
        assert found.z == pytest.approx(difference / np.sqrt(variance), abs=1e-9)
        assert found.p_value == pytest.approx(2 * stats.norm.sf(abs(found.z)))
        assert found.low <= found.difference <= found.high
    back = paired_delong(before=after, after=before, is_member=is_member)
    assert (back.difference, back.low, back.high) == pytest.approx((-found.difference, -found.high, -found.low))


@pytest.mark.parametrize("flip", [1, -1])
def test_perfect_separation_does_not_claim_certainty(flip):
    is_member = np.arange(300) < 100
    found = auc(scores=flip * is_member.astype(float), is_member=is_member)
    # 100 of 100 pairs: the Clopper–Pearson end is .025^(1/100)
    edge = 0.025 ** (1 / 100)
    expected = (1, edge, 1) if flip == 1 else (0, 0, 1 - edge)
    assert (found.value, found.low, found.high) == pytest.approx(expected)


def test_constant_scores_know_nothing():
    found = auc(scores=np.zeros(20), is_member=np.arange(20) < 10)
    assert found.value == 0.5 and found.low < 0.25 and found.high > 0.75


def test_a_single_member_has_an_interval_too():
    found = auc(scores=np.array([1.0, 0.0, 2.0]), is_member=np.array([True, False, False]))
    assert (found.value, found.low) == (0.5, pytest.approx(0.0, abs=0.02)) and found.high > 0.9


def test_paired_is_much_tighter_than_two_single_intervals():
    generator = np.random.default_rng(3)
    is_member = np.arange(2000) < 1000
    before = generator.normal(size=2000) + is_member
    after = before - 0.2 * is_member + 0.05 * generator.normal(size=2000)
    found = paired_delong(before=before, after=after, is_member=is_member)
    assert found.high < 0 and found.p_value < 1e-6
    single = auc(scores=before, is_member=is_member)
    assert found.high - found.low < 0.3 * (single.high - single.low)


def test_identical_and_perfect_pairs():
    is_member = np.arange(20) < 10
    same = paired_delong(before=np.arange(20.0), after=np.arange(20.0), is_member=is_member)
    assert (same.difference, same.low, same.high, same.p_value, same.z) == (0, 0, 0, 1, 0)
    turned = paired_delong(before=is_member.astype(float), after=-is_member.astype(float), is_member=is_member)
    assert turned.difference == -1 and turned.low == -1 and -1 < turned.high < 0
    # ten independent pairs all turned the same way: the sign test gives 2 · .5^10
    assert turned.p_value == pytest.approx(2 * 0.5**10) and turned.z < 0


def test_delong_covers_the_true_auc():
    generator = np.random.default_rng(11)
    is_member = np.arange(300) < 120
    truth = stats.norm.cdf(0.6 / np.sqrt(2))
    covered = 0
    for _ in range(400):
        found = auc(scores=generator.normal(size=300) + 0.6 * is_member, is_member=is_member)
        covered += found.low <= truth <= found.high
    # 95 % nominal; four standard errors of 400 trials
    assert 0.95 - 4 * np.sqrt(0.95 * 0.05 / 400) <= covered / 400 <= 0.995


def test_paired_needs_the_same_records():
    with pytest.raises(BadInput, match="same records"):
        paired_delong(before=np.zeros(3), after=np.zeros(4), is_member=np.array([1, 0, 1, 0], bool))
