"""What holds for each figure: axes named, a caption, both themes, small enough to send, and an empty state."""

import re

import numpy as np
import pandas as pd
import pytest

from core import figures

RNG = np.random.default_rng(0)
LAYERS = ["stem.conv", "block1.conv", "head.linear"]
EDGES = np.linspace(-6, 0, 13)

ROC = pd.DataFrame(
    [
        {"fpr": x, "tpr": x**p, "attack": attack, "when": when}
        for attack, when, p in [("Loss", "before", 0.5), ("Loss", "after", 0.8), ("LiRA", "before", 0.3)]
        for x in np.linspace(0, 1, 50)
    ]
)
CHANGE = pd.DataFrame(
    [
        ("Test accuracy", "before", 0.838, 0.80, 0.87, "%"),
        ("Test accuracy", "after", 0.832, 0.79, 0.86, "%"),
        ("Attack AUC", "before", 0.64, 0.60, 0.68, "AUC"),
        ("Attack AUC", "after", 0.572, np.nan, np.nan, "AUC"),
    ],
    columns=["label", "when", "value", "low", "high", "unit"],
)
LOG = pd.DataFrame(
    [
        {"epoch": e, "split": s, "loss": 2 / e, "accuracy": 1 - 1 / (e + 1)}
        for e in range(1, 6)
        for s in ("members", "non-members")
    ]
)
SCORES = pd.concat(
    pd.DataFrame({"layer": layer, "bin_low": EDGES[:-1], "bin_high": EDGES[1:], "count": RNG.integers(0, 99, 12)})
    for layer in LAYERS
)
MEMBERS = pd.DataFrame(
    {"score_low": EDGES[:-1], "score_high": EDGES[1:], "members": range(12), "non_members": range(12, 0, -1)}
)
SHARES = pd.DataFrame(
    [
        {"layer": layer, "type": "conv", "count": 1000, "r": r, "share": s * r}
        for layer, s in zip(LAYERS, (0, 1, 2), strict=True)
        for r in (0.001, 0.01, 0.1)
    ]
)
GRID = {"x_edges": EDGES, "y_edges": EDGES[:-2], "counts": RNG.integers(0, 50, (12, 10))}
CURVE = pd.DataFrame(
    [
        {"fraction": f, "share": f**0.3, "score": score}
        for score in ("vulnerability", "learnability")
        for f in np.logspace(-4, 0, 30)
    ]
)
REWOUND = pd.DataFrame(
    {"layer": LAYERS, "region": ["stem", "block1", "head"], "type": "conv", "count": [432, 18432, 640]}
).assign(rewound=[0, 900, 64])
MATRIX = RNG.normal(size=(20, 30))
SAMPLE = pd.DataFrame({"initial": RNG.normal(size=50), "trained": RNG.normal(size=50), "critical": [True, False] * 25})
RISK = pd.DataFrame(
    [
        {"region": region, "auc": 0.6, "low": 0.55, "high": 0.65, "when": when}
        for region in ("stem", "head")
        for when in ("before", "after")
    ]
)
REGIONS = pd.DataFrame(
    {"region": ["stem", "head"], "vulnerability_share": [0.3, 0.7], "learnability_share": [0.4, 0.6]}
)

DRAWN = {
    "roc": lambda: figures.roc_figure(ROC, False, 500),
    "roc log": lambda: figures.roc_figure(ROC, True, 500),
    "change": lambda: figures.before_after(CHANGE),
    "change compact": lambda: figures.before_after(CHANGE[2:], compact=True),
    "loss": lambda: figures.curves(LOG, "loss"),
    "accuracy": lambda: figures.curves(LOG, "accuracy"),
    "scores": lambda: figures.score_histogram(SCORES, -2.3),
    "one layer": lambda: figures.score_histogram(SCORES, None, layer="head.linear", score="learnability"),
    "members": lambda: figures.member_histogram(MEMBERS),
    "heatmap": lambda: figures.critical_share(SHARES),
    "density": lambda: figures.score_density(GRID, 0.83),
    "concentration": lambda: figures.concentration(CURVE, 0.05),
    "counts": lambda: figures.critical_counts(REWOUND),
    "image": lambda: figures.weight_image(MATRIX, MATRIX > 1),
    "scatter": lambda: figures.initial_vs_trained(SAMPLE),
    "risk": lambda: figures.risk_by_region(RISK),
    "shares": lambda: figures.shares_by_region(REGIONS.assign(weight_share=[0.1, 0.9])),
}
EMPTY = {
    "roc": lambda: figures.roc_figure(ROC[:0], True, 500),
    "change": lambda: figures.before_after(CHANGE[:0]),
    "loss": lambda: figures.curves(LOG[:0], "loss"),
    "scores": lambda: figures.score_histogram(SCORES[:0], None),
    "members": lambda: figures.member_histogram(MEMBERS[:0]),
    "heatmap": lambda: figures.critical_share(SHARES[:0]),
    "density": lambda: figures.score_density({**GRID, "counts": np.zeros((12, 10))}),
    "concentration": lambda: figures.concentration(CURVE[:0]),
    "counts": lambda: figures.critical_counts(REWOUND[:0]),
    "image": lambda: figures.weight_image(np.empty((0, 3)), np.empty((0, 3), bool)),
    "scatter": lambda: figures.initial_vs_trained(SAMPLE[:0]),
    "risk": lambda: figures.risk_by_region(RISK[:0]),
    "shares": lambda: figures.shares_by_region(REGIONS[:0]),
}


@pytest.mark.parametrize("name", DRAWN)
def test_axes_are_named_and_the_caption_is_one_sentence(name: str) -> None:
    fig = DRAWN[name]()
    titles = [axis.title.text for axis in fig.select_xaxes()]
    if "change" not in name:  # its rows are labelled one by one
        titles += [axis.title.text for axis in fig.select_yaxes()]
    assert all(titles)
    caption = figures.caption_of(fig)
    assert caption.endswith(".") and 20 < len(caption) < 300
    assert len(fig.data) > 0


@pytest.mark.parametrize("name", DRAWN)
def test_both_themes_show_through(name: str) -> None:
    fig = DRAWN[name]()
    assert fig.layout.paper_bgcolor == fig.layout.plot_bgcolor == "rgba(0,0,0,0)"
    assert fig.layout.font.color is None
    assert not fig.layout.template.layout.to_plotly_json()
    # Streamlit's theme replaces these placeholders wherever they stand, the darkest stop of Inferno among them
    assert not re.search(r"#0000(0[1-9]|[1-3]\d|40)", fig.to_json())


@pytest.mark.parametrize("name", DRAWN)
def test_small_enough_to_send_and_no_webgl(name: str) -> None:
    fig = DRAWN[name]()
    assert len(fig.to_json()) < 200_000
    assert not any(trace.type.endswith("gl") for trace in fig.data)


@pytest.mark.parametrize("name", EMPTY)
def test_an_empty_table_says_what_is_missing(name: str) -> None:
    fig = EMPTY[name]()
    assert len(fig.data) == 0
    assert fig.layout.annotations[0].text == figures.caption_of(fig)
    assert figures.caption_of(fig)


def test_no_torch_and_no_streamlit_on_the_way() -> None:
    import subprocess
    import sys

    found = "import core.figures, sys; print([m for m in ('torch', 'streamlit') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", found], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
