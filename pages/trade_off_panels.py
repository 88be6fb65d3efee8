"""Below the trade-off: what one setting does, two settings crossed, and methods against one of them, paired by seed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import pandas as pd
import streamlit as st

from core.figures import against, mode_matrix, sensitivity
from core.figures.methods import ACCURACY
from core.metrics import paired_differences
from core.metrics.tradeoff import LINE
from pages import frame
from pages import trade_off_words as words
from pages.once import once

FEWEST = 3
"""Points that make a line worth reading as one."""
OURS = ("CWRF", "A3")
"""What a pair of columns is first compared for."""
TOLD = (*LINE, "field")
"""Labels of a point that are no settings: its place."""
SPELLED = {"how": "use"}
"""Label of a point → what it is called."""
REFERENCES = ("pve", "init")
"""How the method that others are compared with begins, where the sweep has one: the paper's own choice."""


def target(key: str, common: float) -> float:
    """The test accuracy at which methods are compared, as a fraction; `common`: where the page starts."""
    typed = st.number_input(
        "Compare at a test accuracy of (%)",
        min_value=0.0,
        max_value=100.0,
        value=round(100 * common, 1),
        step=0.5,
        format="%.1f",
        key=f"target-{key}-{common:.4f}",
        width=260,
        help="It starts at the measured accuracy that most lines pass.",
    )
    return common if abs(typed - 100 * common) < 0.051 else typed / 100


def along(
    at: tuple, means: pd.DataFrame, before: pd.DataFrame, *, axis: str, risk: str, attack: str, methods: Sequence[str]
) -> None:
    """What the one setting does that runs along all lines. at: which sweep, attack, risk and points are shown."""
    long = means.groupby("method")["strength"].nunique() >= FEWEST
    if not axis or not long.any():
        return
    st.subheader(f"What {axis} does", anchor=False)
    part = means[means["method"].isin(long[long].index)]
    log = words.is_fraction(axis)
    make = partial(sensitivity, part, title=axis, risk=risk, attack=attack, log=log, methods=methods, before=before)
    frame.draw(once(("along", *at, *methods), make), f"along-{risk}")


def crossed(
    at: tuple, points: pd.DataFrame, means: pd.DataFrame, labels: Sequence[str], risk: str, attack: str
) -> None:
    """Two settings crossed, such as mode and objective: the matrix, and one value against another in every row."""
    labels = [name for name in labels if name in means and name not in TOLD and means[name].nunique() > 1]
    labels = [name for name in labels if not means[name].equals(means["strength"])]  # a field that is the strength
    if len(labels) != 2 or means.dropna(subset=labels).duplicated(labels).any():
        return
    across, down = sorted(labels, key=lambda name: means[name].nunique())
    st.subheader(f"By {_words(down)} and {_words(across)}", anchor=False)
    named = means.dropna(subset=labels).rename(columns={name: _words(name) for name in labels})
    make = partial(mode_matrix, named, rows=_words(down), columns=_words(across), risk=risk, attack=attack)
    frame.draw(once(("cross", *at), make), f"cross-{risk}")
    values = list(dict.fromkeys(means[across].dropna()))
    left, right = st.columns(2)
    first = next((place for place, value in enumerate(values) if value in OURS), len(values) - 1)
    one = left.selectbox("Compare", values, index=first, key=f"cross-one-{across}")
    rest = [value for value in values if value != one]
    other = right.selectbox("with", rest, index=len(rest) - 1, key=f"cross-other-{across}")
    parts = []
    for row, part in points[points[across].isin([one, other])].groupby(down, sort=False):
        found = paired_differences(part.assign(method=part[across]), reference=other, columns=(ACCURACY, risk))
        parts.append(found[found["method"] == one].assign(method=row))
    if parts:
        table = pd.concat(parts)
        make = partial(against, table, reference=str(other), risk=risk, attack=attack, methods=list(table["method"]))
        frame.draw(once(("pairs", *at, one, other), make), f"pairs-{risk}")


def paired(at: tuple, points: pd.DataFrame, methods: Sequence[str], risk: str, attack: str) -> None:
    """Every method in colour minus one of them, seed by seed, at one strength."""
    points = points[points["method"].isin(methods)]
    together = points.groupby("strength", dropna=False)["method"].nunique()
    strengths = list(together[together > 1].index)
    if not strengths:
        return
    st.subheader("Against one method, seed by seed", anchor=False)
    st.markdown(
        "Models of the same seed share records and initial weights, and most of them the batch order: their "
        "differences are surer than the numbers themselves. CRL, adversarial regularisation and distillation on the "
        "reference set draw more from the same random numbers, so their batches are others. DP-SGD shares the records "
        "alone: it needs group norm, which other models may lack, and draws its batches at random."
    )
    left, right = st.columns(2)
    strength = strengths[0]
    if len(strengths) > 1:
        strength = right.selectbox("At strength", strengths, index=len(strengths) // 2, format_func="{:g}".format)
    here = points[points["strength"].isna() if pd.isna(strength) else points["strength"] == strength]
    names = [name for name in methods if (here["method"] == name).any()]
    first = next((name for name in names if name.lower().startswith(REFERENCES)), names[0])
    reference = left.selectbox("Against", names, index=names.index(first))
    found = paired_differences(here, reference=reference, columns=(ACCURACY, risk))
    make = partial(against, found, reference=reference, risk=risk, attack=attack, methods=methods)
    frame.draw(once(("against", *at, *methods, str(strength), reference), make), f"against-{risk}")


def _words(name: str) -> str:
    """A label's name: the last part of a dotted field."""
    if name in SPELLED:
        return SPELLED[name]
    parts = name.split(".")
    return (parts[-2] if parts[-1] == "kind" and len(parts) > 1 else parts[-1]).replace("_", " ")
