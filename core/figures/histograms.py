"""Distributions that arrive already binned: scores per layer, attack scores of members and non-members."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from core.figures.layout import decades, empty, finish, mark_x, row_height, short_all
from core.figures.numbers import MINUS, count, fraction, power_of_ten
from core.figures.palette import CONTEXT, SCORES, SPLITS, Ink

Score = Literal["vulnerability", "learnability"]


def score_histogram(
    counts: pd.DataFrame, threshold: float | None, layer: str | None = None, score: Score = "vulnerability"
) -> go.Figure:
    """Score distribution of every layer, one ridge each in forward order, or of one `layer` alone.

    Columns: layer, bin_low, bin_high (log10 of the score), count (weights). `threshold` is the score at r as log10;
    what lies right of it is filled. Ridges have logarithmic heights, each layer scaled to its own fullest bin,
    for on a linear scale the few critical weights could not be seen.
    """
    x_title = f"{score} (log scale)"
    if layer is not None:
        counts = counts[counts["layer"] == layer]
    if counts.empty:
        return empty("No scores yet.", x=x_title, y="layer")
    layers = list(dict.fromkeys(counts["layer"]))
    fig = go.Figure(_ridges(counts, layers, SCORES[score], threshold))
    single = len(layers) == 1
    finish(
        fig,
        caption=_score_caption(counts, threshold, score),
        x=x_title,
        y="weights per bin (log scale)" if single else "",
        height=280 if single else row_height(len(layers), each=34),
        legend=False,
    )
    low, high = float(counts["bin_low"].min()), float(counts["bin_high"].max())
    fig.update_xaxes(range=[low, high])
    decades(fig, low, high)
    if single:
        fig.update_yaxes(type="log", dtick=1, showgrid=True)
    else:
        fig.update_yaxes(
            title_text="layer, in forward order",
            tickvals=list(range(len(layers) - 1, -1, -1)),
            ticktext=short_all(layers),
            range=[-0.1, len(layers) + 0.35],
            showgrid=False,
        )
    if threshold is not None:
        mark_x(fig, threshold, "top r ▸", above=True)
        fig.layout.margin.t = 26
    return fig


def _ridges(counts: pd.DataFrame, layers: list[str], ink: Ink, threshold: float | None) -> list[go.Scatter]:
    """All ridges as one trace, and what lies right of the threshold as a second: a trace per layer costs 10 ms each."""
    whole, tails = [], []
    for place, name in enumerate(layers):
        x, y, text, floor = _outline(name, counts[counts["layer"] == name], len(layers) - 1 - place, len(layers) == 1)
        whole.append(_closed(x, y, text, floor))
        if threshold is not None:
            tails.append(_closed(*_right_of(x, y, text, threshold), floor))
    grey = _filled(whole, CONTEXT.faded(0.35), {"color": ink.color, "width": 1.4})
    tails = [tail for tail in tails if len(tail[0]) > 1]
    return [grey, _filled(tails, ink.color, {"width": 0})] if tails else [grey]


Outline = tuple[np.ndarray, np.ndarray, list[str]]


def _outline(name: str, part: pd.DataFrame, row: int, single: bool) -> tuple[np.ndarray, np.ndarray, list[str], float]:
    """A layer's histogram as steps x, y with a hover text each, and the level it stands on."""
    part = part.sort_values("bin_low")
    edges = np.append(part["bin_low"].to_numpy(float), float(part["bin_high"].iloc[-1]))
    number = part["count"].to_numpy(float)
    if single:
        height, floor = np.maximum(number, 0.5), 0.5  # a log axis has no zero
    else:
        height, floor = 1.15 * np.log1p(number) / max(np.log1p(number.max()), 1e-9) + row, float(row)
    hover = [f"{name}: {count(int(n))} weights" for n in np.repeat(number, 2)]
    return np.repeat(edges, 2)[1:-1], np.repeat(height, 2), hover, floor


def _closed(x: np.ndarray, y: np.ndarray, text: list[str], floor: float) -> Outline:
    """Steps closed along the floor, and a gap behind them, so that the next outline starts anew."""
    return (
        np.concatenate([x, x[::-1], [np.nan]]),
        np.concatenate([y, np.full(len(y), floor), [np.nan]]),
        [*text, *text[::-1], ""],
    )


def _filled(outlines: list[Outline], fill: str, line: dict) -> go.Scatter:
    return go.Scatter(
        x=np.concatenate([x for x, _, _ in outlines])[:-1],
        y=np.concatenate([y for _, y, _ in outlines])[:-1],
        text=[label for _, _, text in outlines for label in text][:-1],
        fill="toself",
        fillcolor=fill,
        line=line,
        mode="lines",
        hovertemplate="%{text}<extra></extra>",
        hoveron="points",
    )


def _right_of(
    x: np.ndarray, y: np.ndarray, text: list[str], threshold: float | None
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """The part of a stepped outline from a threshold on; the cut bin starts at the threshold."""
    if threshold is None:
        return x, y, text
    keep = np.flatnonzero(x >= threshold)
    if len(keep) == 0:
        return x[:0], y[:0], []
    first = keep[0]
    if first == 0:
        return x, y, text
    return (
        np.concatenate([[threshold], x[first:]]),
        np.concatenate([[y[first - 1]], y[first:]]),
        [text[first - 1], *text[first:]],
    )


def _score_caption(counts: pd.DataFrame, threshold: float | None, score: str) -> str:
    if threshold is None:
        return f"Compare how far each layer's ridge reaches to the right: those are its weights of highest {score}."
    above = counts.loc[counts["bin_low"] >= threshold, "count"].sum() / max(1, counts["count"].sum())
    return (
        f"Only the coloured tail right of the line is critical, about {fraction(float(above))} of the weights shown; "
        "layers whose ridge reaches further right hold more of it."
    )


def member_histogram(counts: pd.DataFrame, log: bool = False, most: int | None = None) -> go.Figure:
    """Attack scores of members and non-members from columns score_low, score_high, members, non_members (records).

    `log`: the bounds are −log10(−score) and the ticks say which score that is. `most`: top of the count axis, given
    where two histograms are to be compared.
    """
    x_title, y_title = "attack score (higher = more likely a member)", "records per bin"
    if log:
        x_title = "attack score, log scale (higher: member)"
    if counts.empty:
        return empty("No attack has finished yet.", x=x_title, y=y_title)
    counts = counts.sort_values("score_low")
    edges = np.append(counts["score_low"].to_numpy(float), float(counts["score_high"].iloc[-1]))
    x = np.repeat(edges, 2)
    fig = go.Figure()
    for split, column in (("members", "members"), ("non-members", "non_members")):
        ink = SPLITS[split]
        height = counts[column].to_numpy(float)
        fig.add_trace(
            go.Scatter(
                x=x,
                y=np.concatenate([[0.0], np.repeat(height, 2), [0.0]]),
                mode="lines",
                name=split,
                line={"color": ink.color, "width": 2, "dash": ink.dash},
                fill="tozeroy",
                fillcolor=ink.faded(0.22),
                hovertemplate=f"{split}: %{{y}} records<extra></extra>",
            )
        )
    finish(
        fig,
        caption="Where the two outlines part, the attack can tell members from non-members; where they lie on each "
        "other, it guesses.",
        x=x_title,
        y=y_title,
        height=320,
    )
    fig.update_yaxes(showgrid=True, rangemode="tozero")
    if most:
        fig.update_yaxes(range=[0, 1.05 * most])
    if log:
        decades(fig, edges[0], edges[-1])
        values = fig.layout.xaxis.tickvals
        fig.update_xaxes(ticktext=[f"{MINUS}{power_of_ten(-value)}" for value in values])
    return fig
