"""The sorted index against sorting everything."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from core.importance.index import ScoreIndex
from core.rewinding.select import masks

# few distinct values: ties within and across layers, zeros of both signs, denormal and huge floats
VALUES = st.sampled_from([0.0, -0.0, 1e-45, 1e-30, 0.1, 0.5, 0.5000001, 1.0, 2.0, 3e38])
LAYERS = st.lists(
    st.one_of(
        arrays.arrays(np.float32, st.integers(0, 12), elements=VALUES),
        arrays.arrays(np.float32, st.integers(1, 12), elements=st.floats(0, 1e6, width=32)),
    ),
    min_size=1,
    max_size=6,
)


def named(layers: list[np.ndarray]) -> dict[str, np.ndarray]:
    return {f"layer{i}": layer for i, layer in enumerate(layers)}


def brute(layers: list[np.ndarray], count: int, among: list[int]) -> tuple[float, list[int]]:
    """A stable argsort of everything: ties go to the earlier layer."""
    flat = np.concatenate([layers[i] for i in among])
    owner = np.concatenate([np.full(len(layers[i]), i) for i in among])
    best = np.argsort(-flat, kind="stable")[:count]
    return float(flat[best].min()), np.bincount(owner[best], minlength=len(layers)).tolist()


def test_by_hand():
    index = ScoreIndex.of({"a": np.array([[3, 1], [2, 0]]), "b": np.array([5.0, 2.0])})
    assert index.top(1) == (5.0, pytest.approx([0, 1]))
    assert index.top(2) == (3.0, pytest.approx([1, 1]))
    assert index.top(3) == (2.0, pytest.approx([2, 1]))  # the tie at 2 goes to the first layer
    assert index.top(4) == (2.0, pytest.approx([2, 2]))
    assert index.top(2, [0]) == (2.0, pytest.approx([2, 0]))
    assert index.sizes.tolist() == [4, 2]


@given(LAYERS, st.data())
def test_top_is_a_sort_of_everything(layers, data):
    index = ScoreIndex.of(named(layers))
    among = data.draw(st.lists(st.sampled_from(range(len(layers))), unique=True).map(sorted))
    size = sum(len(layers[i]) for i in among)
    count = data.draw(st.integers(0, size + 3))
    threshold, counts = index.top(count, among)
    if min(count, size) == 0:
        assert threshold == float("inf") and not counts.any()
        return
    expected = brute(layers, count, among)
    assert (threshold, counts.tolist()) == expected
    assert counts.sum() == min(count, size)
    if among == list(range(len(layers))):
        assert index.top(count)[1].tolist() == counts.tolist()


@given(LAYERS, st.data())
def test_masks_mark_exactly_the_counts_and_the_highest(layers, data):
    scores = {name: layer.reshape(-1, 1) for name, layer in named(layers).items()}
    index = ScoreIndex.of(scores)
    threshold, counts = index.top(data.draw(st.integers(0, len(index.values))))
    marked = masks(scores=scores, counts=dict(zip(scores, counts, strict=True)))
    for (name, score), count in zip(scores.items(), counts, strict=True):
        mask = marked[name]
        assert mask.shape == score.shape and mask.sum() == count
        best = np.argsort(-score.ravel(), kind="stable")[:count]  # ties in flat order
        assert sorted(best) == np.flatnonzero(mask).tolist()
        assert (score[mask] >= threshold).all() and (score[~mask] <= threshold).all()


def test_a_large_index_opened_from_disk(tmp_path):
    generator = np.random.default_rng(0)
    layers = [np.exp(3 * generator.standard_normal(size)).astype(np.float32) for size in (20_000, 3, 1, 50_000)]
    ScoreIndex.of(named(layers)).save(tmp_path / "scores.npy")
    index = ScoreIndex.open(tmp_path / "scores.npy")
    assert isinstance(index.values, np.memmap) and index.layers == ("layer0", "layer1", "layer2", "layer3")
    for count in (1, 2, 70, 7_000, 35_000, 70_004, 99_999):
        threshold, counts = index.top(count)
        assert (threshold, counts.tolist()) == brute(layers, count, [0, 1, 2, 3])


def test_negative_counts_and_empty_scopes_select_nothing():
    index = ScoreIndex.of({"a": np.ones(3), "empty": np.empty(0)})
    for count, among in ((-1, None), (5, []), (5, [1])):
        threshold, counts = index.top(count, among)
        assert threshold == float("inf") and counts.tolist() == [0, 0]


@pytest.mark.parametrize("bad", [-1.0, np.nan, np.inf])
def test_scores_that_are_no_scores(bad):
    with pytest.raises(ValueError, match="scores of b must be finite and not negative"):
        ScoreIndex.of({"a": np.ones(2), "b": np.array([1.0, bad])})
