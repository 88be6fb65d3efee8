"""Learnability against vulnerability, weight by weight, as a density."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import plotly.graph_objects as go

from core.figures.layout import color_bar, decades, empty, finish, note, percent_decades
from core.figures.numbers import correlation, weights
from core.figures.palette import COUNTS


def score_density(
    grid: Mapping[str, np.ndarray],
    pearson: float | None = None,
    of: str = "all weights",
    *,
    sample: int | None = None,
) -> go.Figure:
    """2-D density of the two scores on log-log axes, colour logarithmic in the number of weights.

    `grid` holds x_edges [X+1] (log10 learnability), y_edges [Y+1] (log10 vulnerability) and counts [X, Y], as
    `numpy.histogram2d` returns them. `pearson` is the correlation of the scores themselves (not of their logs) over
    the weights named by `of`. `sample`: how many weights were drawn to be counted, where it is not all of them.
    """
    x_title, y_title = "learnability score (log scale)", "vulnerability score (log scale)"
    counts = np.asarray(grid["counts"], float)
    if counts.size == 0 or counts.sum() == 0:
        return empty("No scores yet.", x=x_title, y=y_title)
    x_edges, y_edges = np.asarray(grid["x_edges"], float), np.asarray(grid["y_edges"], float)
    ticks, _ = percent_decades(1, max(10.0, counts.max()))
    fig = go.Figure(
        go.Heatmap(
            x=x_edges,
            y=y_edges,
            z=np.where(counts > 0, np.log10(np.maximum(counts, 1)), np.nan).T,
            zmin=0,
            colorscale=COUNTS,
            customdata=counts.T,
            hovertemplate="learnability 10^%{x:.1f}<br>vulnerability 10^%{y:.1f}<br>%{customdata:,} "
            f"{'sampled weights' if sample else 'weights'}<extra></extra>",
            hoverongaps=False,
            colorbar=color_bar(
                "sampled weights per cell" if sample else "weights per cell",
                tickvals=np.log10(ticks),
                ticktext=[weights(tick).removesuffix(".0").replace(".0 ", " ") for tick in ticks],
            ),
        )
    )
    told = f"Pearson r = {correlation(pearson)}" if pearson is not None else ""
    if told:
        note(fig, f"<b>{told}</b><br>{of}", x=0.02, xref="paper", y=0.98, yref="paper", yanchor="top")
    left, bottom = _start(x_edges, counts.sum(1)), _start(y_edges, counts.sum(0))
    cut = left > x_edges[0] or bottom > y_edges[0]
    finish(
        fig,
        caption="The narrower the band along the diagonal, the more the weights a model learns with are the ones that "
        f"give its members away{f' ({told} over {of})' if told else ''}."
        + (f" Counted in a sample of {weights(sample)} weights." if sample else "")
        + (" Up to one weight in a thousand lies left of or below the axes." if cut else ""),
        x=x_title,
        y=y_title,
        height=440,
        legend=False,
    )
    fig.update_xaxes(range=[left, x_edges[-1]])
    fig.update_yaxes(range=[bottom, y_edges[-1]], showgrid=True)
    decades(fig, left, x_edges[-1])
    decades(fig, bottom, y_edges[-1], axis="y")
    return fig


def _start(edges: np.ndarray, counts: np.ndarray) -> float:
    """Where an axis starts: below it lies less than one weight in two thousand, so that none squeezes the rest."""
    below = np.cumsum(counts) / counts.sum()
    return float(edges[int(np.searchsorted(below, 5e-4))])
