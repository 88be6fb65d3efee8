"""Critical weights: where in the network the weights sit that give members away, and whether it learns with them."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path

import pandas as pd
import streamlit as st
from plotly.graph_objects import Figure
from safetensors.numpy import load_file

from core.experiment import selection
from core.figures import (
    concentration,
    critical_share,
    score_density,
    score_histogram,
)
from core.figures import numbers as n
from core.importance import ScoreIndex, statistics
from core.importance.by_region import critical_by_region
from core.rewinding import CWRF
from pages import experiments, frame, scope
from pages.critical_layer import one_layer
from pages.critical_words import correlation_table, details, in_words, notice, per_layer
from pages.experiments import Current
from pages.once import once

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


def distributions(now: Current, critical: pd.DataFrame) -> None:
    """Main figure: both scores, layer by layer; of a deep network one region at a time."""
    cuts = thresholds(now, critical)
    names = {name: name for name in critical["name"]}
    if len(names) > DEEP:
        regions = list(dict.fromkeys(critical["region"]))
        most = critical.groupby("region")["rewound"].sum().idxmax()
        region = st.selectbox("Region", regions, index=regions.index(most), width=320, **frame.kept(now, "region"))
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


def where(now: Current, critical: pd.DataFrame, r: float) -> None:
    """Heatmap over several r, the chosen one among them, and how concentrated the scores are."""
    left, right = st.columns(2, gap="large")
    key = (now.folders["scores"].name, r)
    with left:
        st.markdown("**Where the critical weights sit**")
        deep = len(critical) > DEEP
        frame.draw(once(("heatmap", *key), partial(heatmap, now, critical, r)), "heatmap", caption=not deep)
        if deep:
            st.caption("Bright regions hold more than their part.")
    with right:
        st.markdown("**How few weights hold how much**")
        frame.draw(once(("concentration", *key), partial(curves, now, r)), "concentration")
    if deep:
        frame.folded(f"All {len(critical)} layers", partial(every_layer, now, critical, r))


def every_layer(now: Current, critical: pd.DataFrame, r: float) -> None:
    """The heatmap of a deep network, layer by layer."""
    make = partial(heatmap, now, critical, r, by_layer=True)
    frame.draw(once(("heatmap of layers", now.folders["scores"].name, r), make), "heatmap-layers")


def heatmap(now: Current, critical: pd.DataFrame, r: float, by_layer: bool = False) -> Figure:
    """Shares of the stored fractions and of r, by layer or, in a deep network unless `by_layer`, by region."""
    layers = now.table("scores", "layers")[["name", "type", "count"]].rename(columns={"name": "layer"})
    shares = now.table("scores", "shares_vulnerability")[["layer", "r", "share"]].merge(layers, on="layer")
    if r not in set(shares["r"]):
        here = critical.rename(columns={"name": "layer"})[["layer", "share", "type", "count"]].assign(r=r)
        shares = pd.concat([shares, here], ignore_index=True)
    if by_layer or len(layers) <= DEEP:
        return critical_share(shares)
    regions = critical_by_region(shares, critical).rename(columns={"region": "layer"}).assign(type="region")
    return critical_share(regions).update_yaxes(title_text="region, in forward order")


def curves(now: Current, r: float) -> Figure:
    """Both concentration curves with r on them."""
    scores = ("vulnerability", "learnability")
    return concentration(pd.concat([now.table("scores", f"concentration_{s}").assign(score=s) for s in scores]), r)


def entanglement(now: Current) -> None:
    """Do the same weights learn and leak? The density, and the correlations by type beside the paper's."""
    table = now.table("scores", "correlations")
    pearson = table.set_index("type")["pearson"]
    left, right = st.columns(2, gap="large")
    with left:
        file = now.folders["scores"] / "density.safetensors"
        total = int(table.set_index("type").at["all", "weights"])
        make = partial(cloud, file, float(pearson["all"]), total)
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
        + (f" ‡ Of a sample of {n.weights(statistics.RANKED)} weights." if total > statistics.RANKED else "")
    )


def cloud(file: Path, pearson: float, total: int) -> Figure:
    """The 2-D density of the scores of all weights, or of a sample."""
    sample = statistics.RANKED if total > statistics.RANKED else None
    return score_density(load_file(file), pearson, sample=sample)


frame.header(
    "Critical weights",
    "Every weight has two scores: how much the network learns with it, and how much it gives members away. The top r "
    "by the second are the critical weights: the ones to rewind.",
)
now = frame.need(experiments.current(), "scores")
frame.drawn_initial(now)
r = scope.fraction_slider(now, "critical")
critical = selection(now.folders["scores"], CWRF(fraction=r))
numbers(now, critical, r)
notice(critical, r)
frame.parts(
    "weights",
    {
        "Layer by layer": partial(distributions, now, critical),
        "Where they sit": partial(where, now, critical, r),
        "Learning and leaking": partial(entanglement, now),
        "One layer": partial(one_layer, now, critical),
    },
)
frame.folded("What learnability and vulnerability are", partial(details, now))
frame.folded("Numbers per layer", partial(per_layer, critical))
st.page_link("rewind.py", label=f"Rewind these {n.fraction(r)}", icon=":material/arrow_forward:")
st.page_link("layer_risk.py", label="Which regions of the network carry the risk", icon=":material/arrow_forward:")
st.caption(experiments.facts(now))
