"""The records an attack is surest of, as pictures or rows: a part of the attacks page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import streamlit as st

from core.attacks import ATTACKS
from core.attacks.exposure import most_exposed
from core.audit import REFERENCES
from core.data import read_records
from core.figures import numbers as n
from core.figures.thumbnails import thumbnails
from pages import frame
from pages.experiments import Current

FEATURES = 24
"""Columns of a table record that are shown beside it."""
BADGES = {"member": (":material/person:", "orange"), "non-member": (":material/person_off:", "blue")}
CANARY = ":material/flag:"
WIDE = {"canary": st.column_config.TextColumn(width=115)}
"""The browser measures the flag too narrow."""


@st.cache_data(max_entries=200, show_spinner=False)
def pictures(folder: str, positions: tuple[int, ...]) -> list[np.ndarray]:
    """A few records as images, enlarged."""
    return thumbnails(read_records(Path(folder), np.array(positions)))


def exposed(now: Current, attack: str, sides: list[str]) -> None:
    """The records with the highest scores, as pictures or rows; `sides`: audits that ran the attack."""
    st.subheader("Most exposed records", anchor=False)
    records = now.table("before", "records")
    with st.container(horizontal=True):
        groups = ["members", "canaries", "non-members"] if records["canary"].any() else ["members", "non-members"]
        who = st.segmented_control("Who", groups, default="members", required=True, **frame.kept(now, "exposed-who"))
        when = sides[0]
        if len(sides) == 2:
            when = st.segmented_control(
                "Ranked by the score", sides, default="before", required=True, **frame.kept(now, "exposed-when")
            )
        shown = st.segmented_control(
            "Shown", [12, 24, 48], default=12, required=True, **frame.kept(now, "exposed-shown")
        )
    after = now.table("after", "records") if now.has("after") else None
    table = most_exposed(before=records, after=after, attack=attack, who=who, when=when)
    if table.empty:
        st.info(f"This experiment has no {who} that this attack scored.")
        return
    st.markdown(ranking(table, attack, who, shown))
    if "calibrated_before" in table:
        st.caption(
            "Calibrated: the share of population records that this record is at least γ = "
            f"{n.plain(now.config.audit.rmia_gamma)} times likelier than, each relative to how likely the reference "
            "models find it. The order is that of the score, which has fewer ties."
        )
    about = now.values("data", "dataset")
    classes, top = about["classes"], table.head(shown)
    models = ["before"] if after is None else ["before", "after"]
    if about["kind"] == "image":
        gallery(now, top, classes, models)
        frame.folded("The same as a table", lambda: in_rows(readable(top, classes, models)))
    else:
        features = read_records(now.folders["data"], top["record"].to_numpy())[:, :FEATURES]
        names = [f"feature {i}" for i in range(features.shape[1])]
        rows = pd.concat([readable(top, classes, models), pd.DataFrame(features, columns=names)], axis=1)
        in_rows(rows)
    st.download_button(
        f"All {n.count(len(table))} {who} as CSV",
        lambda: table.to_csv(index=False),
        f"exposed-{attack.replace(':', '-')}-{who}-{now.key}.csv",
        "text/csv",
        icon=":material/download:",
        on_click="ignore",
    )


def in_rows(table: pd.DataFrame) -> None:
    """Records as a table."""
    st.dataframe(table, hide_index=True, height="content", column_config=WIDE)


def ranking(table: pd.DataFrame, attack: str, who: str, shown: int) -> str:
    """What the order means, and how many canaries and ties are in it."""
    top = table.head(shown)
    told = {
        "members": "Members this attack is surest of.",
        "canaries": "Members with a wrong label, the surest first.",
        "non-members": "Non-members that look most like members: the attack's first false alarms.",
    }[who]
    if who == "members" and table["canary"].any():
        found, total = int(top["canary"].sum()), int(table["canary"].sum())
        told += (
            f" {found} of the {len(top)} shown {'is a canary' if found == 1 else 'are canaries'}; "
            f"canaries are {n.count(total, len(table))} of the members."
        )
        easy = not ATTACKS[attack.split(":")[0]].needs & REFERENCES
        if easy and found / len(top) < total / len(table):
            told += " Without reference models an attack ranks easy records first, not memorised ones."
    ties = int(table["tied"].iloc[0])
    if ties > len(top):
        told += f" {n.count(ties)} records share the highest score, so which of them are shown says nothing."
    return told


def gallery(now: Current, top: pd.DataFrame, classes: list[str], sides: list[str]) -> None:
    """One card per record."""
    calibrated = "calibrated_before" in top
    images = pictures(str(now.folders["data"]), tuple(int(p) for p in top["record"]))
    with st.container(horizontal=True, gap="small"):
        for image, row in zip(images, top.to_dict("records"), strict=True):
            with st.container(border=True, width=170, gap="xsmall"):
                st.image(image, width=136, alt=f"record {row['record']}, label {classes[row['label']]}")
                kind = "member" if row["member"] else "non-member"
                st.badge(kind, icon=BADGES[kind][0], color=BADGES[kind][1])
                if row["canary"]:
                    st.badge("canary" if row["member"] else "mislabelled", icon=CANARY, color="violet")
                label = classes[row["label"]]
                was = f" (truly {classes[row['clean_label']]})" if row["canary"] else ""
                st.caption(
                    f"#{row['rank']} · record {row['record']}  \nlabel **{label}**{was}  \n"
                    f"predicted {_both(row, 'prediction', sides, lambda k: classes[k])}  \n"
                    f"loss {_both(row, 'loss', sides, nats)}"
                    + (f"  \ncalibrated {_both(row, 'calibrated', sides, n.accuracy)}" if calibrated else "")
                )


def readable(top: pd.DataFrame, classes: list[str], sides: list[str]) -> pd.DataFrame:
    """The records table in words."""
    rows = [
        {
            "rank": row["rank"],
            "record": row["record"],
            "is": "member" if row["member"] else "non-member",
            "canary": ("⚑ canary" if row["member"] else "⚑ mislabelled") if row["canary"] else "",
            "label": classes[row["label"]],
            "clean label": classes[row["clean_label"]],
            "prediction": _both(row, "prediction", sides, lambda k: classes[k]),
            "loss (nats)": _both(row, "loss", sides, n.plain),
            "score": _both(row, "score", sides, n.plain),
            **({"calibrated": _both(row, "calibrated", sides, n.accuracy)} if "calibrated_before" in row else {}),
        }
        for row in top.to_dict("records")
    ]
    table = pd.DataFrame(rows)
    return table if top["canary"].any() else table.drop(columns=["canary", "clean label"])


def nats(loss: float) -> str:
    """A loss on a card, short enough for its line."""
    return "<0.01" if loss < 0.01 else f"{loss:.2f}"


def _both(row: dict, name: str, sides: list[str], write: Callable) -> str:
    return " → ".join(write(row[f"{name}_{side}"]) for side in sides)
