"""Whether the attacks point at the same members: a small part of the attacks page."""

from __future__ import annotations

from functools import partial

import pandas as pd
import streamlit as st

from core.attacks.agreement import SHARE
from core.attacks.agreement import agreement as shared_by
from core.audit import NON_ADAPTIVE
from core.figures import agreement_heatmap
from core.figures import numbers as n
from pages import frame
from pages.experiments import Current
from pages.once import once


def agreement(now: Current, sides: list[str]) -> None:
    """The heatmap of one audit, and what to notice in words."""
    side = sides[0]
    if len(sides) == 2:
        side = st.segmented_control("Audit", sides, default=side, required=True, **frame.kept(now, "agreement"))
    records = now.table(side, "records")
    # attackers who ignore the defence would only repeat the rows of those who know it
    names = [c.removeprefix("score_") for c in records if c.startswith("score_") and not c.endswith(NON_ADAPTIVE)]
    at = (str(now.folders[side]), *names)
    table = once(("pairs", *at), partial(shared_by, records, tuple(names)))
    if table.empty:
        st.info("It takes two attacks that have run to compare.")
        return
    titles = now.table(side, "attacks").drop_duplicates("attack").set_index("attack")["title"].to_dict()
    st.markdown(told(table, titles))
    frame.draw(once(("agreement", *at), partial(agreement_heatmap, table, titles)), f"agreement-{side}")


def told(table: pd.DataFrame, titles: dict[str, str]) -> str:
    """The pairs that share most and least."""
    ranked = table.assign(part=table["shared"] / table["k"]).sort_values("part")
    most, least = (
        f"{titles[row['first']]} and {titles[row['second']]} share {n.plain(row['shared'])} of {row['k']}"
        for row in (ranked.iloc[-1].to_dict(), ranked.iloc[0].to_dict())
    )
    ends = (n.plain(float(end)) for end in (ranked["expected"].min(), ranked["expected"].max()))
    chance = " to ".join(dict.fromkeys(ends))  # attacks that scored fewer records have fewer most exposed
    head = f"Each attack has its own {n.fraction(SHARE)} of members it is surest of."
    if len(ranked) == 1:
        return f"{head} {most}; chance would give {chance}."
    return (
        f"{head} {most}, {least}; chance would give {chance}. An attack that finds other records than the rest adds "
        "to the picture even where its AUC is no higher."
    )
