"""What would be rewound: counts per layer, and one layer in detail."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from core.figures.layout import color_bar, empty, finish, percent_axis, row_height, short_all
from core.figures.numbers import fraction, weights
from core.figures.palette import CONTEXT, GRID, SIGNED, VULNERABILITY

LARGEST = 200
"""Rows and columns of a weight image: more than a screen column resolves, and few enough to send."""
MARKS = 1000


def critical_counts(table: pd.DataFrame) -> go.Figure:
    """Per layer, in forward order, the share and number of weights to be rewound.

    Columns: layer, region, type, count (weights of the layer), rewound (how many of them).
    """
    x_title, y_title = "share of the layer to be rewound", "layer, in forward order"
    if table.empty:
        return empty("No scores yet.", x=x_title, y=y_title)
    share = (table["rewound"] / table["count"].clip(lower=1)).to_numpy(float)
    text = [f"{weights(r)} of {weights(c)}" for r, c in zip(table["rewound"], table["count"], strict=True)]
    about = [f"{row.layer}<br>{row.region} · {row.type}" for row in table.itertuples()]
    # the label of the longest bar goes inside it, all others have room behind theirs
    most = max(float(share.max()), 1e-9)
    fig = go.Figure(
        go.Bar(
            x=share,
            y=list(range(len(table))),
            orientation="h",
            marker={"color": VULNERABILITY.color, "line": {"width": 0}},
            text=text,
            textposition=["inside" if s > 0.55 * most else "outside" for s in share],
            insidetextanchor="end",
            insidetextfont={"color": "#ffffff"},
            textfont={"size": 12},
            textangle=0,
            customdata=[[a, fraction(float(s))] for a, s in zip(about, share, strict=True)],
            hovertemplate="%{customdata[0]}<br>%{text} weights, %{customdata[1]}<extra></extra>",
            cliponaxis=False,
        )
    )
    total, rewound = int(table["count"].sum()), int(table["rewound"].sum())
    finish(
        fig,
        caption=f"{weights(rewound)} of {weights(total)} weights ({fraction(rewound / max(1, total))}) would be "
        f"rewound; {table['layer'].iloc[int(share.argmax())]} would give up the largest share of its own.",
        x=x_title,
        y=y_title,
        height=row_height(len(table)),
        legend=False,
    )
    fig.update_layout(bargap=0.25, uniformtext={"minsize": 11, "mode": "show"})
    fig.update_xaxes(range=[0, most * 1.04])
    percent_axis(fig, "x", 0, most * 1.04)
    fig.update_yaxes(
        autorange="reversed",
        tickvals=list(range(len(table))),
        ticktext=short_all(list(table["layer"])),
        showgrid=False,
    )
    return fig


def weight_image(matrix: np.ndarray, critical_mask: np.ndarray) -> go.Figure:
    """One layer's weights as an image, critical ones marked; both arrays alike, one row per output.

    Arrays of more dimensions are flattened behind the first (a vector becomes one row). More than 200 rows or columns
    are thinned to every k-th, and more than 1 000 marks likewise; the caption says so.
    """
    x_title, y_title = "input (column of the weight matrix)", "output (row)"
    values, mask = np.asarray(matrix, float), np.asarray(critical_mask, bool)
    if values.size == 0:
        return empty("This layer has no weights.", x=x_title, y=y_title)
    values, mask = (np.atleast_2d(a.reshape(len(a), -1) if a.ndim > 1 else a) for a in (values, mask))
    steps = [-(-length // LARGEST) for length in values.shape]
    rows, columns = (np.arange(0, length, step) for length, step in zip(values.shape, steps, strict=True))
    values, mask = values[np.ix_(rows, columns)], mask[np.ix_(rows, columns)]
    reach = float(np.abs(values).max()) or 1.0
    fig = go.Figure(
        go.Heatmap(
            z=values,
            x=columns,
            y=rows,
            zmin=-reach,
            zmax=reach,
            colorscale=SIGNED,
            hovertemplate="row %{y}, column %{x}: %{z:.4f}<extra></extra>",
            colorbar=color_bar("weight", len=0.5, nticks=4, tickangle=0),
        )
    )
    marked = np.argwhere(mask)
    large = np.abs(values) >= np.sort(np.abs(values), axis=None)[-max(1, len(marked))]
    every = -(-len(marked) // MARKS) or 1
    shown = marked[::every]
    fig.add_trace(
        go.Scatter(
            x=columns[shown[:, 1]],
            y=rows[shown[:, 0]],
            mode="markers",
            name="critical",
            # black on the image's own colours, so that it reads on either theme
            marker={
                "symbol": "square-open",
                "color": "#000000",
                "size": float(np.clip(300 / max(values.shape), 3, 12)),
                "line": {"width": 1.3},
            },
            hoverinfo="skip",
        )
    )
    thinned = "".join(
        f" One {what} in {step} is shown."
        for what, step in (("row", steps[0]), ("column", steps[1]), ("critical weight", every))
        if step > 1
    )
    finish(
        fig,
        caption=f"Of the critical weights (black squares) {fraction(float((mask & large).sum() / len(marked)))} are "
        f"also among the {len(marked)} largest; the others matter by their place, not their size." + thinned
        if len(marked)
        else "None of the weights shown is critical at this r." + thinned,
        x=x_title,
        y=y_title,
        height=int(np.clip(420 * values.shape[0] / max(values.shape), 240, 420)) + 60,
        legend=False,
    )
    fig.update_xaxes(showgrid=False, tickformat="d", range=[-0.5 * steps[1], columns[-1] + 0.5 * steps[1]])
    fig.update_yaxes(range=[rows[-1] + 0.5 * steps[0], -0.5 * steps[0]], tickformat="d", showgrid=False, nticks=6)
    return fig


def initial_vs_trained(sample: pd.DataFrame) -> go.Figure:
    """Initial against trained values of a layer's weights from columns initial, trained, critical (bool).

    Every row is drawn: `core.importance.layer_detail.Layer.sample` thins a large layer.
    """
    x_title, y_title = "initial value of the weight", "trained value of the weight"
    if sample.empty:
        return empty("This layer has no weights.", x=x_title, y=y_title)
    critical, others = sample[sample["critical"].astype(bool)], sample[~sample["critical"].astype(bool)]
    fig = go.Figure()
    low, high = (float(f(sample[["initial", "trained"]].to_numpy())) for f in (np.min, np.max))
    fig.add_trace(
        go.Scatter(
            x=[low, high],
            y=[low, high],
            mode="lines",
            name="unchanged by training",
            line={"color": CONTEXT.color, "width": 1, "dash": "dot"},
            hoverinfo="skip",
        )
    )
    styles = (
        (others, "stay", {"color": CONTEXT.color, "symbol": CONTEXT.symbol, "size": 4, "opacity": 0.55}),
        (critical, "critical", {"color": VULNERABILITY.color, "symbol": VULNERABILITY.symbol, "size": 6}),
    )
    for part, name, marker in styles:
        if part.empty:
            continue
        fig.add_trace(
            go.Scatter(
                x=part["initial"],
                y=part["trained"],
                mode="markers",
                name=name,
                marker=marker,
                hovertemplate=f"{name}: %{{x:.3f}} → %{{y:.3f}}<extra></extra>",
            )
        )
    finish(
        fig,
        caption="Rewinding moves each critical weight straight up or down to the dotted line; see whether they are the "
        "ones that training moved most.",
        x=x_title,
        y=y_title,
        height=400,
    )
    fig.update_yaxes(showgrid=True, zeroline=True, zerolinecolor=GRID)
    start, end = float(sample["initial"].min()), float(sample["initial"].max())
    room = 0.04 * (end - start) or 0.1 * (high - low) or 0.1
    # not as wide as the line: training often spreads weights far beyond their initial range
    fig.update_xaxes(zeroline=True, zerolinecolor=GRID, nticks=6, range=[start - room, end + room])
    return fig
