"""Loss and accuracy over the epochs, redrawn while a model trains."""

from __future__ import annotations

from typing import Literal

import pandas as pd
import plotly.graph_objects as go

from core.figures.layout import empty, finish, percent_axis
from core.figures.numbers import plain, points
from core.figures.palette import MEMBER, SPLITS

_Y_TITLES = {"loss": "mean loss (nats)", "accuracy": "accuracy"}


def curves(log: pd.DataFrame, value: Literal["loss", "accuracy"], objective: str = "") -> go.Figure:
    """One line per split from columns epoch (from 1), split ("members", "non-members"), loss (nats), accuracy.

    objective: what training minimises where that is not cross-entropy; its mean over the epoch's batches, the column
    objective, is then drawn beside the loss.
    """
    if log.empty:
        return empty("The first epoch is under way.", x="epoch", y=_Y_TITLES[value])
    log = log.assign(split=log["split"].str.replace("_", "-"))  # stored logs name splits as the config does
    fig = go.Figure()
    for split, ink in SPLITS.items():
        part = log[log["split"] == split].sort_values("epoch")
        if part.empty:
            continue
        shown = "%{y:.1%}" if value == "accuracy" else "%{y:.3f}"
        fig.add_trace(
            go.Scatter(
                x=part["epoch"],
                y=part[value],
                # markers repeat the meaning of the colour, but on long runs they would be all one sees
                mode="lines+markers" if len(part) <= 60 else "lines",
                name=split,
                line={"color": ink.color, "width": 2, "dash": ink.dash},
                marker={"symbol": ink.symbol, "size": 6},
                hovertemplate=f"{split}, epoch %{{x}}: {shown}<extra></extra>",
            )
        )
    beside = value == "loss" and bool(objective) and "objective" in log
    if beside:
        fig.add_trace(_minimised(log, objective))
    told = _caption(log, value) + (f" Dotted: what training minimises, {objective}." if beside else "")
    finish(fig, caption=told, x="epoch", y=_Y_TITLES[value], height=300)
    last = int(log["epoch"].max())
    fig.update_xaxes(tickformat="d", nticks=10, **({"dtick": 1} if last <= 8 else {}))
    fig.update_yaxes(showgrid=True, rangemode="tozero")
    if value == "accuracy":
        fig.update_yaxes(range=[0, 1.03])
        percent_axis(fig, "y", 0, 1, most=5)
    return fig


def _minimised(log: pd.DataFrame, objective: str) -> go.Scatter:
    """The value of the objective, thin: it is another measure than the losses, and no gap can be read from it."""
    part = log.drop_duplicates("epoch").sort_values("epoch")  # the same in the rows of both splits
    return go.Scatter(
        x=part["epoch"],
        y=part["objective"],
        mode="lines",
        name=objective,
        line={"color": MEMBER.color, "width": 1, "dash": "dot"},
        hovertemplate=f"{objective}, epoch %{{x}}: %{{y:.3f}}<extra></extra>",
    )


def _caption(log: pd.DataFrame, value: str) -> str:
    last = log[log["epoch"] == log["epoch"].max()].set_index("split")[value]
    if not set(SPLITS) <= set(last.index):
        return "Members are the records the model trains on."
    gap = float(last["non-members"] - last["members"])
    told = f"{plain(gap)} nats" if value == "loss" else points(gap)
    return (
        f"After epoch {int(log['epoch'].max())}, {value} of non-members minus {value} of members: {told}; membership "
        "attacks live on this gap."
    )
