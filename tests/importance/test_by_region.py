"""Layers added up over regions, and overlapping risk intervals."""

from __future__ import annotations

import pandas as pd
import pytest

from core.importance.by_region import by_region, critical_by_region, overlapping


def test_regions_by_hand_in_forward_order() -> None:
    layers = pd.DataFrame(
        {
            "name": ["w1", "b1", "w2"],
            "region": ["stem", "stem", "head"],
            "type": ["conv", "conv", "linear"],
            "count": [6, 2, 8],
            "learnability_share": [0.25, 0.5, 0.25],
            "vulnerability_share": [0.125, 0.125, 0.75],
        }
    )
    found = by_region(layers)
    assert found["region"].tolist() == ["stem", "head"]
    assert found["weights"].tolist() == [8, 8]
    assert found["weight_share"].tolist() == [0.5, 0.5]
    assert found["learnability_share"].tolist() == [0.75, 0.25]
    assert found["vulnerability_share"].tolist() == [0.25, 0.75]


@pytest.mark.parametrize(
    ("highs", "expected"), [([0.60, 0.54], []), ([0.60, 0.55], ["b"]), ([0.60, 0.70], ["b"])], ids=str
)
def test_overlap_with_the_riskiest(highs: list[float], expected: list[str]) -> None:
    risk = pd.DataFrame({"region": ["a", "b"], "auc": [0.575, 0.53], "low": [0.55, 0.50], "high": highs})
    assert overlapping(risk) == expected


def test_no_risk_no_overlap() -> None:
    assert overlapping(pd.DataFrame({"region": [], "auc": [], "low": [], "high": []})) == []


def test_critical_share_of_regions_by_hand() -> None:
    """stem: 3 of 6 and 0 of 2 weights are 3 / 8; head: 1 of 4."""
    layers = pd.DataFrame({"name": ["w1", "b1", "w2"], "region": ["stem", "stem", "head"], "count": [6, 2, 4]})
    shares = pd.DataFrame({"layer": ["w1", "b1", "w2"] * 2, "r": [0.1] * 3 + [0.5] * 3})
    shares = shares.assign(share=[0.5, 0.0, 0.25, 1.0, 1.0, 0.5], count=0)  # a count of its own must not get in the way
    found = critical_by_region(shares, layers)
    assert found["region"].tolist() == ["stem", "head"] * 2
    assert found["count"].tolist() == [8, 4, 8, 4]
    assert found["share"].tolist() == [0.375, 0.25, 1.0, 0.5]
