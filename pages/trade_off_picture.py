"""The main figure of the trade-off page: means over seeds, the Pareto front, and clicks that choose an experiment."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import pandas as pd
import streamlit as st

from core.figures import trade_off
from core.figures.layout import CONFIG, caption_of
from core.figures.methods import ACCURACY, METHODS, guaranteed
from core.metrics import over_seeds, pareto_front
from pages import experiments
from pages import trade_off_words as words
from pages.once import once

UNDEFENDED = "none"
"""How the methods of undefended models start in the tables of a sweep."""


def prepared(
    table: pd.DataFrame, axis: str, risk: str, risks: Sequence[str] = ()
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """(points of single models, means over seeds, undefended means); the means with labels and who is on the front.

    risk: the one that is drawn; risks: others whose means are wanted too.
    """
    table = table.dropna(subset=[ACCURACY, risk])
    plain = table["method"].astype(str).str.startswith(UNDEFENDED)
    shown, base = table[~plain], table[plain]
    # undefended models of several data sets or architectures must not be averaged as if they were seeds
    base = base.assign(
        method=base["method"].str.replace(UNDEFENDED, "before", n=1),
        strength=base.groupby(["method", "seed"]).cumcount().astype(float),
    )
    columns = tuple(dict.fromkeys((ACCURACY, risk, *risks, *guaranteed(table))))
    means, before = (over_seeds(part, columns) for part in (shown, base))
    front = pareto_front(
        accuracy=pd.concat([means[ACCURACY], before[ACCURACY]]), risk=pd.concat([means[risk], before[risk]])
    )
    means = means.assign(front=front[: len(means)], label=words.labels(means, axis))
    return shown, means, before.assign(front=front[len(means) :], label="")


def in_colour(key: str, names: list[str], means: pd.DataFrame) -> list[str]:
    """Of the methods' names those that are told apart, in the order of colours; of many a person chooses some."""
    if len(names) <= len(METHODS):
        return names
    front = set(means[means["front"]]["method"])
    first = sorted(names, key=lambda name: name not in front)[: len(METHODS)]  # a stable sort
    return st.multiselect(
        "Methods in colour",
        names,
        default=[name for name in names if name in first],
        max_selections=len(METHODS),
        key=f"colours-{key}-{len(means)}",
        help="The others are small and grey: more than these cannot be told apart. Those on the Pareto front come "
        "first.",
    )


def picked(state: Any) -> str | None:
    """The experiment of a clicked mark."""
    for point in state["selection"]["points"]:
        if point.get("customdata"):
            return str(point["customdata"][0])
    return None


def clicked(widget: str) -> None:
    """Make the experiment of the clicked mark the current one."""
    key = picked(st.session_state[widget])
    if key:
        experiments.show(key)
        st.toast(f"All pages show experiment {key} now.")


def picture(at: tuple, means: pd.DataFrame, before: pd.DataFrame, risk: str, attack: str, methods: list[str]) -> None:
    """The main figure; a click on a point makes it the current experiment. at: which sweep, attack, risk and points."""
    make = partial(trade_off, means, risk=risk, attack=attack, methods=methods, before=before)
    figure = once(("trade-off", *at, *methods), make)
    widget = f"trade-off-{at[0]}-{risk}"
    st.plotly_chart(
        figure,
        config=CONFIG,
        key=widget,
        alt=caption_of(figure),
        on_select=partial(clicked, widget),
        selection_mode="points",
    )
    st.caption(f"{caption_of(figure)} Click a point to make it the current experiment.")
