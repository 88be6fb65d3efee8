"""How many of the most exposed members attacks share."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.attacks.agreement import agreement, top_chances


def table(members: int = 40, **scores: list[float]) -> pd.DataFrame:
    frame = pd.DataFrame({f"score_{name}": values for name, values in scores.items()})
    return frame.assign(member=np.arange(len(frame)) < members)


def test_counted_by_hand():
    rising = list(range(40))
    swapped = [*range(38), 0.5, 39]  # record 38 falls out of the top two, record 37 takes its place
    found = agreement(table(a=rising, b=swapped, c=rising[::-1]), ["a", "b", "c"])
    assert found[["first", "second"]].to_numpy().tolist() == [["a", "b"], ["a", "c"], ["b", "c"]]
    assert found["k"].tolist() == [2] * 3 and found["members"].tolist() == [40] * 3
    assert found["shared"].tolist() == [1, 0, 0]
    assert found["expected"].tolist() == pytest.approx([0.1] * 3)  # 2² / 40


def test_only_members_count_and_only_records_that_both_scored():
    rising = [*range(40), 100, 101]
    found = agreement(table(a=rising, b=rising), ["a", "b"])
    assert found.loc[0, ["members", "k", "shared"]].tolist() == [40, 2, 2]
    with_gaps = [float("nan")] * 20 + rising[20:]
    assert agreement(table(a=rising, b=with_gaps), ["a", "b"]).loc[0, ["members", "k", "shared"]].tolist() == [20, 1, 1]
    nothing = [float("nan")] * 42
    assert agreement(table(a=rising, b=nothing), ["a", "b"]).empty
    assert agreement(table(a=rising), ["a", "missing"]).empty


def test_ties_are_drawn_by_lot():
    assert top_chances(scores=np.array([3.0, 1, 1, 0]), k=2).tolist() == [1, 0.5, 0.5, 0]
    constant = [1.0] * 40
    found = agreement(table(a=list(range(40)), b=constant), ["a", "b"])
    assert found.loc[0, "shared"] == pytest.approx(found.loc[0, "expected"])  # a constant score knows nothing


@given(
    a=st.lists(st.integers(0, 5), min_size=8, max_size=30),
    seed=st.integers(0, 99),
    share=st.floats(0.05, 0.9),
)
@settings(max_examples=25, deadline=None)
def test_agrees_with_drawing_lots(a, seed, share):
    rng = np.random.default_rng(seed)
    b = rng.integers(0, 4, len(a))
    row = agreement(table(members=len(a), a=a, b=b.tolist()), ["a", "b"], share).loc[0]
    draws = []
    for _ in range(400):
        tops = [set(np.lexsort((rng.random(len(a)), -np.asarray(s)))[: row["k"]].tolist()) for s in (a, b)]
        draws.append(len(tops[0] & tops[1]))
    assert row["shared"] == pytest.approx(np.mean(draws), abs=5 * max(np.std(draws), 0.1) / 20 + 1e-9)
    assert 0 <= row["shared"] <= row["k"]
