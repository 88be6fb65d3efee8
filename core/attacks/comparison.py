"""The attack tables of two audits side by side."""

from __future__ import annotations

import pandas as pd

_KEYS = ["attack", "title", "group", "adaptive"]
_TESTS = ["difference", "low", "high", "p_value"]


def side_by_side(*, before: pd.DataFrame, after: pd.DataFrame | None, tests: pd.DataFrame | None) -> pd.DataFrame:
    """One row per attack and group ("all", "canaries") with the numbers of both audits, in the order of `before`.

    before, after: attack tables with the columns of `core.attacks.evaluate`, which get the endings _before and _after.
    tests: paired tests, columns attack, group, difference (AUC after − before), low, high, p_value. Without `after`
    the table holds the one audit and no differences. Attacks that did not apply stay as rows with `reason`.
    """
    left = _numbers(before, "before")
    if after is None:
        return left
    right = _numbers(after, "after").drop(columns=["title", "adaptive"])
    table = left.merge(right, on=["attack", "group"], how="left", sort=False)
    if tests is None or tests.empty:
        return table.assign(**dict.fromkeys(_TESTS, float("nan")))
    return table.merge(tests[["attack", "group", *_TESTS]], on=["attack", "group"], how="left", sort=False)


def _numbers(table: pd.DataFrame, when: str) -> pd.DataFrame:
    """Columns renamed for one audit; what is None throughout becomes a missing number instead of an object."""
    table = table.copy()
    for column in table.columns.difference([*_KEYS, "reason"]):
        if not column.endswith("_resolvable"):
            table[column] = pd.to_numeric(table[column])
    return table.rename(columns={c: f"{c}_{when}" for c in table.columns if c not in _KEYS})
