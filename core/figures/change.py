"""A few numbers before and after, each on its own scale: dot, whisker, dot, whisker."""

from __future__ import annotations

import math

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from core.figures.layout import SMALL_SIZE, TEXT_SIZE, empty, finish, percent_axis
from core.figures.numbers import in_unit
from core.figures.palette import CONTEXT, WHEN

_ROWS = {"before": 1.0, "after": 0.0}


def before_after(rows: pd.DataFrame, compact: bool = False) -> go.Figure:
    """One panel per metric, before above after, with intervals; values are written at the left.

    Columns: label (the metric), when ("before" or "after"), value, low, high (NaN without an interval) and unit
    ("%" takes fractions, "AUC", or any other). `compact` leaves out grid and panel titles, for a card that has
    its own heading.
    """
    if rows.empty:
        return empty("Nothing to compare yet.", x="value", y="")
    labels = list(dict.fromkeys(rows["label"]))
    panel = 118 if compact else 124
    fig = make_subplots(
        rows=len(labels),
        cols=1,
        vertical_spacing=0.0 if len(labels) == 1 else min(0.9 / (len(labels) - 1), 70 / (panel * len(labels))),
        subplot_titles=None if compact else labels,
    )
    finish(
        fig,
        caption="Where the two whiskers overlap, the picture cannot tell after from before (the paired test of the AUC "
        "may); each metric has its own scale.",
        height=panel * len(labels) + (0 if compact else 20),
        legend=False,
    )
    for place, label in enumerate(labels, start=1):
        part = rows[rows["label"] == label].set_index("when")
        _panel(fig, place, part)
    for title in fig.layout.annotations[: 0 if compact else len(labels)]:
        title.update(x=0, xanchor="left", font={"size": TEXT_SIZE, "weight": 600})
    fig.layout.margin.t = 4 if compact else 30
    if compact:
        fig.update_xaxes(showgrid=False)
    return fig


def _panel(fig: go.Figure, place: int, part: pd.DataFrame) -> None:
    unit = str(part["unit"].iloc[0])
    shown = [when for when in _ROWS if when in part.index]
    if len(shown) == 2:
        fig.add_trace(
            go.Scatter(
                x=[part.at[when, "value"] for when in shown],
                y=[_ROWS[when] for when in shown],
                mode="lines",
                line={"color": CONTEXT.color, "width": 1, "dash": "dot"},
                hoverinfo="skip",
            ),
            row=place,
            col=1,
        )
    for when in shown:
        _dot(fig, place, when, part.loc[when], unit)
    fig.update_yaxes(
        tickvals=[_ROWS[when] for when in shown],
        ticktext=[f"{when}  <b>{in_unit(part.at[when, 'value'], unit)}</b>" for when in shown],
        range=[-0.6, 1.6],
        showgrid=False,
        row=place,
        col=1,
    )
    low, high = _range(part)
    fig.update_xaxes(
        title_text={"%": "per cent", "AUC": "AUC (.5 = chance)"}.get(unit, unit),
        title_font={"size": SMALL_SIZE},
        title_standoff=4,
        range=[low, high],
        nticks=5,
        row=place,
        col=1,
    )
    if unit == "%":
        percent_axis(fig, "x", low, high, most=5, row=place, col=1)


def _dot(fig: go.Figure, place: int, when: str, row: pd.Series, unit: str) -> None:
    whisker = None
    text = in_unit(row["value"], unit)
    if pd.notna(row["low"]) and pd.notna(row["high"]):
        whisker = {
            "type": "data",
            "symmetric": False,
            "array": [row["high"] - row["value"]],
            "arrayminus": [row["value"] - row["low"]],
            "thickness": 2,
            "width": 5,
        }
        text += f" [{in_unit(row['low'], unit)}, {in_unit(row['high'], unit)}]"
    ink = WHEN[when]
    fig.add_trace(
        go.Scatter(
            x=[row["value"]],
            y=[_ROWS[when]],
            mode="markers",
            marker={"color": ink.color, "symbol": ink.symbol, "size": 11, "line": {"width": 2, "color": ink.color}},
            error_x=whisker,
            hovertemplate=f"{when}: {text}<extra></extra>",
        ),
        row=place,
        col=1,
    )


def _range(part: pd.DataFrame) -> list[float]:
    values = [float(v) for v in pd.concat([part["value"], part["low"], part["high"]]) if math.isfinite(v)]
    if not values:
        return [0.0, 1.0]
    low, high = min(values), max(values)
    room = 0.12 * (high - low) or 0.1 * abs(high) or 0.1
    return [low - room, high + room]
