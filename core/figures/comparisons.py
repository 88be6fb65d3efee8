"""Comparisons without a line: modes × objectives as a matrix, and methods against one of them, seed by seed."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from core.figures import numbers as n
from core.figures.layout import SMALL_SIZE, color_bar, empty, finish, row_height, short_all
from core.figures.methods import ACCURACY, ACCURACY_TITLE, RISKS, ends, inks, whisker
from core.figures.palette import CONTEXT, COUNTS, Ink


def mode_matrix(table: pd.DataFrame, *, rows: str, columns: str, risk: str = "auc", attack: str = "") -> go.Figure:
    """Two settings crossed, such as mode × objective: each cell with its accuracy and, below it, its risk.

    table: one row per cell with the columns named `rows` and `columns` (in words), test_accuracy and the risk with
    _low and _high. Colour is the risk, attack whose it is; combinations that are missing stay empty.
    """
    how = RISKS[risk]
    table = table.dropna(subset=[ACCURACY, risk])
    if table.empty:
        return empty("No combination is finished yet.", x=columns, y=rows)
    down, across = (list(dict.fromkeys(table[name])) for name in (rows, columns))
    z = np.full((len(down), len(across)), np.nan)
    text, hover = np.full(z.shape, "", object), np.full(z.shape, "", object)
    for row in table.to_dict("records"):
        place = down.index(row[rows]), across.index(row[columns])
        z[place] = row[risk]
        text[place] = f"{n.accuracy(row[ACCURACY])}<br>{how.write(row[risk])}"
        hover[place] = (
            f"{row[rows]}, {row[columns]}<br>{ACCURACY_TITLE} {n.accuracy(*ends(row, ACCURACY))}<br>"
            f"{how.title} {how.write(*ends(row, risk))}"
        )
    fig = go.Figure(
        go.Heatmap(
            z=z,
            x=list(range(len(across))),
            y=list(range(len(down))),
            colorscale=COUNTS,
            text=text,
            texttemplate="%{text}",
            textfont={"size": 12},
            customdata=hover,
            hovertemplate="%{customdata}<extra></extra>",
            hoverongaps=False,
            xgap=2,
            ygap=2,
            colorbar=color_bar(how.of(attack), nticks=5, tickformat=".0%" if how.percent else ".3~f"),
        )
    )
    safest = table.loc[table[risk].idxmin()]
    finish(
        fig,
        caption=f"Each cell: {ACCURACY_TITLE}, below it {how.of(attack)}; darker is safer. The lowest: {safest[rows]}, "
        f"{safest[columns]}, {how.write(safest[risk])} at an accuracy of {n.accuracy(safest[ACCURACY])}.",
        x=columns,
        y=rows,
        height=row_height(len(down), each=52, frame=170),
        legend=False,
    )
    fig.update_xaxes(tickvals=list(range(len(across))), ticktext=short_all(across, 22), showgrid=False)
    fig.update_yaxes(
        autorange="reversed", tickvals=list(range(len(down))), ticktext=short_all(down, 22), showgrid=False
    )
    return fig


def against(
    differences: pd.DataFrame, *, reference: str, risk: str = "auc", attack: str = "", methods: Sequence[str] = ()
) -> go.Figure:
    """Methods against the `reference`, paired by seed: dot and interval of the difference in accuracy and in risk.

    differences: method, seeds (pairs), test_accuracy and the risk as differences with _low and _high (NaN with one
    pair), see `core.metrics.paired_differences`. The reference itself is the line at zero. attack: whose risk it is.
    methods: their order, which sets the colours.
    """
    how = RISKS[risk]
    differences = differences[differences["method"] != reference].dropna(subset=[ACCURACY, risk])
    if differences.empty:
        return empty(f"Nothing to compare with {reference} yet.", x=f"{how.of(attack)}, difference", y="method")
    names = list(dict.fromkeys(differences["method"]))
    drawn = inks(methods, names)
    panel = row_height(len(names), each=30, frame=60)
    gap = 62 / (2 * panel)  # room for the upper axis title
    fig = make_subplots(rows=2, cols=1, vertical_spacing=gap)
    finish(fig, caption=_verdict(differences, reference, risk), height=2 * panel, legend=False)
    for place, column in ((1, ACCURACY), (2, risk)):
        title = ACCURACY_TITLE if column == ACCURACY else how.of(attack)
        percent = column == ACCURACY or how.percent
        for row in differences.to_dict("records"):
            dot = _dot(row, column, names.index(row["method"]), drawn[row["method"]], reference, percent)
            fig.add_trace(dot, row=place, col=1)
        # last: Plotly leaves lines out of a panel that has no traces yet
        fig.add_vline(x=0, line={"color": CONTEXT.color, "width": 2, "dash": "dot"}, row=place, col=1)
        fig.update_xaxes(
            title_text=f"Δ {title}{' (points)' if percent else ''}",  # short: a phone has room for no more
            title_font={"size": SMALL_SIZE},
            row=place,
            col=1,
        )
    fig.update_yaxes(
        title_text="method",
        range=[len(names) - 0.4, -0.6],
        tickvals=list(range(len(names))),
        ticktext=short_all(names, 22),
        showgrid=False,
    )
    return fig


def _dot(row: dict, column: str, place: int, ink: Ink, reference: str, percent: bool) -> go.Scatter:
    """One method's difference; `percent`: of fractions, drawn in points."""
    write = n.points if percent else n.difference if column == "auc" else n.plain
    value, low, high = ends(row, column)
    told = write(value) + (f" [{write(low)}, {write(high)}]" if math.isfinite(low) else "")
    size = 100 if percent else 1
    drawn = pd.DataFrame({column: [size * value], f"{column}_low": [size * low], f"{column}_high": [size * high]})
    return go.Scatter(
        x=drawn[column],
        y=[place],
        mode="markers",
        marker={"color": ink.color, "symbol": ink.symbol, "size": 10},
        error_x=whisker(drawn, column, ink),
        text=[f"{row['method']} − {reference}: {told}, {row['seeds']} pairs"],
        hovertemplate="%{text}<extra></extra>",
    )


def _verdict(differences: pd.DataFrame, reference: str, risk: str) -> str:
    """Which intervals exclude zero on the axis of risk."""
    safer = differences[differences[f"{risk}_high"] < 0]["method"]
    riskier = differences[differences[f"{risk}_low"] > 0]["method"]
    head = f"Δ: minus {reference}, models of the same seed."
    if differences["seeds"].max() < 2:
        return f"{head} With one seed there is no interval to judge by."
    told = [
        f"{word} than {reference}: {'; '.join(which)}"
        for which, word in ((list(safer), "Safer"), (list(riskier), "Riskier"))
        if len(which)
    ]
    rest = len(differences) - len(safer) - len(riskier)
    if rest:
        others = f"{rest} other{'s' * (rest > 1)}" if told else "all of them"
        told.append(f"Not settled, for the whisker of the risk crosses zero: {others}")
    return f"{head} {'. '.join(told)}."
