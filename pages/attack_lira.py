"""One record between its reference models: the part of the attacks page that explains LiRA."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pandas as pd
import streamlit as st

from core.attacks.exposure import most_exposed
from core.attacks.lira import LiraAttack
from core.attacks.one_record import Fits, OneRecord, fit
from core.attacks.shadows import load_references
from core.audit import ADAPTIVE, ASSUMED_RECIPE, titled
from core.config import BadInput
from core.figures import likelier, lira_figures
from core.figures import numbers as n
from pages import frame
from pages.attack_records import BADGES, CANARY, pictures
from pages.attack_references import ADD
from pages.experiments import Current
from pages.once import once

REFERENCES_OF = {"before": "shadows", "after": "shadows_defended"}
"""Audit → the stage with references of the same pipeline: what an attacker who knows the defence would train."""
LISTED = 24
SPREADS = {
    "per_example": "the spread σ of this record's own references",
    "pooled": "one spread σ for all records",
    "shrunk": "this record's own spread σ pulled towards that of all records, as there are few references",
}


@st.cache_resource(max_entries=8, show_spinner=False)
def fits(folder: str, variance: str) -> Fits:
    """LiRA's Gaussians from a finished stage of reference models."""
    found = load_references(Path(folder), logits=0)
    return fit(
        reference_phi=found["reference_phi"],
        reference_in=found["reference_in"],
        attack=LiraAttack.model_validate({"variance": variance}),
    )


def per_record(now: Current, sides: list[str]) -> None:
    """A record to choose, its score in words, and the two crowds before and after."""
    sides = [side for side in sides if now.has(REFERENCES_OF[side])]
    if not sides:
        st.info(f"This picture needs reference models, and this audit has none. **{ADD}** below trains some.")
        return
    try:
        known = {side: fits(str(now.folders[REFERENCES_OF[side]]), now.config.audit.lira_variance) for side in sides}
    except BadInput as error:
        st.info(f"{error}.")
        return
    st.markdown(
        "Some reference models trained on this record (IN), the others never saw it (OUT). Each says how sure it is "
        "of the record's label, its scaled logit φ. LiRA lays a Gaussian over each crowd and asks: "
        "**under which of the two is what the target says likelier?**"
    )
    tables = {side: scored(now.table(side, "records"), known[side]) for side in sides}
    row = choose(now, tables)
    if row is None:
        return
    views = {}
    for side in sides:
        place = int((tables[side]["record"] == row["record"]).to_numpy().argmax())
        views[side] = known[side].one(position=place, target=float(tables[side]["phi"].iloc[place]))
    about(now, row, views, known[sides[0]].queries)
    places = st.columns(len(sides)) if len(sides) == 2 else [st.container()]
    key = ("lira", now.key, now.config.audit.lira_variance, int(row["record"]))
    title = titled(LiraAttack, ASSUMED_RECIPE if now.config.weights else ADAPTIVE)
    figures = once(key, partial(lira_figures, views, int(row["record"]), title))
    for place, side in zip(places, sides, strict=True):
        with place:
            st.markdown(f"**{side.capitalize()} the defence**" if now.config.defence else "**The trained model**")
            frame.draw(figures[side], f"lira-{side}", caption=False)
    spread = SPREADS[known[sides[0]].variance]
    st.caption(
        f"{title}. Every mark below the axis is one reference model; the curves are the Gaussians that LiRA lays over "
        f"them, with {spread}. Where the target's line meets the two curves, compare their heights: their ratio is the "
        "verdict."
        + (
            " After the defence the reference models went through it as well. It protects this record where the two "
            "crowds move together, or where the target moves away from the IN crowd."
            if len(sides) == 2
            else ""
        )
    )


def scored(records: pd.DataFrame, found: Fits) -> pd.DataFrame:
    """The records with LiRA's score, also where LiRA was not among the attacks of the audit."""
    if "score_lira" in records:
        return records
    return records.assign(score_lira=found.scores(records["phi"].to_numpy(float)))


def choose(now: Current, tables: dict[str, pd.DataFrame]) -> dict | None:
    """The record to look at: one of the most exposed members, or any by its number."""
    first = next(iter(tables.values()))
    with st.container(horizontal=True, vertical_alignment="bottom"):
        ways = ["most exposed members", "record number"]
        way = st.segmented_control("Choose by", ways, default=ways[0], required=True, **frame.kept(now, "lira-way"))
        if way == ways[0]:
            table = most_exposed(before=first, after=None, attack="lira").head(LISTED)
            names = {int(r["record"]): f"{r['rank']}. record {r['record']}" for r in table.to_dict("records")}
            number = st.selectbox(
                "Record", list(names), format_func=names.get, width=220, **frame.kept(now, "lira-exposed")
            )
        else:
            low, high = int(first["record"].min()), int(first["record"].max())
            number = st.number_input("Record", low, high, low, step=1, width=220, **frame.kept(now, "lira-number"))
    found = first[first["record"] == number]
    if found.empty:
        st.info(f"Record {number} is neither a member nor a non-member of this audit: no attack looked at it.")
        return None
    return found.iloc[0].to_dict()


def about(now: Current, row: dict, views: dict[str, OneRecord], queries: int) -> None:
    """The record itself, and per audit how much likelier the target is under one crowd than under the other."""
    info = now.values("data", "dataset")
    label = info["classes"][row["label"]]
    with st.container(horizontal=True, vertical_alignment="center"):
        if info["kind"] == "image":
            image = pictures(str(now.folders["data"]), (int(row["record"]),))[0]
            st.image(image, width=112, alt=f"record {row['record']}, label {label}")
        with st.container(width=190, gap="xsmall"):
            kind = "member" if row["member"] else "non-member"
            st.badge(kind, icon=BADGES[kind][0], color=BADGES[kind][1])
            if row["canary"]:
                st.badge("canary" if row["member"] else "mislabelled", icon=CANARY, color="violet")
            was = f" (truly {info['classes'][row['clean_label']]})" if row["canary"] else ""
            st.caption(f"record {row['record']}  \nlabel **{label}**{was}")
        with st.container(width="stretch"):
            for side, view in views.items():
                st.markdown(f"**{side.capitalize()}**: {likelier(view.score)} (LiRA score {n.plain(view.score)}).")
            if queries > 1:
                st.caption(
                    f"For the record itself. The attack also asks about {queries - 1} altered copies and averages."
                )
