"""The tables about scores against SciPy, NumPy and sorting."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from core.importance import statistics
from core.importance.index import ScoreIndex


def two_scores(seed: int = 0):
    generator = np.random.default_rng(seed)
    a = {"conv": np.exp(generator.standard_normal((6, 5))), "norm": generator.random(4), "head": generator.random(9)}
    b = {name: score * np.exp(0.5 * generator.standard_normal(score.shape)) for name, score in a.items()}
    return ({name: s.astype(np.float32) for name, s in part.items()} for part in (a, b))


def test_correlations_are_scipys():
    a, b = two_scores()
    table = statistics.correlations(
        learnability=a, vulnerability=b, types={"conv": "conv", "norm": "norm", "head": "conv"}
    ).set_index("type")
    assert list(table.index) == ["conv", "norm", "all"]
    assert table["weights"].tolist() == [39, 4, 43] and table["share"].tolist() == [39 / 43, 4 / 43, 1]
    for kind, names in {"conv": ["conv", "head"], "norm": ["norm"], "all": list(a)}.items():
        x, y = (np.concatenate([part[n].ravel() for n in names]).astype(float) for part in (a, b))
        assert table.loc[kind, "pearson"] == pytest.approx(stats.pearsonr(x, y).statistic, abs=1e-12)
        assert table.loc[kind, "spearman"] == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-12)


def test_layers_are_matched_by_name_not_by_order():
    a, b = two_scores()
    types = dict.fromkeys(a, "conv")
    there = statistics.correlations(learnability=a, vulnerability=b, types=types)
    back = statistics.correlations(learnability=a, vulnerability=dict(reversed(b.items())), types=types)
    assert there.equals(back)


def test_a_constant_score_has_no_correlation():
    ones = {"a": np.ones(5, np.float32)}
    table = statistics.correlations(learnability=ones, vulnerability={"a": np.arange(5.0)}, types={"a": "linear"})
    assert table[["pearson", "spearman"]].isna().all(axis=None)


def test_spearman_of_a_large_model_is_a_sample(monkeypatch):
    generator = np.random.default_rng(0)
    a = {"a": generator.random(20_000).astype(np.float32)}
    b = {"a": a["a"] + generator.random(20_000).astype(np.float32)}
    monkeypatch.setattr(statistics, "RANKED", 5_000)
    row = statistics.correlations(learnability=a, vulnerability=b, types={"a": "conv"}).iloc[-1]
    assert row["pearson"] == pytest.approx(stats.pearsonr(a["a"], b["a"]).statistic, abs=1e-6)
    assert row["spearman"] == pytest.approx(stats.spearmanr(a["a"], b["a"]).statistic, abs=0.02)


def test_concentration_by_hand():
    table = statistics.concentration({"a": np.array([1.0, 5.0]), "b": np.array([[0.0], [4.0]])})
    assert table["fraction"].tolist() == [0.25, 0.5, 0.75, 1]
    assert table["share"].tolist() == pytest.approx([0.5, 0.9, 1, 1])
    assert statistics.concentration({"a": np.zeros(3)})["share"].isna().all()


@given(st.lists(st.one_of(st.just(0.0), st.floats(2.0**-100, 2.0**100, width=32)), min_size=1, max_size=30))
def test_histograms_lose_no_weight(values):
    scores = {"a": np.array(values, np.float32), "b": np.array(values[:1], np.float32)}
    table = statistics.histograms(scores, bins=7)
    assert table.groupby("layer")["count"].sum().to_dict() == {"a": len(values), "b": 1}
    assert (table["bin_low"] < table["bin_high"]).all()


def test_histograms_are_numpys():
    a, _ = two_scores()
    table = statistics.histograms(a, bins=5)
    for name, part in table.groupby("layer"):
        edges = np.append(part["bin_low"], part["bin_high"].iloc[-1])
        expected = np.histogram(np.log10(a[name].ravel().astype(float)).clip(edges[0], edges[-1]), edges)[0]
        assert part["count"].tolist() == expected.tolist()
    every = np.concatenate([s.ravel() for s in a.values()])
    assert table["bin_high"].max() == pytest.approx(np.log10(every.max()), abs=1e-5)
    assert table["bin_low"].min() == pytest.approx(np.log10(every.min()), abs=1e-5)


def test_zeros_fall_into_the_lowest_bin():
    table = statistics.histograms({"a": np.array([0, 0, 0, 1e-3, 1.0])}, bins=3)
    assert table["count"].tolist() == [4, 0, 1]


def test_top_shares_by_hand():
    index = ScoreIndex.of({"a": np.array([9.0, 8, 1, 1]), "b": np.array([7.0, 2, 2, 2, 2, 2])})
    table = statistics.top_shares(index, fractions=(0.001, 0.3))
    assert table["count"].tolist() == [1, 0, 2, 1]  # at least one weight; then 3 of 10
    assert table["share"].tolist() == pytest.approx([0.25, 0, 0.5, 1 / 6])


def test_shares_by_layer():
    shares = statistics.shares_by_layer({"a": np.array([1.0, 2.0]), "b": np.array([[1.0]])})
    assert shares.to_dict() == {"a": 0.75, "b": 0.25}


def test_density_is_numpys():
    a, b = two_scores()
    a["conv"][0, 0] = 0  # left out
    found = statistics.density(a, b, bins=4)
    x, y = (np.concatenate([s.ravel() for s in part.values()]) for part in (a, b))
    both = x > 0
    expected = np.histogram2d(np.log10(x[both]), np.log10(y[both]), 4)
    np.testing.assert_array_equal(found["counts"], expected[0])
    np.testing.assert_allclose(found["x_edges"], expected[1])
    assert found["counts"].sum() == 42
    assert statistics.density({"a": np.zeros(3)}, {"a": np.ones(3)}, bins=4)["counts"].sum() == 0
