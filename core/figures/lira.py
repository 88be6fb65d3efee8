"""The picture that explains LiRA: one record's scaled logit between two crowds of reference models."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from core.figures.layout import empty, finish, note
from core.figures.numbers import count, plain
from core.figures.palette import GRID, MEMBER, NON_MEMBER, WHEN, Ink

if TYPE_CHECKING:
    from core.attacks.one_record import Crowd, OneRecord

X_TITLE = "scaled logit φ (higher = surer of the record's label)"
Y_TITLE = "density"
INSIDE, OUTSIDE = MEMBER, NON_MEMBER
"""IN models had the record as a member, OUT models had not."""
EVEN = 1.05
"""A ratio below this reads "about as likely"."""
ROWS = {"inside": -0.09, "outside": -0.19}
"""Heights of the two rows of reference models, in parts of the tallest density."""
FLOOR, ROOM = -0.28, 1.32
"""Bottom and top of the plot in the same parts; the words about the target stand above the densities."""


def lira_figures(views: Mapping[str, OneRecord], record: int, title: str) -> dict[str, go.Figure]:
    """One figure per audit ("before", "after") of the same record, on the same axes. title: LiRA's in the attack table,
    which says whose the reference models are.

    Every mark in the two rows is a reference model; the curves are the Gaussians that LiRA lays over them; where they
    cross the target's line, their heights are the likelihoods that it compares (Carlini 2022, figure 3).
    """
    if not views:
        return {}
    low, high, top = _frame(list(views.values()))
    return {when: _figure(view, when, record, title, low, high, top) for when, view in views.items()}


def likelier(score: float) -> str:
    """A log-likelihood ratio in words: "3.2 times likelier under models that trained on it"."""
    ratio = math.exp(min(abs(score), 50.0))
    if ratio < EVEN:
        return "about as likely under models that trained on it as under models that did not"
    times = "more than 1 000" if ratio > 1000 else plain(ratio) if ratio < 10 else count(round(ratio))
    return f"{times} times likelier under models that {'trained on it' if score > 0 else 'never saw it'}"


def _frame(views: list[OneRecord]) -> tuple[float, float, float]:
    """Ends of the axis of φ, and the tallest density, over both audits."""
    reach = [view.target for view in views]
    for crowd in (crowd for view in views for crowd in (view.inside, view.outside)):
        reach += [crowd.median - 3 * crowd.deviation, crowd.median + 3 * crowd.deviation, *crowd.phi[[0, -1]]]
    margin = 0.03 * (max(reach) - min(reach))
    top = max(float(crowd.density(crowd.median)) for view in views for crowd in (view.inside, view.outside))
    return min(reach) - margin, max(reach) + margin, top


def _figure(view: OneRecord, when: str, record: int, title: str, low: float, high: float, top: float) -> go.Figure:
    if not len(view.inside.phi) or not len(view.outside.phi):
        return empty("No reference models for this record.", x=X_TITLE, y=Y_TITLE)
    fig = go.Figure()
    for name, crowd, ink in (("outside", view.outside, OUTSIDE), ("inside", view.inside, INSIDE)):
        _crowd(fig, name, crowd, ink, np.linspace(low, high, 241), ROWS[name] * top)
    _target(fig, view, when, low, high, top)
    caption = (
        f"{title}: what the target {when} says of record {record}, φ = {plain(view.target)}, is "
        f"{likelier(view.score)}: its line meets two Gaussians, over {len(view.inside.phi)} IN models around "
        f"{plain(view.inside.median)} and over {len(view.outside.phi)} OUT models around {plain(view.outside.median)}."
    )
    finish(fig, caption=caption, x=X_TITLE, y=Y_TITLE, height=380)
    fig.update_xaxes(range=[low, high])
    fig.update_yaxes(range=[FLOOR * top, ROOM * top], tickvals=[0], ticktext=["0"], showgrid=False)
    fig.add_hline(y=0, line={"color": GRID, "width": 1.5}, layer="below")
    return fig


def _crowd(fig: go.Figure, name: str, crowd: Crowd, ink: Ink, x: np.ndarray, row: float) -> None:
    """A Gaussian with its median, and its models as a row of marks below it."""
    side, did = ("IN", "trained on it") if name == "inside" else ("OUT", "never saw it")
    about = f"median {plain(crowd.median)}, σ {plain(crowd.deviation)}"
    fig.add_trace(
        go.Scatter(
            x=x,
            y=crowd.density(x),
            mode="lines",
            name=f"{side}: {len(crowd.phi)} {did}, {about}",
            legendrank=1 if side == "IN" else 2,
            line={"color": ink.color, "width": 2.2, "dash": ink.dash},
            fill="tozeroy",
            fillcolor=ink.faded(0.18),
            hovertemplate=f"{side}: {about}<extra></extra>",
            legendgroup=name,
        )
    )
    fig.add_trace(
        go.Scatter(
            x=[crowd.median] * 2,
            y=[0, float(crowd.density(crowd.median))],
            mode="lines",
            line={"color": ink.color, "width": 1, "dash": "dot"},
            hovertemplate=f"{side}: {about}<extra></extra>",
            showlegend=False,
            legendgroup=name,
        )
    )
    fig.add_trace(
        go.Scatter(
            x=crowd.phi,
            y=np.full(len(crowd.phi), row),
            mode="markers",
            marker={
                "color": ink.faded(0.55),
                "symbol": ink.symbol,
                "size": 10 if len(crowd.phi) <= 32 else 7,
                "line": {"color": ink.color, "width": 1.2},
            },
            hovertemplate=f"a reference model that {did}<br>φ = %{{x:.2f}}<extra></extra>",
            showlegend=False,
            legendgroup=name,
        )
    )


def _target(fig: go.Figure, view: OneRecord, when: str, low: float, high: float, top: float) -> None:
    """The target's φ as a line through both densities, marked where it meets them."""
    ink = WHEN[when]
    fig.add_trace(
        go.Scatter(
            x=[view.target] * 2,
            y=[FLOOR * top, ROOM * top],
            mode="lines",
            name=f"the target {when}",
            legendrank=3,
            line={"color": ink.color, "width": 3},
            hovertemplate=f"the target: φ = {plain(view.target)}<extra></extra>",
        )
    )
    heights = {"OUT": (view.outside, OUTSIDE), "IN": (view.inside, INSIDE)}
    for side, (crowd, mark) in heights.items():
        height = float(crowd.density(view.target))
        fig.add_trace(
            go.Scatter(
                x=[view.target],
                y=[height],
                mode="markers",
                marker={
                    "color": mark.color,
                    "symbol": mark.symbol,
                    "size": 12,
                    "line": {"color": "white", "width": 1.5},
                },
                hovertemplate=f"density under {side}: {plain(height)}<extra></extra>",
                showlegend=False,
            )
        )
    right = view.target < (low + high) / 2
    ratio = math.exp(min(abs(view.score), 50.0))
    shown = "> 1 000" if ratio > 1000 else plain(ratio) if ratio < 10 else count(round(ratio))
    verdict = "IN ≈ OUT" if ratio < EVEN else f"{'IN' if view.score > 0 else 'OUT'} {shown} × likelier"
    note(
        fig,
        f"target φ = {plain(view.target)}<br><b>{verdict}</b>",
        x=view.target,
        y=0.99,
        yref="paper",
        xanchor="left" if right else "right",
        yanchor="top",
        align="left" if right else "right",
        xshift=8 if right else -8,
    )
