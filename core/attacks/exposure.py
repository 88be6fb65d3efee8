"""Which records an attack is surest of."""

from __future__ import annotations

from typing import Literal

import pandas as pd

Who = Literal["members", "canaries", "non-members"]
When = Literal["before", "after"]
_FACTS = ["record", "source_row", "member", "canary", "label", "clean_label"]


def most_exposed(
    *, before: pd.DataFrame, after: pd.DataFrame | None, attack: str, who: Who = "members", when: When = "before"
) -> pd.DataFrame:
    """Records from the highest attack score to the lowest, from the records tables of one or two audits.

    `who`: members, canaries (mislabelled members) or non-members (their high scores are the attack's false alarms).
    `when` names the audit whose scores give the order; records that it did not score are left out. Columns: rank (from
    1; ties share the best), tied (records with the same score, itself included), record, source_row, member, canary,
    label, clean_label and, per audit, prediction_*, loss_* (nats), score_* (missing where the attack was not run) and,
    where an audit has it, calibrated_* (RMIA: share of population records that the record wins against).
    """
    columns = {"prediction": "prediction", "loss": "loss", "score": f"score_{attack}"}
    calibrated = f"calibrated_{attack}"
    if any(side is not None and calibrated in side for side in (before, after)):
        columns["calibrated"] = calibrated
    table = before[_FACTS].copy()
    for name, side in (("before", before), ("after", after)):
        if side is not None:
            found = side.set_index("record").reindex(table["record"])
            for column, source in columns.items():
                table[f"{column}_{name}"] = found[source].to_numpy() if source in found else float("nan")
    chosen = table["member"] if who != "non-members" else ~table["member"]
    if who == "canaries":
        chosen = chosen & table["canary"]
    score = f"score_{when}"
    table = table[chosen & table[score].notna()].sort_values(score, ascending=False, kind="stable")
    table.insert(0, "rank", table[score].rank(ascending=False, method="min").astype(int))
    table.insert(1, "tied", table.groupby(score)["rank"].transform("size").astype(int))
    return table.reset_index(drop=True)
