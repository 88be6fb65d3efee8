"""Privacy against utility: every method's line along its strength, and the Pareto front."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd
import plotly.graph_objects as go

from core.figures import numbers as n
from core.figures.layout import empty, finish, note, percent_axis
from core.figures.methods import ACCURACY, ACCURACY_TITLE, RISKS, axis_range, ends, inks, whisker
from core.figures.palette import BEFORE, CONTEXT, Ink


def trade_off(
    points: pd.DataFrame, *, risk: str = "auc", methods: Sequence[str] = (), before: pd.DataFrame | None = None
) -> go.Figure:
    """Test accuracy against a risk with both intervals: one line per method along its strength, and the Pareto front.

    points: method, strength, label (in words), test_accuracy and the risk with _low and _high, seeds, front (bool) and
    experiment (its hash: custom data of the marks, so that a click knows it). before: rows with the same numbers of
    undefended models, named by their method; they can lie on the front too. methods: those in colour, in order.
    """
    how = RISKS[risk]
    points, before = (t.dropna(subset=[ACCURACY, risk]) for t in (points, points[:0] if before is None else before))
    if points.empty:
        return empty("No point is finished yet.", x=how.title, y=ACCURACY_TITLE)
    fig = go.Figure()
    everything = pd.concat([before, points]) if len(before) else points
    _front(fig, everything[everything["front"].astype(bool)], risk)
    for name, part in before.groupby("method", sort=False):
        _marks(fig, part, str(name), BEFORE, risk, line=False)
    drawn = inks(methods, list(points["method"]))
    # the grey ones first, below the others, and once in the legend
    for name, part in sorted(points.groupby("method", sort=False), key=lambda item: drawn[str(item[0])] != CONTEXT):
        _marks(fig, part, str(name), drawn[str(name)], risk)
    grey = [trace for trace in fig.data if trace.name in drawn and drawn[trace.name] == CONTEXT]
    for place, trace in enumerate(grey):
        trace.update(name="other methods", legendgroup="others", showlegend=not place)
    winners = points[points["front"]]["method"]
    told = f"{len(winners)} of {len(points)} points lie on the grey front"
    told += f", of {winners.nunique()} methods" if winners.nunique() > 1 else ""
    finish(
        fig,
        caption=f"Up and left is better: more accuracy at less risk; {told}. Where whiskers overlap on both axes, an "
        "order is not settled.",
        x=f"{how.title} (less is better)",
        y=ACCURACY_TITLE,
        height=480,
    )
    _axes(fig, everything, risk)
    return fig


def _axes(fig: go.Figure, everything: pd.DataFrame, risk: str) -> None:
    """Ranges, ticks, and where chance lies if that is near."""
    how = RISKS[risk]
    low, high = axis_range(everything, risk, floor=0.0, ceiling=math.inf if how.chance is None else 1.0)
    if how.chance is not None and low <= how.chance + 0.25 * (high - low):
        low = min(low, how.chance - 0.03 * (high - how.chance))
        fig.add_vline(x=how.chance, line={"color": CONTEXT.color, "width": 1, "dash": "dot"})
        note(fig, "chance", x=how.chance, xref="x", y=0, yref="paper", xshift=3)
    bottom, top = axis_range(everything, ACCURACY, floor=0.0, ceiling=1.0)
    fig.update_xaxes(range=[low, high])
    fig.update_yaxes(range=[bottom, top], showgrid=True)
    percent_axis(fig, "y", bottom, top)
    if how.percent:
        percent_axis(fig, "x", low, high)
    elif risk == "auc":
        fig.update_xaxes(tickformat=".2f", nticks=7)


def _front(fig: go.Figure, points: pd.DataFrame, risk: str) -> None:
    """The staircase that bounds what the points dominate."""
    points = points.sort_values([risk, ACCURACY])
    fig.add_trace(
        go.Scatter(
            x=points[risk],
            y=points[ACCURACY],
            mode="lines",
            name="Pareto front",
            line={"color": CONTEXT.faded(0.55), "width": 6, "shape": "hv"},
            hoverinfo="skip",
        )
    )


def _marks(fig: go.Figure, part: pd.DataFrame, name: str, ink: Ink, risk: str, line: bool = True) -> None:
    """One method's points, joined in order of strength, with whiskers on both axes."""
    write = RISKS[risk].write
    told = [
        f"{name}{f', {label}' if label else ''}<br>test accuracy {n.accuracy(*ends(row, ACCURACY))}<br>"
        f"{RISKS[risk].title} {write(*ends(row, risk))}<br>"
        + (f"mean of {row['seeds']} seeds" if row["seeds"] > 1 else "one seed")
        for label, row in zip(part["label"], part.to_dict("records"), strict=True)
    ]
    fig.add_trace(
        go.Scatter(
            x=part[risk],
            y=part[ACCURACY],
            mode="lines+markers" if line and len(part) > 1 else "markers",
            name=name,
            line={"color": ink.color, "width": 1.6, "dash": ink.dash},
            marker={"color": ink.color, "symbol": ink.symbol, "size": 10, "line": {"width": 2, "color": ink.color}},
            error_x=whisker(part, risk, ink),
            error_y=whisker(part, ACCURACY, ink),
            text=told,
            customdata=[[key] for key in part["experiment"]],
            hovertemplate="%{text}<extra></extra>",
            # a click chooses an experiment; it must not fade the others
            selected={"marker": {"opacity": 1}},
            unselected={"marker": {"opacity": 1}},
        )
    )
