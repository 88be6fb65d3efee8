"""Layer risk: how much each region of the network gives away, and which of them to rewind."""

from __future__ import annotations

from functools import partial

import pandas as pd
import streamlit as st

from core.config import BadInput
from core.experiment import selection
from core.figures import numbers as n
from core.figures import risk_by_region, shares_by_region
from core.importance.by_region import by_region, overlapping
from pages import experiments, frame, scope
from pages.experiments import Current

RECORDS = 1000
"""Members, and as many non-members, that the button below asks for."""


def measured(now: Current) -> pd.DataFrame:
    """The risk tables of the models that have one, with a column when."""
    models = [when for when in ("before", "after") if now.has(when)]
    return pd.concat([now.table(when, "risk").assign(when=when) for when in models], ignore_index=True)


def unmeasured(now: Current) -> None:
    """This experiment left the gradients out: why, and how to get them."""
    st.info(
        "The risk of single regions was not measured: this experiment's audit computes no per-record gradients "
        f"(`audit.gradient_records` is {now.config.audit.gradient_records}). One backward pass per record is what "
        "they cost; everything else is taken from the store."
    )
    if st.button(
        f"Measure it on up to {n.count(RECORDS)} members and as many non-members", icon=":material/play_arrow:"
    ):
        audit = now.config.audit.model_copy(update={"gradient_records": RECORDS})
        if experiments.start(now.config.model_copy(update={"audit": audit})):
            st.rerun()
    st.caption(f"On the command line: `--audit.gradient_records {RECORDS}`.")


def risk(now: Current, table: pd.DataFrame) -> None:
    """Main figure: the AUC of each region."""
    st.subheader("White-box risk of each region", anchor=False)
    if table.empty:
        unmeasured(now)
        return
    frame.draw(risk_by_region(table), "risk", caption=False)
    row = table.iloc[0]
    st.caption(
        f"{n.count(int(row['members']))} members and {n.count(int(row['non_members']))} non-members, 95 % intervals "
        "(DeLong). The attack reads the weights and needs no reference models, so an adaptive attacker has nothing to "
        "add to it. Where a whisker crosses the dotted line, the region cannot be told from chance."
    )


def in_words(before: pd.DataFrame) -> str:
    """Whether the regions differ at all, in the order of what matters."""
    top = before.loc[before["auc"].idxmax()]
    same = overlapping(before)
    told = f"The AUC is highest in {top['region']}, {n.auc(top['auc'], top['low'], top['high'])}"
    if len(same) == len(before) - 1:
        told += (
            f", but the intervals of all {len(before)} regions overlap: **these records do not say which region gives "
            "most away.** Small differences are to be expected, for the gradient of every region carries the same "
            "error of the output, backwards; it is short everywhere for a record that is predicted well."
        )
    elif same:
        told += f"; the intervals of {', '.join(same)} overlap with it, so the order among these is open."
    else:
        told += ", and no other region's interval reaches it."
    if (before["low"] <= 0.5).all():
        told += " No region can be told from chance."
    return told


def shares(table: pd.DataFrame) -> None:
    """How much of both scores, and of the weights, each region holds."""
    st.subheader("What each region holds", anchor=False)
    frame.draw(shares_by_region(table), "shares")
    st.caption(
        "The grey tick is the region's part of all weights: a bar far beyond it means few weights with high scores."
    )


def choose(now: Current, table: pd.DataFrame, before: pd.DataFrame, r: float) -> list[str]:
    """One box per region; what is ticked is the scope of the rewind."""
    names = list(table["region"])
    ticked = scope.regions(now, names)
    auc = before.set_index("region")
    keys = {region: f"layer-risk-{now.key}-{region}" for region in names}

    def keep() -> None:
        chosen = [region for region, key in keys.items() if st.session_state[key]]
        st.session_state["regions"] = [] if len(chosen) == len(names) else chosen

    for region, row in table.set_index("region").iterrows():
        white_box = f"AUC {n.auc(*auc.loc[region, ['auc', 'low', 'high']])}, " if region in auc.index else ""
        st.checkbox(
            f"**{region}** :gray[· {white_box}{n.weights(row['weights'])} weights, "
            f"{n.fraction(row['vulnerability_share'])} of vulnerability]",
            region in ticked,
            key=keys[region],
            on_change=keep,
            wrap=True,
        )
    return scope.regions(now, names)


def counted(now: Current, chosen: list[str], total: int, r: float) -> None:
    """How many weights the chosen scope and r come to."""
    own = now.cwrf
    try:
        found = selection(now.folders["scores"], own.model_copy(update={"fraction": r, "regions": tuple(chosen)}))
    except BadInput as error:
        st.warning(str(error))
        return
    in_scope = int(found.loc[found["region"].isin(chosen or found["region"]), "count"].sum())
    first, second = st.columns(2)
    first.metric("Weights rewound", n.count(int(found["rewound"].sum())))
    second.metric(f"In scope, of {n.weights(total)}", n.weights(in_scope))
    where = ", ".join(chosen) if chosen else "all regions (none ticked means all)"
    st.markdown(f"Scope of the rewind: **{where}**. r = {n.fraction(r)} is a share of the weights in scope.")
    if own.exclude or own.layer_fractions or own.ranking != "global":
        st.caption("Counted with this experiment's own ranking, exclusions and shares of single layers.")


def details() -> None:
    """What the AUC means, exactly."""
    st.markdown(
        "For one record, the gradient of its loss with respect to the weights of a region says how strongly this "
        "record would still pull at them. A record the network was trained on has had its pull, so its gradient "
        "tends to be short. The score of a record is therefore the negative length of that gradient, and the AUC "
        "is the probability that a random member scores higher than a random non-member: .5 is chance, 1 is "
        "certainty."
    )
    st.latex(
        r"s_\mathrm{region}(x, y) = -\left\lVert \frac{\partial\, \ell\big(f_\theta(x), y\big)}"
        r"{\partial\, \theta_\mathrm{region}} \right\rVert_2"
    )
    st.markdown(
        "The attacker must hold the weights (white box), needs no reference models, and is the same before and "
        "after a defence. Gradients are computed record by record, in evaluation mode.\n\n"
        "Which regions carry risk is **measured here and not assumed**. Fang and Kim (arXiv 2602.02296, of which "
        "only the abstract is known to us) propose that generalising and memorising live in different regions; "
        "earlier work found later layers to leak more (Nasr 2019, Stephenson 2021). This page is our reading of "
        "the idea: it takes a network's named blocks in forward order and reports what they give away. It is one "
        "view of risk; a region whose gradients say little may still matter for what the output reveals.\n\n"
        "All regions are measured on the same records, so overlapping intervals are a cautious sign: a paired "
        "comparison could separate some of them. Vulnerability and learnability are explained on the page of the "
        "critical weights."
    )
    st.page_link("critical_weights.py", label="Critical weights", icon=":material/grain:")


def per_region(table: pd.DataFrame, risks: pd.DataFrame) -> None:
    """The numbers behind the figures."""
    shown = table.assign(**{c: table[c].map(n.fraction) for c in table.columns if c.endswith("_share")})
    for when in dict.fromkeys(risks.get("when", [])):
        part = risks[risks["when"] == when].set_index("region")
        shown[f"AUC {when}"] = [
            n.auc(*part.loc[region, ["auc", "low", "high"]]) if region in part.index else n.MISSING
            for region in shown["region"]
        ]
    names = {f"{kind}_share": f"of all {kind}" for kind in ("vulnerability", "learnability")}
    st.dataframe(shown.rename(columns={"weight_share": "of all weights", **names}), hide_index=True)


frame.header(
    "Layer risk",
    "The network's regions in the order in which a record passes them: how well an attacker who holds the weights can "
    "tell members from each, and how much of both scores lies there.",
)
now = frame.need(experiments.current(), "scores", "before")
frame.drawn_initial(now)
regions = by_region(now.table("scores", "layers"))
risks = measured(now)
before = risks[risks["when"] == "before"]
left, right = st.columns(2, gap="large")
with left:
    risk(now, risks)
with right:
    shares(regions)
if not before.empty:
    st.markdown("**What to notice.** " + in_words(before))
st.subheader("Which regions to rewind", anchor=False)
left, right = st.columns(2, gap="large")
with left:
    chosen = choose(now, regions, before, scope.fraction(now))
with right:
    r = scope.fraction_slider(now, "layer-risk")
    counted(now, chosen, int(regions["weights"].sum()), r)
    st.page_link("rewind.py", label="Rewind with this scope", icon=":material/arrow_forward:")
frame.folded("What is measured, and what is not assumed", details)
frame.folded("Numbers per region", partial(per_region, regions, risks))
st.caption(experiments.facts(now))
