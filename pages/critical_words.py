"""What the page of the critical weights says in words: from its numbers, and about the scores themselves."""

from __future__ import annotations

import math

import pandas as pd
import streamlit as st

from core.figures import numbers as n
from core.importance import statistics
from pages.experiments import Current

PAPER = {
    "conv": (".941", ""),
    "linear": (".810", ".864"),
    "norm": (".678", ".734"),
    "attention+MLP": ("", ".907"),
    "all": ("≈ .83", "≈ .77"),
}
"""Pearson correlations of ResNet18 and of a small ViT, as Fang and Kim (ICLR 2026) report them."""


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
    """Ours beside the paper's, in the order of the network's types, "all" last; ‡ where Spearman is of a sample."""
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
                "Spearman": n.correlation(here.get("spearman"))
                + (" ‡" if here.get("weights", 0) > statistics.RANKED else ""),
                "number": n.weights(here.get("weights")),
            }
        )
    return pd.DataFrame(rows)


def changed(facts: dict[str, float], drawn_initial: bool = False) -> str:
    """Whether movement or size tells which weights of a layer are critical; of an initial draw that the network never
    started from nothing moved."""
    if math.isnan(facts["critical_moved"]):
        return "No weight of this layer is critical at this r."
    if math.isnan(facts["others_moved"]):
        every = "Every weight of this layer is critical"
        return f"{every}." if drawn_initial else f"{every}; training moved them by {n.plain(facts['critical_moved'])}."
    moved = (
        f"Training moved the critical weights of this layer by **{n.plain(facts['critical_moved'])}** on average, the "
        f"others by **{n.plain(facts['others_moved'])}**."
    )
    if drawn_initial:
        moved = "How far training moved these weights is not known: the initial values here are drawn at random."
    return (
        f"{moved} Picking equally many weights by size alone would find "
        f"**{n.fraction(facts['among_largest'])}** of the critical ones: the rest are critical for where they sit, not "
        "for how large they are."
    )


def details(now: Current) -> None:
    """What the scores are, exactly."""
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
    st.latex(r"L_\mathrm{PVE} = (1-\lambda)\, \mathrm{CE}\big(f_\theta(x_\mathrm{members}),\, y\big) + \lambda\, " + kl)
    st.markdown(
        f"Here λ = {now.config.importance.lam:g}, θ₀ are the initial weights. **Critical** are the top r of all "
        "weights by vulnerability, one ranking for the whole network. Scope, exclusions and shares of single "
        "layers are chosen on the Rewind page and do not change this one.\n\n"
        "Source: Fang and Kim, *Critical weights rewinding and finetuning*, ICLR 2026 (arXiv 2603.13186). λ, the "
        "number of steps and the direction of the KL term are not settled by the paper: they are settings here."
    )


def per_layer(critical: pd.DataFrame) -> None:
    """The numbers behind the figures."""
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
