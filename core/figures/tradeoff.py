"""Privacy against utility: every method's line along its strength, and the Pareto front."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import pandas as pd
import plotly.graph_objects as go

from core.figures import numbers as n
from core.figures.layout import empty, finish, note, percent_axis
from core.figures.methods import ACCURACY, ACCURACY_TITLE, RISKS, axis_range, ends, inks, whisker
from core.figures.palette import BEFORE, CONTEXT, Ink

UNDEFENDED = ("circle-open", "square-open", "diamond-open")
"""Marks of the undefended models, where there are several."""
FEW = 8
"""Points in colour with whiskers in full; those of more are pale, for the table has them in numbers."""
FEW_LINES = 2
"""Lines whose ends are named; the names of more would lie on each other."""


def trade_off(
    points: pd.DataFrame,
    *,
    risk: str = "auc",
    attack: str = "",
    methods: Sequence[str] = (),
    before: pd.DataFrame | None = None,
) -> go.Figure:
    """Test accuracy against a risk with both intervals: one line per method along its strength, and the Pareto front.

    points: method, strength, label (in words), test_accuracy and the risk with _low and _high, seeds, front (bool) and
    experiment (its hash: custom data of the marks, so that a click knows it). before: rows with the same numbers of
    undefended models, named by their method; they can lie on the front too. attack: whose risk it is, for the axis.
    methods: those in colour, in order.
    """
    how = RISKS[risk]
    points, before = (t.dropna(subset=[ACCURACY, risk]) for t in (points, points[:0] if before is None else before))
    if points.empty:
        return empty("No point is finished yet.", x=how.of(attack), y=ACCURACY_TITLE)
    fig = go.Figure()
    everything = pd.concat([before, points]) if len(before) else points
    _front(fig, everything[everything["front"].astype(bool)], risk)
    for place, (name, part) in enumerate(before.groupby("method", sort=False)):
        ink = replace(BEFORE, symbol=UNDEFENDED[place % len(UNDEFENDED)])
        fig.add_trace(_marks(part, str(name), ink, risk, whiskers=0.6))
    drawn = inks(methods, list(points["method"]))
    in_colour = points[points["method"].map(drawn) != CONTEXT]
    whiskers = 0.6 if len(in_colour) <= FEW else 0.25
    # the grey ones first, below the others, and once in the legend
    groups = sorted(points.groupby("method", sort=False), key=lambda item: drawn[str(item[0])] != CONTEXT)
    for place, (name, part) in enumerate(groups):
        ink = drawn[str(name)]
        trace = _marks(part, str(name), ink, risk, whiskers=0.0 if ink == CONTEXT else whiskers)
        if ink == CONTEXT:
            trace.update(name="other methods", legendgroup="others", showlegend=not place, mode="markers")
            trace.update(marker={"symbol": "circle", "size": 6, "opacity": 0.6, "line": {"width": 0}})
            trace.update(selected={"marker": {"opacity": 0.6}}, unselected={"marker": {"opacity": 0.6}})
        fig.add_trace(trace)
    if in_colour["method"].nunique() <= FEW_LINES:
        _ends(fig, in_colour, risk)
    winners = points[points["front"]]["method"]
    finish(
        fig,
        caption=f"Up and left is better: more accuracy, less risk. {len(winners)} of {len(points)} points lie on the "
        "grey front. Where whiskers (95 % intervals) overlap on both axes, no order is settled.",
        x=how.of(attack),
        y=ACCURACY_TITLE,
        height=420 + 12 * sum(trace.showlegend is not False for trace in fig.data),  # a phone has one name per line
    )
    _axes(fig, everything, pd.concat([before, in_colour]) if len(before) else in_colour, risk)
    return fig


def _axes(fig: go.Figure, everything: pd.DataFrame, whiskered: pd.DataFrame, risk: str) -> None:
    """Ranges of all marks and most of the whiskers, ticks, and where chance lies if that is near."""
    how = RISKS[risk]
    ceiling = math.inf if how.chance is None else 1.0
    low, high = _range(everything, whiskered, risk, ceiling)
    if how.chance is not None and low <= how.chance + 0.25 * (high - low):
        low = min(low, how.chance - 0.03 * (high - how.chance))
        fig.add_vline(x=how.chance, line={"color": CONTEXT.color, "width": 1, "dash": "dot"})
        note(fig, "chance", x=how.chance, xref="x", y=0, yref="paper", xshift=3)
    bottom, top = _range(everything, whiskered, ACCURACY, 1.0)
    fig.update_xaxes(range=[low, high])
    fig.update_yaxes(range=[bottom, top], showgrid=True)
    percent_axis(fig, "y", bottom, top)
    if how.percent:
        percent_axis(fig, "x", low, high)
    elif risk == "auc":
        fig.update_xaxes(tickformat=".2f", nticks=7)


def _range(everything: pd.DataFrame, whiskered: pd.DataFrame, column: str, ceiling: float) -> tuple[float, float]:
    """One axis: every mark, and the whiskers of those that have some drawn."""
    parts = [everything[[column]], *([whiskered] if len(whiskered) else [])]
    found = [axis_range(part, column, floor=0.0, ceiling=ceiling) for part in parts]
    return min(low for low, _ in found), max(high for _, high in found)


def _ends(fig: go.Figure, points: pd.DataFrame, risk: str) -> None:
    """Where each line starts and ends, in words: which way it runs."""
    for _, part in points.groupby("method", sort=False):
        if len(part) > 2:
            for row in (part.iloc[0], part.iloc[-1]):
                note(fig, row["label"], x=row[risk], y=row[ACCURACY], xref="x", yref="y", xshift=6, yshift=3)


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


def _marks(part: pd.DataFrame, name: str, ink: Ink, risk: str, *, whiskers: float) -> go.Scatter:
    """One method's points, those of a defence joined in order of strength; `whiskers`: their opacity, 0 for none."""
    write = RISKS[risk].write
    told = [
        f"{name}{f', {label}' if label else ''}<br>test accuracy {n.accuracy(*ends(row, ACCURACY))}<br>"
        f"{RISKS[risk].title} {write(*ends(row, risk))}<br>"
        + (f"mean of {row['seeds']} seeds" if row["seeds"] > 1 else "one seed")
        for label, row in zip(part["label"], part.to_dict("records"), strict=True)
    ]
    return go.Scatter(
        x=part[risk],
        y=part[ACCURACY],
        mode="markers" if len(part) == 1 or ink.symbol in UNDEFENDED else "lines+markers",
        name=name,
        line={"color": ink.color, "width": 1.6, "dash": ink.dash},
        marker={"color": ink.color, "symbol": ink.symbol, "size": 10, "line": {"width": 2, "color": ink.color}},
        error_x=whisker(part, risk, ink, whiskers) if whiskers else None,
        error_y=whisker(part, ACCURACY, ink, whiskers) if whiskers else None,
        text=told,
        customdata=[[key] for key in part["experiment"]],
        hovertemplate="%{text}<extra></extra>",
        # a click chooses an experiment; it must not fade the others
        selected={"marker": {"opacity": 1}},
        unselected={"marker": {"opacity": 1}},
    )
