import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.attacks.design import design_matrix, other_pairs
from core.config import BadInput


@settings(deadline=None)
@given(st.integers(1, 8), st.integers(2, 101), st.integers(0, 5))
def test_every_record_is_in_exactly_half_and_every_model_has_half(pairs, points, seed):
    rows = design_matrix(models=2 * pairs, points=points, seed=seed)
    assert rows.shape == (2 * pairs, points) and rows.dtype == bool
    assert (rows.sum(axis=0) == pairs).all()
    assert set(rows.sum(axis=1)) <= {points // 2, points - points // 2}


def test_more_models_keep_the_rows_of_fewer():
    small, large = (design_matrix(models=m, points=1000, seed=3) for m in (8, 16))
    np.testing.assert_array_equal(small, large[:8])
    assert not np.array_equal(large[0], design_matrix(models=8, points=1000, seed=4)[0])


def test_pairs_are_independent_of_each_other():
    rows = design_matrix(models=20, points=4000, seed=0)[::2].astype(float)
    apart = np.corrcoef(rows)[np.triu_indices(10, 1)]
    assert abs(apart).max() < 5 / np.sqrt(4000)


def test_leaving_one_pair_out_keeps_the_balance():
    rows = design_matrix(models=6, points=50, seed=0)
    assert other_pairs(reference_in=rows, target=3).tolist() == [0, 1, 4, 5]
    assert (rows[other_pairs(reference_in=rows, target=3)].sum(axis=0) == 2).all()


@pytest.mark.parametrize(("models", "points"), [(3, 10), (0, 10), (2, 1)])
def test_bad_input(models, points):
    with pytest.raises(BadInput):
        design_matrix(models=models, points=points, seed=0)
