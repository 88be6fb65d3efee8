"""The regions of a network in forward order: how much each gives away, and how much of each score it holds."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from core.figures.layout import empty, finish, note, percent_axis, row_height, short_all
from core.figures.numbers import auc, fraction
from core.figures.palette import CONTEXT, SCORES, WHEN

_Y_TITLE = "region, in forward order"


def risk_by_region(table: pd.DataFrame) -> go.Figure:
    """White-box attack AUC of every region with its interval, before and (where given) after a defence.

    Columns: region, auc, low, high (95 % interval) and, where there are two models, when ("before" or "after").
    """
    x_title = "AUC of the gradient attack"
    if table.empty:
        return empty("The regions have not been measured yet.", x=x_title, y=_Y_TITLE)
    table = table if "when" in table else table.assign(when="before")
    names = list(dict.fromkeys(table["region"]))
    moments = [when for when in WHEN if (table["when"] == when).any()]
    fig = go.Figure()
    fig.add_vline(x=0.5, line={"color": CONTEXT.color, "width": 1, "dash": "dot"})
    for when in moments:
        part = table[table["when"] == when]
        shift = 0.0 if len(moments) == 1 else {"before": -0.16, "after": 0.16}[when]
        ink = WHEN[when]
        fig.add_trace(
            go.Scatter(
                x=part["auc"],
                y=[names.index(region) + shift for region in part["region"]],
                mode="markers",
                name=when,
                marker={
                    "color": ink.color,
                    "symbol": ink.symbol,
                    "size": 9,
                    "line": {"width": 2, "color": ink.color},
                },
                error_x={
                    "type": "data",
                    "symmetric": False,
                    "array": part["high"] - part["auc"],
                    "arrayminus": part["auc"] - part["low"],
                    "thickness": 1.6,
                    "width": 4,
                },
                customdata=[
                    f"{region}, {when}<br>AUC {auc(value, low, high)}"
                    for region, value, low, high in zip(
                        part["region"], part["auc"], part["low"], part["high"], strict=True
                    )
                ],
                hovertemplate="%{customdata}<extra></extra>",
            )
        )
    first = table[table["when"] == moments[0]]
    worst = first.iloc[int(first["auc"].argmax())]
    finish(
        fig,
        caption=f"{worst['region']} gives most away {moments[0]} the defence (AUC "
        f"{auc(worst['auc'], worst['low'], worst['high'])}); a region whose whisker crosses the dotted line cannot be "
        "told from chance.",
        x=x_title,
        y=_Y_TITLE,
        height=row_height(len(names), each=38),
        legend=len(moments) > 1,
    )
    low = min(0.5, float(table["low"].min()))
    high = max(0.5, float(table["high"].max()))
    room = 0.06 * max(high - low, 0.1)
    fig.update_xaxes(range=[low - room, high + room], tickformat=".2f", nticks=7)
    note(fig, "chance", x=0.5, xref="x", y=0, yref="paper", xshift=3)
    _forward(fig, names)
    return fig


def shares_by_region(table: pd.DataFrame) -> go.Figure:
    """Shares of total vulnerability and learnability held by every region, as paired bars.

    Columns: region, vulnerability_share, learnability_share (fractions that sum to 1 over the regions) and,
    optionally, weight_share: the part of all weights, drawn as a tick to compare with.
    """
    x_title = "share of the network's total"
    if table.empty:
        return empty("No scores yet.", x=x_title, y=_Y_TITLE)
    table = table.drop_duplicates("region")
    names = list(table["region"])
    fig = go.Figure()
    for score, ink in SCORES.items():
        share = table[f"{score}_share"]
        fig.add_trace(
            go.Bar(
                x=share,
                y=list(range(len(names))),
                orientation="h",
                name=score,
                marker={"color": ink.color, "pattern": {"shape": ink.pattern, "solidity": 0.35}},
                text=[fraction(float(value)) for value in share],
                textposition="outside",
                textfont={"size": 12},
                cliponaxis=False,
                hovertemplate=f"%{{text}} of {score}<extra></extra>",
            )
        )
    columns = ["vulnerability_share", "learnability_share"]
    if "weight_share" in table:
        columns.append("weight_share")
        fig.add_trace(
            go.Scatter(
                x=table["weight_share"],
                y=list(range(len(names))),
                mode="markers",
                name="of weights",
                marker={"symbol": "line-ns-open", "size": 24, "color": CONTEXT.color, "line": {"width": 3}},
                hovertemplate="%{x:.1%} of weights<extra></extra>",
            )
        )
    ratio = table["vulnerability_share"] / table["learnability_share"].clip(lower=1e-9)
    finish(
        fig,
        caption="Where the solid bar is longer than the hatched one, a region holds more of the risk than of the "
        f"learning: most so in {names[int(ratio.argmax())]}.",
        x=x_title,
        y=_Y_TITLE,
        height=row_height(len(names), each=44, frame=100),
    )
    most = float(table[columns].to_numpy(float).max())
    fig.update_layout(barmode="group", bargap=0.3, bargroupgap=0.08, uniformtext={"minsize": 11, "mode": "show"})
    fig.update_xaxes(range=[0, most * 1.2])
    percent_axis(fig, "x", 0, most * 1.2, most=5)
    _forward(fig, names)
    return fig


def _forward(fig: go.Figure, names: list[str]) -> None:
    """First region at the top; numbers below carry the shifts that names cannot."""
    fig.update_yaxes(
        range=[len(names) - 0.4, -0.6], tickvals=list(range(len(names))), ticktext=short_all(names), showgrid=False
    )
