from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.attacks import references
from core.attacks.references import as_target, masked_mean, moments, queries
from tests.attacks.simulation import simulate


def test_moments_by_hand():
    values = np.array([[1.0, 5.0], [2.0, 6.0], [9.0, 7.0], [4.0, 100.0]])
    mask = np.array([[1, 0], [1, 0], [1, 0], [0, 1]], bool)
    found = moments(values=values, mask=mask)
    assert found.count.tolist() == [3, 1]
    assert found.median.tolist() == [2, 100]
    assert found.variance[0] == pytest.approx(19) and np.isnan(found.variance[1])
    assert found.pooled_variance == pytest.approx(19)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 1000), st.integers(1, 9), st.integers(1, 30))
def test_moments_equal_numpy_record_by_record_in_any_block(seed, models, records):
    generator = np.random.default_rng(seed)
    values = generator.normal(size=(models, records)).astype(np.float32)
    mask = generator.random((models, records)) < 0.5
    whole, step = moments(values=values, mask=mask), references.BLOCK
    try:
        references.BLOCK = 3 * models
        found = moments(values=values, mask=mask)
    finally:
        references.BLOCK = step
    for name in ("count", "median", "variance"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(found, name))
    mean = masked_mean(values=values, mask=mask)
    for record in range(records):
        own = values[mask[:, record], record].astype(float)
        assert found.count[record] == len(own)
        if len(own):
            assert found.median[record] == pytest.approx(np.median(own))
            assert mean[record] == pytest.approx(np.mean(own))
        else:
            assert np.isnan(found.median[record]) and np.isnan(mean[record])
        if len(own) > 1:
            assert found.variance[record] == pytest.approx(np.var(own, ddof=1))


def test_pooled_variance_ignores_the_spread_between_records():
    signals, _ = simulate(models=8, records=4000, spread=0.5, hardness=10)
    found = moments(values=signals.reference_phi[:, :, 0], mask=signals.reference_in)
    assert found.pooled_variance == pytest.approx(0.25, rel=0.05)


def test_without_target_queries_only_the_record_itself_is_compared():
    signals, _ = simulate(models=4, records=10, queries=3)
    assert [a.shape for a in queries(signals)] == [(10, 3), (4, 10, 3)]
    alone = replace(signals, query_phi=None)
    target, reference = queries(alone)
    assert (target.shape, reference.shape) == ((10, 1), (4, 10, 1))
    np.testing.assert_array_equal(target[:, 0], signals.query_phi[:, 0])


def test_a_reference_in_the_place_of_the_target():
    signals, _ = simulate(models=6, records=40, population=7)
    shadow, member = as_target(signals, 2)
    np.testing.assert_array_equal(member, signals.reference_in[2])
    np.testing.assert_array_equal(shadow.phi, signals.reference_phi[2, :, 0])
    np.testing.assert_array_equal(shadow.population_phi, signals.reference_population_phi[2, :, 0])
    # its pair, model 3, is gone as well, so each record is still in half of the rest
    np.testing.assert_array_equal(shadow.reference_phi, signals.reference_phi[[0, 1, 4, 5]])
    assert (shadow.reference_in.sum(axis=0) == 2).all()
