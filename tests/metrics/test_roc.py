import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_curve

from core.config import BadInput
from core.metrics import roc, table, thin

records = st.lists(st.tuples(st.integers(-5, 5), st.booleans()), min_size=2, max_size=60).filter(
    lambda rows: 0 < sum(m for _, m in rows) < len(rows)
)


def arrays(rows):
    return np.array([s for s, _ in rows], float), np.array([m for _, m in rows])


def test_by_hand_with_a_tie_across_the_groups():
    curve = roc(scores=np.array([3.0, 2.0, 2.0, 1.0, 0.0]), is_member=np.array([1, 1, 0, 1, 0], bool))
    np.testing.assert_allclose(curve.fpr, [0, 0, 0.5, 0.5, 1])
    np.testing.assert_allclose(curve.tpr, [0, 1 / 3, 2 / 3, 1, 1])
    np.testing.assert_allclose(curve.thresholds, [np.inf, 3, 2, 1, 0])
    assert (curve.members, curve.non_members) == (3, 2)


def test_constant_scores_are_one_block():
    curve = roc(scores=np.ones(6), is_member=np.array([1, 1, 1, 0, 0, 0], bool))
    np.testing.assert_array_equal(curve.fpr, [0, 1])
    np.testing.assert_array_equal(curve.tpr, [0, 1])


def test_infinite_scores_rank_and_tie():
    curve = roc(scores=np.array([np.inf, np.inf, 0.0, -np.inf]), is_member=np.array([1, 0, 1, 0], bool))
    np.testing.assert_allclose(curve.fpr, [0, 0.5, 0.5, 1])
    np.testing.assert_allclose(curve.tpr, [0, 0.5, 1, 1])


@given(records)
def test_equals_scikit_learn(rows):
    scores, is_member = arrays(rows)
    curve = roc(scores=scores, is_member=is_member)
    fpr, tpr, thresholds = roc_curve(is_member, scores, drop_intermediate=False)
    np.testing.assert_allclose(curve.fpr, fpr)
    np.testing.assert_allclose(curve.tpr, tpr)
    np.testing.assert_allclose(curve.thresholds, thresholds)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(4, 80), st.booleans())
def test_thinned_curve_keeps_true_vertices_and_never_lies_above(seed, points, tied):
    generator = np.random.default_rng(seed)
    is_member = generator.random(1500) < 0.5
    scores = generator.normal(size=1500) + is_member
    scores = scores.round(1) if tied else scores
    curve = roc(scores=scores, is_member=is_member)
    small = thin(curve, points=points)
    assert len(small.fpr) <= points
    assert (small.fpr[0], small.tpr[0], small.fpr[-1], small.tpr[-1]) == (0, 0, 1, 1)
    true_vertices = set(zip(curve.fpr, curve.tpr, curve.thresholds, strict=True))
    assert set(zip(small.fpr, small.tpr, small.thresholds, strict=True)) <= true_vertices
    # held as steps, the thinned curve at the FPR of each true vertex
    held = small.tpr[np.searchsorted(small.fpr, curve.fpr, side="right") - 1]
    best = curve.tpr[np.searchsorted(curve.fpr, curve.fpr, side="right") - 1]
    assert (held <= best).all()


def test_thinned_curve_keeps_the_low_fpr_end_dense():
    generator = np.random.default_rng(0)
    is_member = np.arange(40_000) < 20_000
    curve = roc(scores=generator.normal(size=40_000) + is_member, is_member=is_member)
    small = thin(curve, points=400)
    assert 1 / 20_000 in small.fpr and 2 / 20_000 in small.fpr
    assert (small.fpr < 0.01).sum() > 100


def test_table_and_short_curves():
    curve = roc(scores=np.array([1.0, 0.0]), is_member=np.array([True, False]))
    assert thin(curve) is curve
    assert list(table(curve).columns) == ["fpr", "tpr"]
    assert table(curve).to_numpy().tolist() == [[0, 0], [0, 1], [1, 1]]


@pytest.mark.parametrize(
    ("scores", "is_member", "words"),
    [
        ([1.0, 2.0], [True, True], "both members and non-members"),
        ([1.0, np.nan], [True, False], "1 of 2 scores are not a number"),
        ([1.0, 2.0, 3.0], [True, False], "same length"),
    ],
)
def test_bad_input_says_what_is_wrong(scores, is_member, words):
    with pytest.raises(BadInput, match=words):
        roc(scores=np.array(scores), is_member=np.array(is_member))
