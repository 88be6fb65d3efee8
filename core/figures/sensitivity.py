"""What moving one setting (r, λ, a defence's strength) does to accuracy and to risk."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from core.figures.layout import SMALL_SIZE, empty, finish, note, percent_axis, percent_decades
from core.figures.methods import ACCURACY, ACCURACY_TITLE, RISKS, axis_range, ends, inks, write_of
from core.figures.numbers import fraction
from core.figures.palette import BEFORE, Ink


def sensitivity(
    points: pd.DataFrame,
    *,
    title: str,
    risk: str = "auc",
    attack: str = "",
    log: bool = False,
    methods: Sequence[str] = (),
    before: pd.DataFrame | None = None,
) -> go.Figure:
    """Test accuracy and a risk, one below the other, along one setting, with their intervals as bands.

    points, before and attack: as for `trade_off`, rows with a strength. title: what the strength is, with its unit.
    `log`: a logarithmic axis in per cent, for fractions such as r.
    """
    how = RISKS[risk]
    points = points.dropna(subset=["strength", ACCURACY, risk])
    points = points[points["strength"] > 0] if log else points
    if points.empty:
        return empty("No point with a strength is finished yet.", x=title, y=ACCURACY_TITLE)
    fig = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.07)
    drawn = inks(methods, list(points["method"]))
    told = []
    for row, column in ((1, ACCURACY), (2, risk)):
        for name, part in points.groupby("method", sort=False):
            _band(fig, part.sort_values("strength"), column, str(name), drawn[str(name)], row)
        if before is not None and len(before):
            level = float(before[column].mean())
            fig.add_hline(y=level, line={"color": BEFORE.color, "width": 1.2, "dash": BEFORE.dash}, row=row, col=1)
            note(fig, "before", x=1, xref="x domain", y=level, yref=f"y{row if row > 1 else ''}", xanchor="right")
        low, high = axis_range(points if before is None else pd.concat([points, before]), column, 0.0, math.inf)
        fig.update_yaxes(range=[low, high], row=row, col=1)
        if column == ACCURACY or how.percent:
            percent_axis(fig, "y", low, high, most=5, row=row, col=1)
        told.append(" and ".join(write_of(column)(value) for value in (points[column].min(), points[column].max())))
    finish(
        fig,
        caption=f"Over this range test accuracy lies between {told[0]}, {how.of(attack)} between {told[1]}; a line "
        "that stays inside its own band may not have moved at all.",
        height=520,
        legend=points["method"].nunique() > 1,
    )
    fig.update_yaxes(title_text=ACCURACY_TITLE, showgrid=True, row=1, col=1)
    fig.update_yaxes(title_text=how.of(attack), showgrid=True, row=2, col=1)
    fig.update_xaxes(title_text=title, title_font={"size": SMALL_SIZE}, row=2, col=1)
    if log:
        low, high = float(points["strength"].min()), float(points["strength"].max())
        values, labels = percent_decades(low, high)
        if len(values) < 2:  # less than a decade: the ends instead
            values, labels = [low, high], [fraction(low), fraction(high)]
        frame = [math.log10(low) - 0.06, math.log10(high) + 0.06]
        fig.update_xaxes(type="log", range=frame, tickvals=values, ticktext=labels)
    return fig


def _band(fig: go.Figure, part: pd.DataFrame, column: str, name: str, ink: Ink, row: int) -> None:
    """One method's line with its band, where there are intervals."""
    known = part.dropna(subset=[f"{column}_low", f"{column}_high"]) if f"{column}_low" in part else part[:0]
    if len(known) > 1:
        fig.add_trace(
            go.Scatter(
                x=[*known["strength"], *known["strength"][::-1]],
                y=[*known[f"{column}_high"], *known[f"{column}_low"][::-1]],
                mode="lines",
                line={"width": 0},
                fill="toself",
                fillcolor=ink.faded(0.18),
                hoverinfo="skip",
                showlegend=False,
            ),
            row=row,
            col=1,
        )
    told = [f"{name}, {r['label']}<br>{write_of(column)(*ends(r, column))}" for r in part.to_dict("records")]
    fig.add_trace(
        go.Scatter(
            x=part["strength"],
            y=part[column],
            mode="lines+markers",
            name=name,
            line={"color": ink.color, "width": 2, "dash": ink.dash},
            marker={"color": ink.color, "symbol": ink.symbol, "size": 8},
            text=told,
            hovertemplate="%{text}<extra></extra>",
            showlegend=row == 1,
        ),
        row=row,
        col=1,
    )
