"""Where in the network the critical weights sit, for several fractions at once."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from core.figures.layout import color_bar, empty, finish, percent_decades, row_height, short_all
from core.figures.numbers import GAP, fraction, weights
from core.figures.palette import INFERNO


def critical_share(table: pd.DataFrame) -> go.Figure:
    """Layers × fraction r: which share of a layer's weights is among the top r of the network.

    Columns: layer, type, count (weights of the layer), r, share [0, 1] (of the layer's weights). Colour is
    logarithmic in the share; the text is the share itself.
    """
    x_title, y_title = "fraction r of all weights", "layer, in forward order"
    if table.empty:
        return empty("No scores yet.", x=x_title, y=y_title)
    layers = list(dict.fromkeys(table["layer"]))
    fractions = sorted(set(table["r"]))
    share = table.pivot(index="layer", columns="r", values="share").loc[layers, fractions].to_numpy(float)
    about = table.drop_duplicates("layer").set_index("layer").loc[layers]
    positive = share[share > 0]
    low = float(positive.min()) if positive.size else 1e-3
    high = float(positive.max()) if positive.size else 1.0
    ticks, labels = percent_decades(10 ** np.floor(np.log10(low)), 1.0)
    text = [[fraction(float(s)).removesuffix(f"{GAP}%") for s in row] for row in share]
    hover = [
        f"{name}<br>{row['type']}, {weights(row['count'])} weights"
        for name, row in zip(layers, about.to_dict("records"), strict=True)
    ]
    fig = go.Figure(
        go.Heatmap(
            z=np.where(share > 0, np.log10(np.maximum(share, 1e-12)), np.log10(low)),
            x=[fraction(r) for r in fractions],
            y=list(range(len(layers))),
            zmin=np.log10(low),
            zmax=max(np.log10(high), np.log10(low) + 1),
            colorscale=INFERNO,
            text=text,
            texttemplate="%{text}",
            textfont={"size": 12},
            customdata=[[h] * len(fractions) for h in hover],
            hovertemplate="%{customdata}<br>r = %{x}: %{text} % of the layer<extra></extra>",
            hoverongaps=False,
            xgap=2,
            ygap=2,
            colorbar=color_bar("share of the layer (per cent)", tickvals=np.log10(ticks), ticktext=labels),
        )
    )
    widest = share[:, -1]
    finish(
        fig,
        caption=f"Bright layers hold more than their part of the critical weights; at r = {fraction(fractions[-1])} "
        f"{layers[int(np.nanargmax(widest))]} has most, {fraction(float(np.nanmax(widest)))} of its weights.",
        x=x_title,
        y=y_title,
        height=row_height(len(layers), each=26, frame=140),
        legend=False,
    )
    fig.update_xaxes(showgrid=False, type="category")
    fig.update_yaxes(
        autorange="reversed", tickvals=list(range(len(layers))), ticktext=short_all(layers), showgrid=False
    )
    return fig
