"""ROC curves before and after a defence."""

from __future__ import annotations

import math

import pandas as pd
import plotly.graph_objects as go

from core.figures.layout import empty, finish, note, percent_axis, percent_decades
from core.figures.palette import ATTACK_DASHES, CONTEXT, GRID, SHADE, WHEN

FEW = 10
"""Below this many false positives a rate is mostly luck: the relative error of a count of 10 is about a third."""

X_TITLE = "false positive rate"
Y_TITLE = "true positive rate"


def roc_figure(curves: pd.DataFrame, log: bool, non_members: int) -> go.Figure:
    """ROC curves from columns fpr, tpr (fractions), attack (name) and when ("before" or "after").

    Grey before, green after; one dash per attack where there are several. Steps, never interpolated: between two
    points the rate is that of the last threshold reached, the point on the left. The band left of 10 / `non_members` is
    shaded: fewer than ten false positives stand behind any rate there. `log` draws both axes logarithmically
    (Carlini et al. 2022, §4): a curve begins where it first finds a member, at half a record where that is before any
    false positive.
    """
    if curves.empty or non_members < 1:
        return empty("No attack has finished yet.", x=X_TITLE, y=Y_TITLE)
    floor = 0.5 / non_members
    unresolved = min(1.0, FEW / non_members)
    fig = go.Figure()
    _shade(fig, floor if log else 0.0, unresolved, log)
    fig.add_trace(
        go.Scatter(
            x=[floor, 1] if log else [0, 1],
            y=[floor, 1] if log else [0, 1],
            mode="lines",
            line={"color": CONTEXT.color, "width": 1, "dash": "dot"},
            showlegend=False,
            hoverinfo="skip",
        )
    )
    attacks = list(dict.fromkeys(curves["attack"]))
    for place, attack in enumerate(attacks):
        for when in ("before", "after"):
            part = curves[(curves["attack"] == attack) & (curves["when"] == when)]
            if part.empty:
                continue
            if log:
                part = part[part["tpr"] > 0]
            # with one attack the dash is free to repeat before / after
            dash = ATTACK_DASHES[place % len(ATTACK_DASHES)] if len(attacks) > 1 else WHEN[when].dash
            fig.add_trace(
                go.Scatter(
                    x=part["fpr"].clip(lower=floor) if log else part["fpr"],
                    y=part["tpr"],
                    mode="lines",
                    name=f"{attack}, {when}",
                    line={"color": WHEN[when].color, "width": 2.2, "dash": dash, "shape": "hv"},
                    hovertemplate=f"{attack}, {when}<br>FPR %{{x:.2%}}<br>TPR %{{y:.2%}}<extra></extra>",
                )
            )
    note(fig, "chance", x=-0.62 if log else 0.8, y=-0.7 if log else 0.77, yanchor="top")
    caption = (
        "The further a curve lies above chance, the more members are found (true positives) for the same number of "
        "non-members taken for members (false positives); "
        f"left of {100 * unresolved:.2g} % FPR fewer than {FEW} of {non_members} non-members decide, "
        "so nothing there can be resolved."
    )
    # a long legend must not eat the plot
    finish(fig, caption=caption, x=X_TITLE, y=Y_TITLE, height=400 + 19 * max(0, len(fig.data) - 3))
    if log:
        values, labels = percent_decades(floor, 1.0)
        frame = {"type": "log", "range": [math.log10(floor), 0.02], "tickvals": values, "ticktext": labels}
        fig.update_xaxes(**frame)
        fig.update_yaxes(showgrid=True, **frame)
    else:
        fig.update_xaxes(range=[0, 1.01])
        fig.update_yaxes(range=[0, 1.01], showgrid=True)
        percent_axis(fig, "x", 0, 1, most=5)
        percent_axis(fig, "y", 0, 1, most=5)
    return fig


def _shade(fig: go.Figure, left: float, right: float, log: bool) -> None:
    fig.add_vrect(x0=left, x1=right, fillcolor=SHADE, line={"color": GRID, "width": 1}, layer="below")
    text = f"fewer than {FEW} false positives:<br>not resolvable"
    if log:
        note(fig, text, x=math.log10(left) + 0.04, xref="x", y=0.99, yref="paper", yanchor="top")
    else:
        # the strip is too narrow for words; below the diagonal is room
        note(fig, f"shaded: {text}", x=0.99, xref="paper", y=0.02, yref="paper", xanchor="right", align="right")
