import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from core.config import BadInput
from core.metrics import clopper_pearson, wilson

counts = st.integers(1, 2000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


def test_by_hand():
    # none of n: the upper end solves (1 − p)^n = .025
    found = clopper_pearson(0, 20)
    assert (found.value, found.low, found.high) == (0, 0, pytest.approx(1 - 0.025 ** (1 / 20)))
    # Wilson at 1 of 2 is centred: half = z √(n + z²) / (2 (n + z²)) · …, ends symmetric about one half
    even = wilson(1, 2)
    assert even.low + even.high == pytest.approx(1)
    assert even.low == pytest.approx(0.0945, abs=1e-4)


@given(counts, st.sampled_from([0.8, 0.9, 0.95, 0.99]))
def test_equal_scipy(count, level):
    k, n = count
    exact = binomtest(k, n).proportion_ci(level, method="exact")
    score = binomtest(k, n).proportion_ci(level, method="wilson")
    assert (clopper_pearson(k, n, level).low, clopper_pearson(k, n, level).high) == pytest.approx(
        tuple(exact), abs=1e-9
    )
    assert (wilson(k, n, level).low, wilson(k, n, level).high) == pytest.approx(tuple(score), abs=1e-9)


@given(counts)
def test_the_value_is_inside(count):
    for found in (clopper_pearson(*count), wilson(*count)):
        assert 0 <= found.low <= found.value <= found.high <= 1


@pytest.mark.parametrize(("k", "n", "level"), [(1, 0, 0.95), (3, 2, 0.95), (-1, 2, 0.95), (1, 2, 1.0)])
def test_bad_input(k, n, level):
    with pytest.raises(BadInput):
        clopper_pearson(k, n, level)
