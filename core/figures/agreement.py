"""How far attacks agree on the most exposed members."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from core.figures.layout import color_bar, empty, finish, row_height
from core.figures.numbers import count, plain
from core.figures.palette import COUNTS


def agreement_heatmap(table: pd.DataFrame, titles: Mapping[str, str]) -> go.Figure:
    """Pairs of attacks as the lower half of a square, coloured by the share of their k most exposed members in common.

    Columns: first, second, members, k, shared, expected (see `core.attacks.agreement`); each pair once, attacks in
    the order of their first mention. `titles`: names to show.
    """
    x_title, y_title = "attack", "and attack"
    if table.empty:
        return empty("Fewer than two attacks have run.", x=x_title, y=y_title)
    names = list(dict.fromkeys([*table["first"], *table["second"]]))
    across, down = names[:-1], names[1:]
    share = np.full((len(down), len(across)), np.nan)
    hover = np.full(share.shape, "", object)
    for row in table.to_dict("records"):
        place = down.index(row["second"]), across.index(row["first"])
        share[place] = row["shared"] / row["k"]
        hover[place] = (
            f"{titles[row['first']]} and {titles[row['second']]}<br>share {plain(row['shared'])} of their "
            f"{row['k']} most exposed members<br>by chance {plain(row['expected'])}"
        )
    fig = go.Figure(
        go.Heatmap(
            z=share,
            x=list(range(len(across))),
            y=list(range(len(down))),
            zmin=0,
            zmax=1,
            colorscale=COUNTS,
            text=[["" if np.isnan(value) else f"{100 * value:.0f}" for value in row] for row in share],
            texttemplate="%{text}",
            customdata=hover,
            hovertemplate="%{customdata}<extra></extra>",
            hoverongaps=False,
            xgap=2,
            ygap=2,
            colorbar=color_bar(
                "in common (per cent)",
                tickvals=[0, 0.25, 0.5, 0.75, 1],
                ticktext=["0", "25", "50", "75", "100"],
            ),
        )
    )
    k, members = (_range(table[name]) for name in ("k", "members"))
    chance = _range((100 * table["expected"] / table["k"]).round())
    finish(
        fig,
        caption=f"Each cell: how many per cent of the {k} most exposed of {members} members two attacks share"
        + (" (fewer where one scored only some records)" if table["k"].nunique() > 1 else "")
        + f"; unrelated rankings would share {chance} %, so dark cells mean that attacks see different records.",
        x=x_title,
        y=y_title,
        height=row_height(len(down), each=31, frame=230),
        legend=False,
    )
    fig.update_xaxes(
        tickvals=list(range(len(across))),
        ticktext=[titles[name].replace(" (", "<br>(") for name in across],
        showgrid=False,
        tickangle=-60,
    )
    fig.update_yaxes(
        autorange="reversed",
        tickvals=list(range(len(down))),
        ticktext=[_broken(titles[name]) for name in down],  # leaves more of a phone to the cells
        tickfont={"size": 11},
        showgrid=False,
    )
    return fig


def _broken(title: str) -> str:
    """A title in two lines, broken before what stands in brackets, else after the first word."""
    return title.replace(" (", "<br>(") if " (" in title else title.replace(" ", "<br>", 1)


def _range(values: pd.Series) -> str:
    """ "25", or "12 to 25" where pairs of attacks differ."""
    low, high = (count(int(end)) for end in (values.min(), values.max()))
    return high if low == high else f"{low} to {high}"
