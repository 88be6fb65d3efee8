"""The onion question: once the vulnerable weights are rewound, does vulnerability move to others?"""

from __future__ import annotations

import math

import pandas as pd
import plotly.graph_objects as go

from core.figures.layout import diagonal, empty, finish, percent_axis, percent_decades, row_height, short_all
from core.figures.numbers import fraction, points
from core.figures.palette import AFTER, BEFORE, CONTEXT, Ink

CONTROL = Ink("#CC79A7", "dash", "square-open")
"""The same base fine-tuned with nothing rewound, scored again: what moves there is not the rewind's doing."""
SIDES = {"before": BEFORE, "after": AFTER, "control": CONTROL}


def share_shift(table: pd.DataFrame, *, control: str = "control") -> go.Figure:
    """Share of the network's total vulnerability held by every region, old and new, beside a control.

    Columns: region (in forward order), when ("before", "after", "control"; the last one is optional) and share
    (fractions that sum to 1 per `when`). control: what the control is, in words.
    """
    x_title, y_title = "share of the network's total vulnerability", "region, in forward order"
    if table.empty:
        return empty("The defended model has not been scored again yet.", x=x_title, y=y_title)
    names = list(dict.fromkeys(table["region"]))
    share = table.pivot(index="region", columns="when", values="share").reindex(names)
    fig = go.Figure()
    if {"before", "after"} <= set(share):
        ends = [(a, b, None) for a, b in zip(share["before"], share["after"], strict=True)]
        fig.add_trace(
            go.Scatter(
                x=[value for triple in ends for value in triple],
                y=[place for place in range(len(names)) for _ in range(3)],
                mode="lines",
                line={"color": CONTEXT.color, "width": 2},
                hoverinfo="skip",
                showlegend=False,
            )
        )
    for when, ink in SIDES.items():
        if when not in share:
            continue
        name = control if when == "control" else when
        fig.add_trace(
            go.Scatter(
                x=share[when],
                y=list(range(len(names))),
                mode="markers",
                name=name,
                marker={"color": ink.color, "symbol": ink.symbol, "size": 11, "line": {"width": 2, "color": ink.color}},
                text=[f"{region}, {name}: {fraction(float(value))}" for region, value in share[when].items()],
                hovertemplate="%{text}<extra></extra>",
            )
        )
    finish(
        fig,
        caption=_moved(share, control),
        x=x_title,
        y=y_title,
        height=row_height(len(names), each=34),
    )
    most = float(share.to_numpy(float).max()) * 1.08
    fig.update_xaxes(range=[-0.03 * most, most])
    percent_axis(fig, "x", 0, most, most=5)
    fig.update_yaxes(
        range=[len(names) - 0.4, -0.6], tickvals=list(range(len(names))), ticktext=short_all(names), showgrid=False
    )
    return fig


def overlap_curve(curve: pd.DataFrame, *, control: str = "control") -> go.Figure:
    """Share of the old top r that is also in the new top r, along r, beside a control and chance.

    Columns: fraction (r), overlap [0, 1] and when ("after": the defended model scored again; "control").
    """
    x_title, y_title = "fraction r of all weights (log scale)", "old top r that is in the new one"
    curve = curve[curve["fraction"] > 0]
    if curve.empty:
        return empty("The defended model has not been scored again yet.", x=x_title, y=y_title)
    fig = go.Figure()
    for when in ("after", "control"):
        part = curve[curve["when"] == when].sort_values("fraction")
        if part.empty:
            continue
        ink, name = SIDES[when], control if when == "control" else "after the rewind"
        fig.add_trace(
            go.Scatter(
                x=part["fraction"],
                y=part["overlap"],
                mode="lines",
                name=name,
                line={"color": ink.color, "width": 2.2, "dash": ink.dash},
                text=[fraction(float(r)) for r in part["fraction"]],
                hovertemplate=f"top %{{text}}: %{{y:.1%}} in both, {name}<extra></extra>",
            )
        )
    low = float(curve["fraction"].min())
    diagonal(fig, low, "by chance")
    after = curve[curve["when"] == "after"]
    told = ""
    if len(after):
        first = after.loc[after["fraction"].idxmin()]
        told = f"; of the top {fraction(first['fraction'])}, {fraction(first['overlap'])} stayed"
    finish(
        fig,
        caption=f"The lower the curve, the more other weights are at the top now{told}. Only what lies below the "
        f"{control} is due to the rewind.",
        x=x_title,
        y=y_title,
        height=340,
    )
    values, labels = percent_decades(low, 1.0)
    fig.update_xaxes(type="log", range=[math.log10(low), 0.01], tickvals=values, ticktext=labels)
    fig.update_yaxes(range=[0, 1.03], showgrid=True)
    percent_axis(fig, "y", 0, 1, most=5)
    return fig


def _moved(share: pd.DataFrame, control: str) -> str:
    if not {"before", "after"} <= set(share):
        return "Shares of vulnerability by region; the other side has not been scored yet."
    change = share["after"] - share["before"]
    most = change.abs().idxmax()
    told = f"The share of {most} changed most, by {points(change[most])}"
    if "control" not in share:
        return f"{told}."
    told += f"; without a rewind ({control}) it changes by {points((share['control'] - share['before'])[most])}"
    return f"{told}. Only what goes beyond the {control} is due to the rewind."
