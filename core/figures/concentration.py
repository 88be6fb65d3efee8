"""How much of a score sits in how few weights."""

from __future__ import annotations

import math

import pandas as pd
import plotly.graph_objects as go

from core.figures.layout import diagonal, empty, finish, mark_x, percent_axis, percent_decades
from core.figures.numbers import fraction
from core.figures.palette import SCORES


def concentration(curve: pd.DataFrame, r: float | None = None) -> go.Figure:
    """Share of the total score held by the top fraction of weights, with the chosen `r` marked.

    Columns: fraction (of weights, ranked by the score), share [0, 1] and score ("learnability", "vulnerability").
    """
    x_title, y_title = "top fraction of weights (log scale)", "share of the total score"
    curve = curve[curve["fraction"] > 0]
    if curve.empty:
        return empty("No scores yet.", x=x_title, y=y_title)
    fig = go.Figure()
    told = []
    for score, ink in SCORES.items():
        part = curve[curve["score"] == score].sort_values("fraction")
        if part.empty:
            continue
        fig.add_trace(
            go.Scatter(
                x=part["fraction"],
                y=part["share"],
                mode="lines",
                name=score,
                line={"color": ink.color, "width": 2.2, "dash": ink.dash},
                hovertemplate=f"top %{{x:.2~%}} of weights hold %{{y:.1%}} of {score}<extra></extra>",
            )
        )
        if r is not None:
            nearest = part.iloc[(part["fraction"].apply(math.log) - math.log(r)).abs().argmin()]
            told.append(f"{fraction(float(nearest['share']))} of {score}")
    low = float(curve["fraction"].min())
    diagonal(fig, low, "if spread evenly")
    caption = "The higher the curve starts, the fewer weights hold the score."
    if r is not None:
        mark_x(fig, r, f"r = {fraction(r)} ", log=True)
        caption = f"The top {fraction(r)} of weights hold {' and '.join(told)}."
    finish(fig, caption=caption, x=x_title, y=y_title, height=340)
    values, labels = percent_decades(low, 1.0)
    fig.update_xaxes(type="log", range=[math.log10(low), 0.01], tickvals=values, ticktext=labels)
    fig.update_yaxes(range=[0, 1.03], showgrid=True)
    percent_axis(fig, "y", 0, 1, most=5)
    return fig
