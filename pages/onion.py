"""The onion panel: did the risk move to other weights once the most vulnerable ones were rewound? Part of a page."""

from __future__ import annotations

from functools import partial

import streamlit as st

from core.experiment import Experiment
from core.figures import numbers as n
from core.figures.onion import overlap_curve, share_shift
from pages import frame
from pages.frame import Current
from pages.once import once

SIDES = {"vulnerability": "before", "onion_before": "control", "onion_after": "after"}
CONTROL = "undefended model, scored again"


def onion(now: Current) -> None:
    """Figures where the model was scored again, else a button that has it done."""
    st.subheader("Did the risk move?", anchor=False)
    st.markdown(
        "Peel off one layer of an onion and there is another: once the most vulnerable weights are rewound, formerly "
        "harmless ones may take their place. To see it, the defended model is scored again as it is, and so is the "
        "undefended one, as a control."
    )
    if not now.config.onion:
        again = Experiment.model_validate({**now.config.model_dump(), "onion": True})
        if st.button(
            "Score both models again",
            icon=":material/layers:",
            help="Two more runs of vulnerability estimation; everything else is in the store already.",
        ) and frame.start(again):
            st.rerun()
        return
    if not now.has("onion"):
        frame.job_panel(now)
        return
    layers, overlap = now.table("onion", "layers"), now.table("onion", "overlap")
    regions = layers.groupby("region", sort=False)[list(SIDES)].sum().reset_index().rename(columns=SIDES)
    shares = regions.melt("region", var_name="when", value_name="share")
    curve = overlap[(overlap["old"] == "vulnerability") & ~overlap["free"]].assign(when=overlap["new"].map(SIDES))
    left, right = st.columns(2, gap="large")
    with left:
        frame.draw(once(("onion-shares", now.key), partial(share_shift, shares, control=CONTROL)), "onion-shares")
    with right:
        frame.draw(once(("onion-overlap", now.key), partial(overlap_curve, curve, control=CONTROL)), "onion-overlap")
    held = {kind: float(layers[f"{kind}_rewound"].sum()) for kind in ("vulnerability", "onion_before", "onion_after")}
    share = layers["rewound"].sum() / layers["count"].sum()
    quiet = "quiet" if held["onion_after"] < held["onion_before"] / 2 else "not quiet"
    st.markdown(
        f"**What to notice.** The rewound weights, {n.fraction(share)} of all, carried "
        f"{n.fraction(held['vulnerability'])} of the vulnerability when they were chosen. Scored again, they carry "
        f"{n.fraction(held['onion_before'])} in the undefended model and {n.fraction(held['onion_after'])} in the "
        f"defended one: held at their rewound values they are {quiet}. " + _moved(overlap)
    )
    with st.expander("Numbers per layer, and how this is measured"):
        st.dataframe(layers, hide_index=True)
        st.markdown(
            "Scoring again means that vulnerability estimation goes on from the finished weights for as many epochs "
            "as at first, the reference records still being held at the predictions of the initial weights, and "
            "$|g\\cdot w|$ is summed anew; rewound weights do not move meanwhile. Shares are of the total over the "
            "network, because the totals themselves fall once a model is trained. A second round "
            "(Rewind, *Rounds*) rewinds the new top as well."
        )


def _moved(overlap) -> str:
    """Whether the free weights' ranking changed more by the defence than by scoring again."""
    free = overlap[overlap["free"] & (overlap["fraction"] == 0.05)]
    if free.empty:
        return ""
    by = {(row["old"], row["new"]): row["overlap"] for row in free.to_dict("records")}
    control, defended = by["vulnerability", "onion_before"], by["onion_before", "onion_after"]
    return (
        f"Among the weights left free, the top 5 % of the undefended and of the defended model share "
        f"{n.fraction(defended)}; scoring the undefended model again already changes its top 5 % down to "
        f"{n.fraction(control)} (chance: {n.fraction(float(free['chance'].iloc[0]))})."
    )
