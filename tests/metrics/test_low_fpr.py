import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta, norm

from core.config import BadInput
from core.metrics import allowed_false_positives, clopper_pearson, roc, tpr_at_fpr


def test_by_hand():
    # ten non-members 0…9; at 20 % two may pass, so the limit is 7 and members above it count
    scores = np.concatenate([np.arange(10.0), [7.0, 7.5, 8.5, 20.0]])
    found = tpr_at_fpr(scores=scores, is_member=np.arange(14) >= 10, fpr=0.2)
    assert (found.true_positives, found.members, found.false_positives, found.non_members) == (3, 4, 2, 10)
    exact = clopper_pearson(3, 4)
    assert (found.tpr, found.low, found.high) == (0.75, exact.low, exact.high)
    assert not found.resolvable
    assert found.certified_tpr is None and found.certified_false_positives is None


def test_a_tie_at_the_limit_stays_out():
    scores = np.array([1.0, 1.0, 0.0, 0.0, 1.0, 2.0])
    found = tpr_at_fpr(scores=scores, is_member=np.array([0, 0, 0, 0, 1, 1], bool), fpr=0.25)
    assert (found.true_positives, found.false_positives) == (1, 0)


@given(
    st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=2, max_size=60).filter(
        lambda rows: 0 < sum(m for _, m in rows) < len(rows)
    ),
    st.sampled_from([0.01, 0.1, 0.25, 0.5, 0.9]),
)
def test_is_the_highest_vertex_of_the_roc_at_or_under_the_target(rows, fpr):
    scores, is_member = np.array([s for s, _ in rows], float), np.array([m for _, m in rows])
    curve = roc(scores=scores, is_member=is_member)
    found = tpr_at_fpr(scores=scores, is_member=is_member, fpr=fpr)
    assert found.tpr == pytest.approx(curve.tpr[curve.fpr <= fpr + 1e-12].max())
    assert found.false_positives <= fpr * found.non_members + 1e-9


@pytest.mark.parametrize(
    ("non_members", "fpr", "allowed"),
    [
        (5_000, 0.001, 1),
        (15_000, 0.001, 8),
        (25_000, 0.001, 16),
        (50_000, 0.001, 38),
        (2_994, 0.001, None),
        (2_995, 0.001, 0),
        (29_955, 0.0001, None),
        (29_956, 0.0001, 0),
    ],
)
def test_allowed_false_positives_of_the_methods(non_members, fpr, allowed):
    assert allowed_false_positives(non_members=non_members, fpr=fpr) == allowed


@given(st.integers(100, 60_000), st.sampled_from([0.01, 0.001]))
def test_allowed_is_the_largest_count_with_its_upper_bound_under_the_target(non_members, fpr):
    allowed = allowed_false_positives(non_members=non_members, fpr=fpr)

    def upper(count):
        return beta.ppf(0.95, count + 1, non_members - count)

    if allowed is None:
        assert upper(0) > fpr
    else:
        assert upper(allowed) <= fpr * (1 + 1e-9) and upper(allowed + 1) > fpr


def test_certified_is_stricter_and_says_when_it_cannot():
    generator = np.random.default_rng(0)
    is_member = np.arange(10_000) < 5_000
    scores = generator.normal(size=10_000) + 2 * is_member
    found = tpr_at_fpr(scores=scores, is_member=is_member, fpr=0.001)
    assert not found.resolvable  # five false positives fit, ten are asked for
    assert found.certified_false_positives == 1
    assert found.certified_tpr < found.tpr and found.certified_low < found.certified_tpr < found.certified_high
    assert tpr_at_fpr(scores=scores, is_member=is_member, fpr=0.01).resolvable


def test_the_certificate_holds():
    """In at most 5 % of draws is the true FPR above the certified threshold more than the target."""
    generator = np.random.default_rng(5)
    above = 0
    allowed = allowed_false_positives(non_members=1000, fpr=0.01)
    for _ in range(1000):
        falling = -np.sort(-generator.normal(size=1000))
        limit = falling[allowed]
        above += norm.sf(limit) > 0.01
    assert above / 1000 < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 1000)


def test_bad_rate():
    with pytest.raises(BadInput, match="between 0 and 1"):
        tpr_at_fpr(scores=np.zeros(2), is_member=np.array([True, False]), fpr=0)
