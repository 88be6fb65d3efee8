"""Critical weights: where in the network the weights sit that give members away, and whether it learns with them."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import streamlit as st
from plotly.graph_objects import Figure
from safetensors.numpy import load_file

from core.experiment import selection
from core.figures import (
    concentration,
    critical_share,
    initial_vs_trained,
    score_density,
    score_histogram,
    weight_image,
)
from core.figures import numbers as n
from core.importance import ScoreIndex
from core.importance.by_region import critical_by_region
from core.importance.layer_detail import POINTS, Layer, read_layer
from core.rewinding import CWRF, masks
from pages import frame, scope
from pages.frame import Current

PAPER = {
    "conv": (".941", ""),
    "linear": (".810", ".864"),
    "norm": (".678", ".734"),
    "attention+MLP": ("", ".907"),
    "all": ("≈ .83", "≈ .77"),
}
"""Pearson correlations of ResNet18 and of a small ViT, as Fang and Kim (ICLR 2026) report them."""


DEEP = 20
"""With more layers than this, figures by layer would be longer than a screen: they go by region."""

WIDTHS = {"Pearson": 75, "ResNet18 †": 90, "ViT †": 70, "Spearman": 85, "number": 80}
"""Pixels: the first three are seen at 390 px without scrolling."""

CAPTIONS = {
    "vulnerability": "How much a weight widens the gap between members and everyone else. The coloured tails right of "
    "the line are critical; heights are logarithmic, each layer on its own scale.",
    "learnability": "How much the network learns with a weight. The line marks equally many weights, the top r of this "
    "score: where the same layers reach beyond it, learning and leaking sit together.",
}


@st.cache_resource(max_entries=100, show_spinner=False)
def once(key: tuple, _make: Callable[[], Figure]) -> Figure:
    """A figure made once for all sessions: most of this page's time goes into making figures."""
    return _make()


def thresholds(now: Current, critical: pd.DataFrame) -> dict[str, float | None]:
    """log10 of the lowest score among the top r, for each score; None where r takes no weight at all."""
    number = int(critical["rewound"].sum())
    learned, _ = ScoreIndex.open(now.folders["scores"] / "learnability.npy").top(number)
    cuts = {"vulnerability": float(critical["threshold"].min()), "learnability": learned}
    return {
        score: None if math.isinf(cut) else max(math.log10(cut), lowest(now, score)) if cut > 0 else lowest(now, score)
        for score, cut in cuts.items()
    }


def lowest(now: Current, score: str) -> float:
    """Left end of the histograms; weights without any score are counted there."""
    return float(now.table("scores", f"histograms_{score}")["bin_low"].iloc[0])


def held(now: Current, score: str, r: float) -> float:
    """Share of the total score in the top r, at the nearest point of the curve (as the figure marks it)."""
    curve = now.table("scores", f"concentration_{score}")
    return float(curve["share"].iloc[(curve["fraction"].map(math.log) - math.log(r)).abs().argmin()])


def numbers(now: Current, critical: pd.DataFrame, r: float) -> None:
    """The three numbers that matter."""
    total, number = int(critical["count"].sum()), int(critical["rewound"].sum())
    pearson = now.table("scores", "correlations").set_index("type").at["all", "pearson"]
    first, second, third = st.columns(3)
    first.metric(f"Critical weights, of {n.weights(total)}", n.count(number))
    second.metric("Share of vulnerability they hold", n.fraction(held(now, "vulnerability", r)))
    third.metric("Pearson correlation of the scores", n.correlation(pearson))
    if number == 0:
        st.info(f"{n.fraction(r)} of {n.count(total)} weights is less than one weight: nothing is critical at this r.")


def distributions(now: Current, cuts: dict[str, float | None], critical: pd.DataFrame) -> None:
    """Main figure: both scores, layer by layer; of a deep network one region at a time."""
    st.subheader("Scores, layer by layer", anchor=False)
    names = {name: name for name in critical["name"]}
    if len(names) > DEEP:
        regions = list(dict.fromkeys(critical["region"]))
        most = critical.groupby("region")["rewound"].sum().idxmax()
        region = st.selectbox("Region", regions, index=regions.index(most), width=320)
        names = without_prefix(list(critical.loc[critical["region"] == region, "name"]))
    for column, score in zip(st.columns(2, gap="large"), ("vulnerability", "learnability"), strict=True):
        with column:
            st.markdown(f"**{score.capitalize()}**")
            key = (now.folders["scores"].name, score, cuts[score], next(iter(names)))
            frame.draw(once(key, partial(ridges, now, names, score, cuts[score])), f"histogram-{score}", caption=False)
            st.caption(CAPTIONS[score])


def ridges(now: Current, names: dict[str, str], score: str, cut: float | None) -> Figure:
    """The distributions of these layers under these names."""
    table = now.table("scores", f"histograms_{score}")
    return score_histogram(table[table["layer"].isin(names)].replace({"layer": names}), cut, score=score)


def without_prefix(names: list[str]) -> dict[str, str]:
    """Layer → its name without the dotted path that all of these layers share."""
    parts = [name.split(".") for name in names]
    shared = 0
    while all(len(p) > shared + 1 and p[shared] == parts[0][shared] for p in parts):
        shared += 1
    return {name: ".".join(p[shared:]) for name, p in zip(names, parts, strict=True)}


def notice(critical: pd.DataFrame, r: float) -> None:
    """What the selection at this r says, from its own counts."""
    if not critical["rewound"].sum():
        return
    most, densest = critical.loc[critical["rewound"].idxmax()], critical.loc[critical["share"].idxmax()]
    none = int((critical["rewound"] == 0).sum())
    told = (
        f"**What to notice.** At r = {n.fraction(r)} the largest group of critical weights, "
        f"{n.count(int(most['rewound']))}, lies in `{most['name']}` ({most['region']}). "
    )
    if densest["name"] != most["name"]:
        told += (
            f"Relative to its size `{densest['name']}` is hit hardest: {n.fraction(densest['share'])} of its "
            f"{n.count(int(densest['count']))} weights. "
        )
    if none:
        told += f"{none} of {len(critical)} layers hold no critical weight at all. "
    st.markdown(told + "The ranking compares all weights of the network with each other.")


def where(now: Current, critical: pd.DataFrame, r: float) -> None:
    """Heatmap over several r, the chosen one among them, and how concentrated the scores are."""
    left, right = st.columns(2, gap="large")
    key = (now.folders["scores"].name, r)
    with left:
        st.subheader("Where the critical weights sit", anchor=False)
        deep = len(critical) > DEEP
        frame.draw(once(("heatmap", *key), partial(heatmap, now, critical, r)), "heatmap", caption=not deep)
        if deep:
            st.caption(f"Bright regions hold more than their part. The {len(critical)} layers are in the table below.")
    with right:
        st.subheader("How few weights hold how much", anchor=False)
        frame.draw(once(("concentration", *key), partial(curves, now, r)), "concentration")


def heatmap(now: Current, critical: pd.DataFrame, r: float) -> Figure:
    """Shares of the stored fractions and of r, by layer or, in a deep network, by region."""
    layers = now.table("scores", "layers")[["name", "type", "count"]].rename(columns={"name": "layer"})
    shares = now.table("scores", "shares_vulnerability")[["layer", "r", "share"]].merge(layers, on="layer")
    if r not in set(shares["r"]):
        here = critical.rename(columns={"name": "layer"})[["layer", "share", "type", "count"]].assign(r=r)
        shares = pd.concat([shares, here], ignore_index=True)
    if len(layers) <= DEEP:
        return critical_share(shares)
    regions = critical_by_region(shares, critical).rename(columns={"region": "layer"}).assign(type="region")
    return critical_share(regions).update_yaxes(title_text="region, in forward order")


def curves(now: Current, r: float) -> Figure:
    """Both concentration curves with r on them."""
    scores = ("vulnerability", "learnability")
    return concentration(pd.concat([now.table("scores", f"concentration_{s}").assign(score=s) for s in scores]), r)


def entanglement(now: Current) -> None:
    """Do the same weights learn and leak? The density, and the correlations by type beside the paper's."""
    st.subheader("Do the same weights learn and leak?", anchor=False)
    table = now.table("scores", "correlations")
    pearson = table.set_index("type")["pearson"]
    left, right = st.columns(2, gap="large")
    with left:
        file = now.folders["scores"] / "density.safetensors"
        make = partial(cloud, file, float(pearson["all"]))
        frame.draw(once(("density", now.folders["scores"].name), make), "density")
    with right:
        st.markdown(in_words(pearson))
    st.dataframe(
        correlation_table(table),
        hide_index=True,
        column_config={"weights": st.column_config.TextColumn(pinned=True, width=115)}
        | {name: st.column_config.TextColumn(width=width) for name, width in WIDTHS.items()},
        alt="Correlations by weight type, here and in the paper",
    )
    st.caption(
        f"Here: {now.config.data.kind}, {now.config.model.kind}, {n.count(int(table['weights'].iloc[-1]))} weights of "
        f"one training run (seed {now.config.seed}); the weights of one network are no independent sample, so there is "
        "no interval. † Pearson correlations as printed in the paper (Fang and Kim, ICLR 2026), on CIFAR-10: **other "
        "models and other data**, so compare the pattern, not the digits."
    )


def in_words(pearson: pd.Series) -> str:
    """One honest sentence about this experiment's correlation."""
    value, types = pearson["all"], pearson.drop("all").dropna()
    if not math.isfinite(value):
        return "One of the scores does not vary, so nothing can be said about entanglement here."
    told = f"Over all weights the two scores correlate with **r = {n.correlation(value)}**: "
    if value >= 0.7:
        told += "mostly the weights the network learns with are the ones that leak, so they cannot simply be removed."
    elif value >= 0.4:
        told += "learning and leaking share many weights, but far from all."
    else:
        told += "here learning and leaking use largely different weights, unlike in the paper."
    if len(types) > 1:
        told += f" Least so in {types.idxmin()} weights ({n.correlation(types.min())})."
    return (
        told + " Part of it is built in: both scores multiply the gradient by the weight, and both runs start at the "
        "same weights and learn the same members."
    )


def correlation_table(table: pd.DataFrame) -> pd.DataFrame:
    """Ours beside the paper's, in the order of the network's types, "all" last."""
    ours = table.set_index("type")
    rows = []
    for kind in [*dict.fromkeys([*ours.index.drop("all"), *list(PAPER)[:-1]]), "all"]:
        theirs = [text or n.MISSING for text in PAPER.get(kind, ("", ""))]
        here = ours.loc[kind] if kind in ours.index else {}
        rows.append(
            {
                "weights": kind,
                "Pearson": n.correlation(here.get("pearson")),
                "ResNet18 †": theirs[0],
                "ViT †": theirs[1],
                "Spearman": n.correlation(here.get("spearman")),
                "number": n.weights(here.get("weights")),
            }
        )
    return pd.DataFrame(rows)


@st.fragment
def one_layer(now: Current, critical: pd.DataFrame) -> None:
    """The weights of one layer as an image, and what training did to them."""
    st.subheader("One layer in detail", anchor=False)
    if not (now.has(now.trained) and now.has("vulnerability")):
        st.info("The weights of this experiment are no longer in the store; its statistics above still are.")
        return
    names = list(critical["name"])
    about = critical.set_index("name")
    name = st.selectbox(
        "Layer, in forward order",
        names,
        index=names.index(about["rewound"].idxmax()),
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
        st.markdown(changed(layer.facts(critical_here)))
        st.caption(
            "Rewinding moves each critical weight straight up or down to the dotted line, where it started. At most "
            f"{n.count(POINTS)} weights are drawn, critical ones first."
        )


def changes(layer: Layer, critical: np.ndarray) -> Figure:
    """Initial against trained values."""
    return initial_vs_trained(layer.sample(critical))


def changed(facts: dict[str, float]) -> str:
    """Whether movement or size tells which weights of a layer are critical."""
    if math.isnan(facts["critical_moved"]):
        return "No weight of this layer is critical at this r."
    if math.isnan(facts["others_moved"]):
        return f"Every weight of this layer is critical; training moved them by {n.plain(facts['critical_moved'])}."
    return (
        f"Training moved the critical weights of this layer by **{n.plain(facts['critical_moved'])}** on average, the "
        f"others by **{n.plain(facts['others_moved'])}**. Picking equally many weights by size alone would find "
        f"**{n.fraction(facts['among_largest'])}** of the critical ones: the rest are critical for where they sit, not "
        "for how large they are."
    )


@st.cache_resource(max_entries=8, show_spinner=False)
def open_layer(name: str, trained: str, vulnerability: str) -> Layer:
    """One layer's arrays, shared between sessions and never written to."""
    return read_layer(name, trained=Path(trained), vulnerability=Path(vulnerability))


def cloud(file: Path, pearson: float) -> Figure:
    """The 2-D density of the scores."""
    return score_density(load_file(file), pearson)


def details(now: Current, critical: pd.DataFrame) -> None:
    """What the scores are, exactly, and the numbers behind the figures."""
    with st.expander("What learnability and vulnerability are"):
        st.markdown(
            "**Learnability** (Taylor first order, TFO). Train the network on its members with cross-entropy and add "
            "up, over all steps, how much the loss would change if a weight were set to zero, to first order: gradient "
            "times weight. A weight with a high sum is one the network learns with."
        )
        st.latex(
            r"\mathrm{TFO}_i = \sum_{t=1}^{T} \left| \frac{\partial L_t}{\partial w_i}\, w_i \right|, \qquad L = "
            r"\mathrm{CE}\big(f_\theta(x_\mathrm{members}),\, y\big)"
        )
        st.markdown(
            "**Vulnerability** (privacy vulnerability estimation, PVE). The same sum, but for a network that learns "
            "its members and at the same time has to answer on *reference* records, which are no members and are never "
            "used by the attacks here, as it did before training. What such a network needs is what tells members "
            "from everyone else: a high sum marks a weight that widens that gap."
        )
        kl = (
            r"\mathrm{KL}\big(f_{\theta_0}(x_\mathrm{ref}) \,\|\, f_\theta(x_\mathrm{ref})\big)"
            if now.config.importance.kl == "initial||trained"
            else r"\mathrm{KL}\big(f_\theta(x_\mathrm{ref}) \,\|\, f_{\theta_0}(x_\mathrm{ref})\big)"
        )
        st.latex(
            r"L_\mathrm{PVE} = (1-\lambda)\, \mathrm{CE}\big(f_\theta(x_\mathrm{members}),\, y\big) + \lambda\, " + kl
        )
        st.markdown(
            f"Here λ = {now.config.importance.lam:g}, θ₀ are the initial weights. **Critical** are the top r of all "
            "weights by vulnerability, one ranking for the whole network. Scope, exclusions and shares of single "
            "layers are chosen on the Rewind page and do not change this one.\n\n"
            "Source: Fang and Kim, *Critical weights rewinding and finetuning*, ICLR 2026 (arXiv 2603.13186). λ, the "
            "number of steps and the direction of the KL term are not settled by the paper: they are settings here."
        )
    with st.expander("Numbers per layer"):
        shown = critical.assign(
            rewound=critical["rewound"],
            share=critical["share"].map(n.fraction),
            learnability_share=critical["learnability_share"].map(n.fraction),
            vulnerability_share=critical["vulnerability_share"].map(n.fraction),
        )
        st.dataframe(
            shown[
                ["name", "region", "type", "count", "rewound", "share", "vulnerability_share", "learnability_share"]
            ].rename(
                columns={
                    "name": "layer",
                    "count": "weights",
                    "rewound": "critical",
                    "share": "critical, of the layer",
                    "vulnerability_share": "of all vulnerability",
                    "learnability_share": "of all learnability",
                }
            ),
            hide_index=True,
        )
        cut = float(critical["threshold"].min())
        if math.isfinite(cut):
            st.caption(f"Lowest vulnerability among the critical weights: {n.plain(cut)}.")


frame.header(
    "Critical weights",
    "Every weight has two scores: how much the network learns with it, and how much it gives members away. The top r "
    "by the second are the critical weights: the ones to rewind.",
)
now = frame.need(frame.current(), "scores")
r = scope.fraction_slider(now, "critical")
critical = selection(now.folders["scores"], CWRF(fraction=r))
numbers(now, critical, r)
distributions(now, thresholds(now, critical), critical)
notice(critical, r)
where(now, critical, r)
entanglement(now)
one_layer(now, critical)
details(now, critical)
st.page_link("rewind.py", label=f"Rewind these {n.fraction(r)}", icon=":material/arrow_forward:")
st.page_link("layer_risk.py", label="Which regions of the network carry the risk", icon=":material/arrow_forward:")
st.caption(frame.facts(now))
