"""Imports ahead of the first visits, which would otherwise spend most of their time on them."""

from __future__ import annotations

import ast
import importlib
from functools import cache
from pathlib import Path
from threading import Timer

ON_USE = ("pyarrow.dataset", "PIL.PngImagePlugin", "scipy.stats")
"""What the engine, pandas and Streamlit import only when it is first used."""


def warm() -> None:
    """Import what the pages need and make a figure. It takes seconds: call it in a thread of its own."""
    files = sorted(Path(__file__).parent.glob("*.py"), key=lambda file: file.name != "overview.py")  # seen first
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module:
                importlib.import_module(node.module)
                if node.module == "pages":  # of a package of modules, those that are named
                    for part in node.names:
                        importlib.import_module(f"pages.{part.name}")
    _figure()
    for name in ON_USE:
        importlib.import_module(name)


@cache
def engine() -> None:
    """Import the engine, torch with it, a second from now in a thread of its own: somebody may be about to ask for it.

    That costs seconds of one core and torch's memory, once per server.
    """
    timer = Timer(1.0, importlib.import_module, ("core.stages",))
    timer.daemon = True
    timer.start()


def _figure() -> None:
    """Plotly reads its modules and its checks of properties when one is first used; this uses the common ones."""
    import pandas as pd
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    from core.figures.layout import color_bar, finish, mark_x

    figure = finish(make_subplots(), caption="", x="", y="")
    mark_x(figure, 0.5, "")
    figure.add_trace(go.Scatter(x=pd.Series([0.0]), y=[0.0], marker={"size": 1}, line={"width": 1}))
    figure.add_trace(go.Bar(x=[0.0], marker={"pattern": {"shape": ""}}))
    figure.add_trace(go.Heatmap(z=[[0.0]], colorbar=color_bar("")))
    figure.to_json()
