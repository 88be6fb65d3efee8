"""One layer in detail: a part of the page of the critical weights."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import streamlit as st
from plotly.graph_objects import Figure

from core.figures import initial_vs_trained, weight_image
from core.figures import numbers as n
from core.importance.layer_detail import POINTS, Layer, read_layer
from core.rewinding import masks
from pages import frame
from pages.critical_words import changed
from pages.experiments import Current
from pages.once import once


def one_layer(now: Current, critical: pd.DataFrame) -> None:
    """The weights of one layer as an image, and what training did to them; at first the layer with most critical
    weights."""
    if not (now.has(now.trained) and now.has("vulnerability")):
        st.info("The weights of this experiment are no longer in the store; its statistics still are.")
        return
    names = list(critical["name"])
    about = critical.set_index("name")
    name = st.selectbox(
        "Layer, in forward order",
        names,
        index=names.index(about["rewound"].idxmax()),
        **frame.kept(now, "layer"),
        format_func=lambda layer: (
            f"{layer} · {about.at[layer, 'region']}, {about.at[layer, 'type']} · "
            f"{n.count(int(about.at[layer, 'rewound']), int(about.at[layer, 'count']))} critical"
        ),
    )
    layer = open_layer(name, str(now.folders[now.trained]), str(now.folders["vulnerability"]))
    critical_here = masks(scores={name: layer.vulnerability}, counts={name: int(about.at[name, "rewound"])})[name]
    key = (now.folders[now.trained].name, now.folders["scores"].name, name, int(about.at[name, "rewound"]))
    frame.draw(once(("image", *key), lambda: weight_image(layer.trained, critical_here)), "weight-image")
    left, right = st.columns(2, gap="large", vertical_alignment="center")
    with left:
        make = partial(changes, layer, critical_here)
        frame.draw(once(("changes", *key), make), "initial-trained", caption=False)
    with right:
        st.markdown(changed(layer.facts(critical_here), now.drawn_initial))
        line = "its value in the random draw" if now.drawn_initial else "where it started"
        st.caption(
            f"Rewinding moves each critical weight straight up or down to the dotted line, {line}. A "
            f"sample of at most {n.count(POINTS)} weights is drawn."
        )


def changes(layer: Layer, critical: np.ndarray) -> Figure:
    """Initial against trained values."""
    return initial_vs_trained(layer.sample(critical))


@st.cache_resource(max_entries=8, show_spinner=False)
def open_layer(name: str, trained: str, vulnerability: str) -> Layer:
    """One layer's arrays, shared between sessions and never written to."""
    return read_layer(name, trained=Path(trained), vulnerability=Path(vulnerability))
