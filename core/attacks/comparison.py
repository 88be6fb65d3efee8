"""The attack tables of two audits side by side."""

from __future__ import annotations

import pandas as pd

_KEYS = ["attack", "group"]
_ABOUT = ["title", "adaptive"]
_TESTS = ["difference", "low", "high", "p_value"]
_GAINS = [f"gain_{name}" for name in _TESTS]
_NUMBERS = ("auc", "members", "non_members", "tpr_", "balanced", "best_", "epsilon", "judged_", "one_run_", "exposure")


def side_by_side(*, before: pd.DataFrame, after: pd.DataFrame | None, tests: pd.DataFrame | None) -> pd.DataFrame:
    """One row per attack and group ("all", "canaries") with the numbers of both audits.

    before, after: attack tables with the columns of `core.attacks.evaluate`, which get the endings _before and _after.
    The order is that of `before`; attacks that only `after` has (non-adaptive ones) follow, their _before missing.
    tests: paired tests, columns attack, group, difference (AUC after − before), low, high, p_value; and of non-adaptive
    attacks the same with gain_ before it (AUC adaptive − non-adaptive, both after). Without `after` the table holds the
    one audit and no differences. Attacks that did not apply stay as rows with `reason_*`.
    """
    left = _renamed(before, "before")
    if after is None:
        return left
    right = _renamed(after, "after")
    table = left.drop(columns=_ABOUT).merge(right.drop(columns=_ABOUT), on=_KEYS, how="outer", sort=False)
    about = pd.concat([left, right])[_KEYS + _ABOUT].drop_duplicates(_KEYS)  # the order that an outer merge loses
    table = about.merge(table, on=_KEYS, how="left", sort=False)
    if tests is None or tests.empty:
        return table.assign(**dict.fromkeys(_TESTS + _GAINS, float("nan")))
    return table.merge(tests.reindex(columns=[*_KEYS, *_TESTS, *_GAINS]), on=_KEYS, how="left", sort=False)


def _renamed(table: pd.DataFrame, when: str) -> pd.DataFrame:
    """Columns named for one audit; a number that is None throughout becomes a missing number, not an object."""
    table = table.copy()
    for column in table.columns:
        if column.startswith(_NUMBERS) and not column.endswith("_resolvable"):
            table[column] = pd.to_numeric(table[column])
    for column in ("reason", "chosen"):
        if column not in table:
            table[column] = None
    return table.rename(columns={c: f"{c}_{when}" for c in table.columns if c not in _KEYS + _ABOUT})
