"""Further measures of the attacks: balanced accuracy, lower bounds of ε, exposure of the canaries."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pandas as pd
import streamlit as st

from core.figures import numbers as n
from pages import frame
from pages.attack_words import known
from pages.experiments import Current
from pages.once import once

SOURCES = {"references": "reference models", "other half": "the other half of the records"}
"""Where the threshold was chosen, as the audit calls it → in words; audits of this version say whose references."""
GROUPS = {"all": "All records", "canaries": "Canaries"}


def measures(now: Current, at: tuple, scored: pd.DataFrame, sides: list[str]) -> None:
    """The table, what its columns mean, and the formulae. `scored`: rows with a result, as `side_by_side` gives, made
    from what `at` names."""
    rows_of_attacks(now, "measures", ("measures", *at), scored, partial(table, sides=sides))
    st.caption(
        "Brackets are 95 % intervals. Every ε is a lower bound with 95 % confidence: the members found against the "
        "non-members taken for members. Thresholds are chosen on other records than those they are judged on: with "
        "reference models in the target's place where there are some, also for attacks that score without them, else "
        "on half of the records. The best threshold is chosen on the judged records themselves, hence optimistic."
    )
    st.markdown(
        "**Empirical ε**: the least that training leaks, were every record a training of its own. It is not, so "
        "take it as a heuristic. The **one-run audit** (Steinke 2023) does without: it guesses a fixed fifth of "
        "the records, the surest each way, and asks which ε so many right guesses refute. It assumes that a fair "
        "coin chose the members, which a split in equal halves nearly does."
    )
    st.latex(
        r"\hat\varepsilon=\max\left\{\ln\frac{\mathrm{TPR}_{lo}}{\mathrm{FPR}_{hi}},"
        r"\ln\frac{\mathrm{TNR}_{lo}}{\mathrm{FNR}_{hi}},0\right\}\qquad"
        r"\mathrm{exposure}=\log_2(n_0+1)-\log_2\mathrm{rank}"
    )
    st.markdown(
        "**Exposure** (Carlini 2019): how many bits training lifted a mislabelled member above the $n_0$ "
        "mislabelled non-members; the mean over canaries with a bootstrap interval. Chance is what canaries have "
        "that were never trained on."
    )


def rows_of_attacks(
    now: Current, place: str, at: tuple, scored: pd.DataFrame, make: Callable[[pd.DataFrame], pd.DataFrame]
) -> None:
    """A table with one row per attack, by `make`; where there are canaries, a switch between them and all records.

    place: whose switch it is; at: the name of the table in this place and what it is made from.
    """
    groups = list(dict.fromkeys(scored["group"]))
    group = groups[0]
    if len(groups) > 1:
        group = st.segmented_control(
            "Records",
            groups,
            default=group,
            required=True,
            format_func=GROUPS.get,
            label_visibility="collapsed",
            **frame.kept(now, f"{place}-records"),
        )
    cells = once((place, *at, group), partial(make, scored[scored["group"] == group]))
    st.dataframe(cells, hide_index=True, height="content", column_config={"attack": frame.NAMES})


def table(scored: pd.DataFrame, sides: list[str]) -> pd.DataFrame:
    """One row per attack, in words."""
    rows = []
    for row in scored.to_dict("records"):
        cells = {"attack": row["title"]}
        cells |= {f"balanced accuracy {side}": share(row, "balanced", side) for side in sides}
        cells |= {f"at the best threshold {side}": share(row, "best_balanced", side) for side in sides}
        cells |= {f"empirical ε {side}": bound(row, side) for side in sides}
        cells |= {f"one-run ε {side}": one_run(row, side) for side in sides}
        if row["group"] == "canaries" and "exposure_before" in row:
            cells |= {f"exposure {side}": exposure(row, side) for side in sides}
        source = known(row, "threshold_from")
        cells["threshold from"] = n.MISSING if pd.isna(source) else SOURCES.get(source, source)
        cells["judged on"] = judged_on(row)
        rows.append(cells)
    return pd.DataFrame(rows)


def share(row: dict, name: str, side: str) -> str:
    """ "61.2 % [58.1, 64.2]"."""
    return n.accuracy(*(row[f"{name}{end}_{side}"] for end in ("", "_low", "_high")))


def bound(row: dict, side: str) -> str:
    """ "≥ 0.62: 31 / 500 against 3 / 500"."""
    value = row[f"epsilon_{side}"]
    if pd.isna(value):
        return n.MISSING
    found, alarms = (
        n.count(int(row[f"epsilon_{hit}_positives_{side}"]), int(row[f"judged_{who}_{side}"]))
        for hit, who in (("true", "members"), ("false", "non_members"))
    )
    return f"≥ {n.plain(value)}: {found} against {alarms}"


def one_run(row: dict, side: str) -> str:
    """ "≥ 0.41: 130 / 200 guesses right"."""
    value = row[f"one_run_epsilon_{side}"]
    if pd.isna(value):
        return n.MISSING
    right = n.count(int(row[f"one_run_correct_{side}"]), int(row[f"one_run_guesses_{side}"]))
    return f"≥ {n.plain(value)}: {right} guesses right"


def exposure(row: dict, side: str) -> str:
    """ "2.31 bits [1.95, 2.70], chance 1.38"; only canaries have one."""
    value = row[f"exposure_{side}"]
    if pd.isna(value):
        return n.MISSING
    low, high, chance = (n.plain(row[f"exposure_{name}_{side}"]) for name in ("low", "high", "chance"))
    return f"{n.plain(value)} bits [{low}, {high}], chance {chance}"


def judged_on(row: dict) -> str:
    """Members and non-members behind the balanced accuracy and the empirical ε."""
    counts = [known(row, f"judged_{who}") for who in ("members", "non_members")]
    return n.MISSING if pd.isna(counts[0]) else " + ".join(n.count(int(count)) for count in counts)
