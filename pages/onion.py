"""The onion panel: did the risk move to other weights once the most vulnerable ones were rewound? Part of a page."""

from __future__ import annotations

import itertools
from functools import partial

import pandas as pd
import streamlit as st

from core.config import BadInput
from core.experiment import Experiment, finished, parse, summary
from core.figures import numbers as n
from core.figures.onion import overlap_curve, share_shift
from core.rewinding.config import MOST_ROUNDS
from pages import experiments, frame
from pages.experiments import Current
from pages.once import once

SIDES = {"vulnerability": "before", "onion_before": "control", "onion_after": "after"}


def onion(now: Current) -> None:
    """Figures where the model was scored again, else a button that has it done."""
    st.subheader("Did the risk move?", anchor=False)
    st.markdown(
        "As in an onion, below the layer that was peeled off there may be another: harmless weights may take the place "
        "of the rewound ones. To see it, the defended model is scored again. So is a **control**: the same base "
        "fine-tuned in the same way with nothing rewound. What happens to both is not the rewind's doing."
    )
    told = by_rounds(now)
    if told:
        st.markdown(told)
    if not now.config.onion:
        again = Experiment.model_validate({**now.config.model_dump(), "onion": True})
        if st.button(
            "Score both models again",
            icon=":material/layers:",
            help="The control's fine-tuning and two more runs of vulnerability estimation; everything else is in the "
            "store already.",
        ) and experiments.start(again):
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
        frame.draw(once(("onion-shares", now.key), partial(share_shift, shares)), "onion-shares")
    with right:
        frame.draw(once(("onion-overlap", now.key), partial(overlap_curve, curve)), "onion-overlap")
    held = {kind: float(layers[f"{kind}_rewound"].sum()) for kind in ("vulnerability", "onion_before", "onion_after")}
    share = layers["rewound"].sum() / layers["count"].sum()
    quiet = held["onion_after"] < held["onion_before"] / 2
    st.markdown("**What to notice**")
    st.markdown(
        f"- **The rewound weights**, {n.fraction(share)} of all, carried {n.fraction(held['vulnerability'])} of the "
        f"vulnerability in the first scoring. Scored again, they carry {n.fraction(held['onion_after'])} of it in the "
        f"defended model and {n.fraction(held['onion_before'])} in the control: the rewind "
        f"{'has silenced them' if quiet else 'has not silenced them'}.\n" + _moved(overlap)
    )
    frame.folded("Numbers per layer, and how this is measured", partial(details, layers))


def by_rounds(now: Current) -> str:
    """What this experiment and the same with other numbers of rounds came to; "" where none of those is finished."""
    found = {now.cwrf.rounds: now.key}
    value = now.config.model_dump(mode="json")
    for rounds, scored in itertools.product(range(1, MOST_ROUNDS + 1), (True, False)):
        changed = value | {"defence": value["defence"] | {"rounds": rounds}, "onion": scored}
        try:
            key = parse(changed).hash
        except BadInput:  # not with this way of choosing weights, or a file is gone
            continue
        if finished(now.store, key):
            found.setdefault(rounds, key)
    if len(found) < 2:
        return ""
    parts = []
    for rounds, key in sorted(found.items()):
        after = summary(now.store, key)["after"]
        accuracy = n.accuracy(*(after[f"test_accuracy{end}"] for end in ("", "_low", "_high")))
        attack = after["attacks"].get(now.headline)
        auc = f", AUC {n.auc(*(attack[f'auc{end}'] for end in ('', '_low', '_high')))}" if attack else ""
        parts.append(f"{rounds} round{'s' * (rounds > 1)}: test accuracy {accuracy}{auc}")
    of = f" (AUC of {now.result(now.headline, 'after')['title']})" if now.headline else ""
    return f"**Does another round help?** The same experiment{of}: {'; '.join(parts)}."


def details(layers: pd.DataFrame) -> None:
    """The table, and how the second scoring is done."""
    st.dataframe(_per_layer(layers), hide_index=True)
    st.markdown(
        "To score a model again, vulnerability estimation goes on from its finished weights for as many epochs as "
        "at first, and $|g\\cdot w|$ is summed anew. The reference records are still held at the predictions of "
        "the initial weights, and rewound weights do not move. Shares are of the network's total, because the "
        "totals fall once a model is trained. All this is one model: it has no interval. To rewind the new top as "
        "well, set *Rounds* to 2 under *Which weights, where they go, and single layers* above."
    )


def _moved(overlap: pd.DataFrame) -> str:
    """Whether the free weights' ranking changed more than in the control."""
    free = overlap[overlap["free"] & (overlap["fraction"] == 0.05)]
    if free.empty:
        return ""
    by = {(row["old"], row["new"]): row["overlap"] for row in free.to_dict("records")}
    control, defended = by["vulnerability", "onion_before"], by["vulnerability", "onion_after"]
    more = "more" if defended < control else "no more"
    return (
        f"- **The free weights**: of their first top 5 %, {n.fraction(defended)} are in the top 5 % of the defended "
        f"model and {n.fraction(control)} in that of the control; chance would keep "
        f"{n.fraction(float(free['chance'].iloc[0]))}: the rewind has changed their order {more} than fine-tuning "
        "alone does."
    )


def _per_layer(layers: pd.DataFrame) -> pd.DataFrame:
    """Shares of every layer, and of its rewound weights, in words."""
    columns = {"name": "layer", "region": "region", "count": "weights", "rewound": "rewound"}
    out = layers[list(columns)].rename(columns=columns)
    for kind, when in SIDES.items():
        out[f"share, {when}"] = layers[kind].map(n.fraction)
        out[f"of it rewound, {when}"] = layers[f"{kind}_rewound"].map(n.fraction)
    return out
