"""The frame every figure passes through: same margins, grid, legend and caption, readable on light and dark.

Text colours and fonts are left unset: the page's theme fills them (`st.plotly_chart(..., theme="streamlit")`, the
default), so one figure serves both themes. Whatever a figure sets itself wins over the theme.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import plotly.graph_objects as go

from core.config import merge
from core.figures.numbers import GAP, fraction, power_of_ten
from core.figures.palette import CONTEXT, GRID

CONFIG: dict[str, Any] = {
    "displaylogo": False,
    "modeBarButtons": [["toImage"]],
    "toImageButtonOptions": {"format": "svg", "filename": "rewindlab"},
    "scrollZoom": False,
}
"""For `st.plotly_chart(config=CONFIG)`: on hover a single button, the figure as SVG."""

TEXT_SIZE = 13
SMALL_SIZE = 12


def finish(
    fig: go.Figure,
    *,
    caption: str,
    x: str | None = None,
    y: str | None = None,
    height: int = 360,
    legend: bool = True,
) -> go.Figure:
    """Apply the house layout in place and return the figure.

    `x` and `y` are axis titles with their units (None leaves what the figure set per subplot); `caption` is the one
    sentence that says what to notice, read back with `caption_of`; `height` in pixels.
    """
    own = fig.layout.to_plotly_json()
    axes = {"xaxis", "yaxis"} | {name for name in own if name[1:].startswith("axis")}  # those of subplots are numbered
    house = {
        "template": go.layout.Template(),  # whatever default another library registered must not leak in
        "meta": {"caption": caption},
        "height": height,
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"size": TEXT_SIZE},
        "margin": {"l": 4, "r": 24, "t": 12, "b": 4, "pad": 4},
        "dragmode": False,  # a finger that scrolls the page past a figure must not zoom it
        "hovermode": "closest",
        "showlegend": legend,
        "legend": {
            "orientation": "h",
            "x": 0,
            "xanchor": "left",
            "y": 1.0,
            "yanchor": "bottom",
            "bgcolor": "rgba(0,0,0,0)",
            "font": {"size": SMALL_SIZE},
            "itemwidth": 40,  # long enough to tell the dashes apart
        },
        **{name: _x_axis(x) if name[0] == "x" else _axis(y) for name in axes},
    }
    fig.layout = merge(own, house)  # in one piece, for the update methods are many times slower
    return fig


def _axis(title: str | None) -> dict[str, Any]:
    """The house style of an axis; None leaves the title's text as it is."""
    return {
        "gridcolor": GRID,
        "zeroline": False,
        "linecolor": GRID,
        "fixedrange": True,
        "automargin": True,
        "ticklabeloverflow": "allow",  # else the last label, 100 %, is dropped
        "tickfont": {"size": SMALL_SIZE},
        "title": {"font": {"size": TEXT_SIZE}, "standoff": 8} | ({} if title is None else {"text": title}),
    }


def _x_axis(title: str | None) -> dict[str, Any]:
    return {**_axis(title), "showgrid": True}


def caption_of(fig: go.Figure) -> str:
    """The sentence that says what to notice; also the text for readers who cannot see the figure."""
    meta = fig.layout.meta
    return str(meta["caption"]) if isinstance(meta, dict) and "caption" in meta else ""


def empty(message: str, *, x: str, y: str, height: int = 240) -> go.Figure:
    """A figure for "nothing yet": its axes, and in the middle what is missing."""
    fig = go.Figure()
    fig.update_xaxes(showticklabels=False, range=[0, 1])
    fig.update_yaxes(showticklabels=False, range=[0, 1])
    fig.add_annotation(text=message, x=0.5, y=0.5, xref="paper", yref="paper", showarrow=False)
    return finish(fig, caption=message, x=x, y=y, height=height, legend=False)


def note(fig: go.Figure, text: str, **place: Any) -> None:
    """A small label inside the figure, without an arrow, left-aligned at its position."""
    place = {"xanchor": "left", "yanchor": "bottom", "align": "left", **place}
    fig.add_annotation(text=text, showarrow=False, font={"size": SMALL_SIZE}, **place)


def mark_x(fig: go.Figure, at: float, text: str, *, log: bool = False, above: bool = False) -> None:
    """A thin vertical line at a value of x, its label left of it inside the plot or `above` a plot without legend."""
    fig.add_vline(x=at, line={"color": CONTEXT.color, "width": 1.5, "dash": "dashdot"})
    # Plotly wants the exponent as an annotation's position on a log axis, but the value for the line
    place = {"y": 1, "yanchor": "bottom", "xanchor": "center"} if above else {"y": 0.99, "yanchor": "top"}
    note(fig, text, **{"x": math.log10(at) if log else at, "xref": "x", "yref": "paper", "xanchor": "right", **place})


def diagonal(fig: go.Figure, low: float, name: str) -> None:
    """The line y = x from `low` to 1, curved where x is logarithmic: what even spread or chance would give."""
    even = [10 ** (math.log10(low) * (1 - step / 40)) for step in range(41)]
    line = {"color": CONTEXT.color, "width": 1, "dash": "dot"}
    fig.add_trace(go.Scatter(x=even, y=even, mode="lines", name=name, line=line, hoverinfo="skip"))


def color_bar(title: str, **more: Any) -> dict[str, Any]:
    """A thin horizontal colour bar above the plot, where it takes no width from a narrow screen."""
    return {
        "title": {"text": title, "side": "top", "font": {"size": SMALL_SIZE}},
        "orientation": "h",
        "thickness": 10,
        "len": 1.0,
        "x": 0,
        "xanchor": "left",
        "y": 1.0,
        "yanchor": "bottom",
        "outlinewidth": 0,
        "tickfont": {"size": SMALL_SIZE},
        **more,
    }


def short(name: str, length: int = 18) -> str:
    """A long layer name with its middle left out: both ends tell layers apart."""
    if len(name) <= length:
        return name
    tail = (length - 1) * 2 // 3
    return f"{name[: length - 1 - tail]}…{name[-tail:]}"


def short_all(names: list[str], length: int = 18) -> list[str]:
    """Shortened names that are still unique: where shortening makes two alike, both keep their full names."""
    cut = [short(name, length) for name in names]
    return [c if cut.count(c) == 1 else name for c, name in zip(cut, names, strict=True)]


def decades(fig: go.Figure, low: float, high: float, *, axis: str = "x", most: int = 6) -> None:
    """Ticks 10ⁿ at whole numbers of an axis that carries log10 values, at most `most` of them."""
    first, last = math.ceil(low), math.floor(high)
    step = max(1, math.ceil((last - first + 1) / most))
    values = list(range(first, last + 1, step))
    update = fig.update_xaxes if axis == "x" else fig.update_yaxes
    update(tickvals=values, ticktext=[power_of_ten(value) for value in values])


def percent_axis(fig: go.Figure, axis: str, low: float, high: float, *, most: int = 6, **where: int) -> None:
    """Ticks such as "20 %" on a linear axis that carries fractions from `low` to `high`, at most `most` of them."""
    raw = max(high - low, 1e-9) / max(1, most - 1)
    size = 10.0 ** math.floor(math.log10(raw))
    step = next(size * nice for nice in (1, 2, 2.5, 5, 10) if size * nice >= raw * 0.999)
    values = [step * k for k in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]
    # as many decimals as tell the steps apart
    digits = max(0, -math.floor(math.log10(100 * step) + 1e-9)) + (step / size == 2.5 and 100 * size <= 1)
    update = fig.update_xaxes if axis == "x" else fig.update_yaxes
    update(tickvals=values, ticktext=[f"{100 * value:.{digits}f}{GAP}%" for value in values], **where)


def percent_decades(low: float, high: float) -> tuple[list[float], list[str]]:
    """Tick values (fractions) and labels ("0.1 %") at the powers of ten between two fractions, for log axes."""
    exponents = range(math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9) + 1)
    values = [10.0**exponent for exponent in exponents]
    return values, [fraction(value) for value in values]


def row_height(rows: int, each: int = 24, frame: int = 90) -> int:
    """Pixels for a figure with one line per layer or region; never so low that the frame eats it."""
    return int(np.clip(rows * each + frame, 180, 1600))
