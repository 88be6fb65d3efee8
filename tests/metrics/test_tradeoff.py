"""Pareto front, hypervolume, risk at matched accuracy and pairing, by hand and against brute force."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from core.config import BadInput
from core.metrics.tradeoff import (
    Box,
    common_accuracy,
    hypervolume,
    matched,
    over_seeds,
    paired_differences,
    pareto_front,
    risk_at_accuracy,
    volumes,
)

BOX = Box(accuracy=(0.0, 1.0), risk=(0.5, 1.0))
# few distinct values, so that ties and duplicates happen
GRID = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=12)


def table(*rows) -> pd.DataFrame:
    """Rows (method, strength, seed, accuracy, auc) with intervals of ±.05 and ±.03."""
    points = pd.DataFrame(rows, columns=["method", "strength", "seed", "test_accuracy", "auc"])
    for name, half in (("test_accuracy", 0.05), ("auc", 0.03)):
        points = points.assign(**{f"{name}_low": points[name] - half, f"{name}_high": points[name] + half})
    return points.assign(experiment=[f"e{number}" for number in range(len(points))])


def test_front_by_hand():
    #                    best  beaten  safest  twin of the first, tie in risk but less accurate, unknown
    accuracy = np.array([0.9, 0.80, 0.70, 0.9, 0.60, np.nan])
    risk = np.array([0.7, 0.75, 0.55, 0.7, 0.55, 0.5])
    assert pareto_front(accuracy=accuracy, risk=risk).tolist() == [True, False, True, True, False, False]


@given(GRID)
def test_front_equals_comparing_every_pair(points):
    accuracy, risk = np.array(points, float).T
    slow = [
        not any(
            accuracy[j] >= accuracy[i] and risk[j] <= risk[i] and (accuracy[j] > accuracy[i] or risk[j] < risk[i])
            for j in range(len(risk))
        )
        for i in range(len(risk))
    ]
    assert pareto_front(accuracy=accuracy, risk=risk).tolist() == slow


def test_hypervolume_by_hand():
    # accuracy .8 at AUC .75: .8 wide, half high; .5 at .5: .5 wide, full height; together .4 + .5 · .5
    assert hypervolume(accuracy=[0.8], risk=[0.75], box=BOX) == pytest.approx(0.4)
    assert hypervolume(accuracy=[0.8, 0.5], risk=[0.75, 0.5], box=BOX) == pytest.approx(0.65)
    assert hypervolume(accuracy=[1.0], risk=[0.4], box=BOX) == 1  # better than chance-level risk is not more than all
    assert hypervolume(accuracy=[0.8, np.nan], risk=[1.2, 0.5], box=BOX) == 0
    assert hypervolume(accuracy=[], risk=[], box=BOX) == 0
    narrow = Box(accuracy=(0.6, 0.8), risk=(0.5, 0.7))
    assert hypervolume(accuracy=[0.7, 0.5], risk=[0.6, 0.5], box=narrow) == pytest.approx(0.25)
    with pytest.raises(BadInput, match="two different ends of risk"):
        Box(accuracy=(0, 1), risk=(0.5, 0.5))


@given(GRID, st.integers(0, 2**31))
def test_hypervolume_equals_counting_cells(points, seed):
    """All coordinates lie on a grid, so the centres of its cells measure the area exactly."""
    box = Box(accuracy=(1, 5), risk=(1, 6))
    accuracy, risk = np.array(points, float).T
    centres = [(x, y) for x in np.arange(1.5, 5) for y in np.arange(1.5, 6)]
    covered = [any(x < a and y > r for a, r in zip(accuracy, risk, strict=True)) for x, y in centres]
    assert hypervolume(accuracy=accuracy, risk=risk, box=box) == pytest.approx(np.mean(covered))


def test_hypervolume_equals_monte_carlo():
    generator = np.random.default_rng(1)
    accuracy, risk = generator.uniform(0.3, 0.95, 9), generator.uniform(0.5, 0.95, 9)
    x, y = generator.uniform(0, 1, 200_000), generator.uniform(0.5, 1, 200_000)
    share = np.mean(((x[:, None] < accuracy) & (y[:, None] > risk)).any(1))
    assert hypervolume(accuracy=accuracy, risk=risk, box=BOX) == pytest.approx(share, abs=0.004)


def test_risk_at_accuracy_by_hand():
    accuracy, risk = np.array([0.9, 0.8, 0.6]), np.array([0.7, 0.6, 0.5])
    assert risk_at_accuracy(accuracy=accuracy, risk=risk, target=0.85).risk == pytest.approx(0.65)
    assert risk_at_accuracy(accuracy=accuracy, risk=risk, target=0.8).risk == 0.6
    assert risk_at_accuracy(accuracy=accuracy, risk=risk, target=0.65).risk == pytest.approx(0.525)
    above = risk_at_accuracy(accuracy=accuracy, risk=risk, target=0.59)
    below = risk_at_accuracy(accuracy=accuracy, risk=risk, target=0.95)
    assert np.isnan(above.risk) and above.verdict == "more accurate throughout"
    assert np.isnan(below.risk) and below.verdict == "less accurate throughout"


def test_a_line_that_passes_twice_counts_where_it_is_safer():
    found = risk_at_accuracy(accuracy=[0.9, 0.7, 0.9], risk=[0.8, 0.7, 0.55], target=0.8)
    assert found.risk == pytest.approx(0.625) and found.verdict == "reached"


def test_nothing_is_interpolated_across_a_missing_point():
    assert risk_at_accuracy(accuracy=[0.9, np.nan, 0.7], risk=[0.8, 0.7, 0.6], target=0.8).verdict == "a gap"
    assert np.isnan(risk_at_accuracy(accuracy=[0.9], risk=[0.8], target=0.8).risk)


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0.5, 1)), min_size=2, max_size=8), st.floats(0, 1))
def test_risk_at_accuracy_equals_numpy_on_every_piece(points, target):
    """NumPy interpolates each piece of the line by itself, from its less to its more accurate end."""
    pieces = [sorted(piece) for piece in pairwise(points)]
    ends = [risk for accuracy, risk in points if accuracy == target]
    passed = [np.interp(target, *zip(*piece, strict=True)) for piece in pieces if piece[0][0] < target < piece[1][0]]
    accuracy, risk = np.array(points).T
    found = risk_at_accuracy(accuracy=accuracy, risk=risk, target=target)
    if passed or ends:
        assert found.verdict == "reached" and found.risk == pytest.approx(min(passed + ends))
    else:
        assert np.isnan(found.risk) and (accuracy > target).all() == (found.verdict == "more accurate throughout")


def test_over_seeds_by_hand():
    points = table(
        ("b", 2.0, 1, 0.8, 0.6),
        ("b", 2.0, 0, 0.7, 0.7),
        ("a", np.nan, 0, 0.9, 0.8),
        ("b", 1.0, 0, 0.6, 0.5),
    )
    found = over_seeds(points)
    assert found[["method", "seeds", "spread"]].values.tolist() == [
        ["b", 1, "one audit"],
        ["b", 2, "seeds"],
        ["a", 1, "one audit"],
    ]
    assert found["strength"].tolist()[:2] == [1, 2]  # by strength within the method
    two = found.iloc[1]
    half = stats.t.ppf(0.975, 1) * 0.05  # two values ±.05: standard error .05
    assert (two["test_accuracy"], two["test_accuracy_low"]) == pytest.approx((0.75, 0.75 - half))
    assert two["experiment"] == "e1"  # of the first seed, not of the first row
    alone = found.iloc[2]
    assert (alone["auc_low"], alone["auc_high"]) == pytest.approx((0.77, 0.83))


def test_shares_stay_between_nothing_and_all_and_epsilon_has_no_ceiling():
    table = pd.DataFrame(
        {"method": "a", "strength": 0.0, "seed": [0, 1], "test_accuracy": [0.8, 1.0], "auc": 0.6, "epsilon": [1.0, 9.0]}
    ).assign(**{f"{name}_{end}": 0.0 for name in ("test_accuracy", "auc", "epsilon") for end in ("low", "high")})
    (row,) = over_seeds(table, ("test_accuracy", "auc", "epsilon")).to_dict("records")
    assert (row["test_accuracy_low"], row["test_accuracy_high"]) == (0.0, 1.0)
    assert row["epsilon_low"] == 0 and row["epsilon_high"] == pytest.approx(5 + 4 * 12.7062, abs=1e-3)


def test_over_seeds_does_not_average_what_some_seeds_lack():
    points = table(("a", 1.0, 0, 0.8, 0.6), ("a", 1.0, 1, 0.8, np.nan))
    assert np.isnan(over_seeds(points)["auc"].iloc[0])


def test_volumes_and_matched_take_each_seed_by_itself():
    points = table(
        ("a", 1.0, 0, 0.9, 0.7),
        ("a", 2.0, 0, 0.7, 0.5),
        ("a", 1.0, 1, 0.8, 0.75),
        ("a", 2.0, 1, 0.6, 0.5),
        ("a", 1.0, 2, 0.9, 0.6),  # its second point is not finished
        ("b", np.nan, 0, 0.5, 0.75),
    )
    found = volumes(points, box=BOX).set_index("method")
    one, two = 0.9 * 0.6 + 0.7 * 0.4, 0.8 * 0.5 + 0.6 * 0.5
    assert found.loc["a", ["value", "seeds"]].tolist() == pytest.approx([(one + two) / 2, 2])
    assert found.loc["b", "value"] == pytest.approx(0.25) and np.isnan(found.loc["b", "low"])
    at = matched(points, target=0.75).set_index("method")
    assert at.loc["a", "value"] == pytest.approx((0.55 + 0.6875) / 2)
    assert at.loc["b", "verdict"] == "less accurate throughout" and at.loc["b", "seeds"] == 0


def test_common_accuracy_is_where_most_lines_can_be_compared():
    means = table(
        ("a", 1.0, 0, 0.90, 0.7),
        ("a", 2.0, 0, 0.70, 0.5),
        ("b", 1.0, 0, 0.85, 0.7),
        ("b", 2.0, 0, 0.60, 0.5),
        ("c", np.nan, 0, 0.95, 0.9),
    )
    assert common_accuracy(means) == 0.85  # a and b pass; at .7 they do too, but less accurate
    assert common_accuracy(means[4:]) == 0.95
    assert np.isnan(common_accuracy(means[:0]))


def test_paired_differences_pair_by_seed_and_strength():
    points = table(
        ("pve", np.nan, 0, 0.8, 0.6),
        ("random", np.nan, 0, 0.7, 0.65),
        ("pve", np.nan, 1, 0.9, 0.7),
        ("random", np.nan, 1, 0.86, 0.71),
        ("random", np.nan, 2, 0.1, 0.99),  # nothing to pair it with
    )
    found = paired_differences(points, reference="pve").set_index("method")
    test = stats.ttest_rel([0.65, 0.71], [0.6, 0.7]).confidence_interval()
    row = found.loc["random"]
    assert row["seeds"] == 2 and row["auc"] == pytest.approx(0.03)
    assert (row["auc_low"], row["auc_high"]) == pytest.approx(tuple(test))
    assert found.loc["pve", ["auc", "auc_low", "auc_high"]].tolist() == [0, 0, 0]
    assert paired_differences(points, reference="past").empty
