"""Attacks: what membership inference achieves before and after the defence, and on which records."""

from __future__ import annotations

import inspect
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import streamlit as st

from core.attacks import ATTACKS
from core.attacks.comparison import side_by_side
from core.attacks.histograms import ScoreHistograms, score_histograms
from core.audit import NON_ADAPTIVE, adaptive_advantage, paired
from core.figures import member_histogram
from core.figures import numbers as n
from core.figures.layout import caption_of
from core.store import read_json
from pages import attack_words as words
from pages import experiments, frame
from pages.attack_agreement import agreement
from pages.attack_lira import per_record
from pages.attack_measures import measures, rows_of_attacks
from pages.attack_records import exposed
from pages.attack_references import ADD, more, not_run
from pages.experiments import Current
from pages.once import once

CURVES = 6
"""More curves in one figure cannot be told apart."""


@st.cache_data(max_entries=50, show_spinner=False)
def results(before: str, after: str | None, summary: str | None) -> pd.DataFrame:
    """Both audits side by side with paired tests, all records and canaries; from two audit folders and the summary."""
    tables = {when: pd.read_parquet(Path(f, "attacks.parquet")) for when, f in _given(before, after).items()}
    if after is None:
        return side_by_side(before=tables["before"], after=None, tests=None)
    records = {when: pd.read_parquet(Path(f, "records.parquet")) for when, f in _given(before, after).items()}
    known = read_json(Path(summary))["paired"] if summary else {}
    canary = records["before"]["canary"].to_numpy()
    tests = []
    for group, chosen in {"all": np.ones(len(canary), bool), "canaries": canary}.items():
        part = {when: table[chosen].reset_index(drop=True) for when, table in records.items()}
        # only where both audits found members and non-members in the group is there something to test
        there = {when: set(t[(t["group"] == group) & t["auc"].notna()]["attack"]) for when, t in tables.items()}
        names = sorted(name for name in there["after"] if name.removesuffix(f":{NON_ADAPTIVE}") in there["before"])
        found = paired(part["before"], part["after"], [name for name in names if group != "all" or name not in known])
        if group == "all":
            found = pd.concat([pd.DataFrame([{"attack": name, **test} for name, test in known.items()]), found])
        gains = adaptive_advantage(part["after"], names).set_index("attack").add_prefix("gain_")
        tests.append(found.assign(group=group).join(gains, on="attack"))
    return side_by_side(before=tables["before"], after=tables["after"], tests=pd.concat(tests))


@st.cache_data(max_entries=100, show_spinner=False)
def histograms(before: str, after: str | None, attack: str) -> ScoreHistograms:
    """Binned scores of one attack."""
    tables = {when: pd.read_parquet(Path(f, "records.parquet")) for when, f in _given(before, after).items()}
    column = f"score_{attack}"
    scores = {when: table[column].to_numpy() for when, table in tables.items() if column in table}
    return score_histograms(scores=scores, is_member=tables["before"]["member"].to_numpy())


def _given(before: str, after: str | None) -> dict[str, str]:
    return {"before": before} | ({"after": after} if after else {})


def ran(table: pd.DataFrame) -> pd.Series:
    """Which rows have a result in at least one audit."""
    return table.filter(regex="^auc_(before|after)$").notna().any(axis=1)


def choose(titles: dict[str, str], sides: list[str]) -> list[str]:
    """The attacks whose curves are drawn; the first one is read out."""
    names = list(titles)
    most = CURVES // len(sides)
    return st.multiselect(
        "Attacks in the figure",
        names,
        default=names[:1],
        format_func=titles.get,
        max_selections=most,
        help=f"At most {most}, so that the {CURVES} curves can be told apart. The first one is put into words below.",
    )


def headline(row: dict, sides: list[str]) -> None:
    """The first attack's numbers, big; narrow enough for two in a row on a phone."""
    cards = [(f"AUC {side}", n.auc(row[f"auc_{side}"]), words.interval(row, "auc", side)) for side in sides]
    if len(sides) == 2 and pd.notna(row["difference"]):
        bounds = f"[{n.difference(row['low'])}, {n.difference(row['high'])}]"
        cards.append((f"Change, {n.p_value(row['p_value'])}", n.difference(row["difference"]), bounds))
    found = [row[f"tpr_01_true_positives_{side}"] for side in sides]
    true = " → ".join(n.MISSING if pd.isna(k) else n.count(int(k)) for k in found)
    resolved = "resolved" if words.known(row, "tpr_01_resolvable") else "unresolved"
    of = f"of {n.count(int(words.known(row, 'members')))}, {resolved}"
    cards.append(("TPR at 1 % FPR", true, of))
    with st.container(horizontal=True):
        for label, value, told in cards:
            st.metric(label, value, told, delta_color="off", delta_arrow="off", width=170)


def tables(now: Current, at: tuple, table: pd.DataFrame, sides: list[str]) -> None:
    """Every attack, on all records or on the canaries; both as CSV. at: what `table` was made from."""
    scored = table[ran(table)]
    made = {"AUC": partial(words.auc_table, sides=sides)} | {
        f"TPR at {fpr} FPR": partial(words.tpr_table, sides=sides, prefix=prefix)
        for prefix, (fpr, _) in words.FPRS.items()
    }

    def show(name: str) -> None:
        rows_of_attacks(now, "numbers", (name, *at), scored, made[name])

    frame.parts("numbers", {name: partial(show, name) for name in made}, linked=False)
    st.caption(
        "Brackets are 95 % intervals: DeLong for AUC, Clopper–Pearson for TPR. FP: false positives. Canaries are the "
        "mislabelled members against the mislabelled non-members. Adaptive: the attacker's reference models went "
        "through the same defence; attacks without references score by nothing but the model itself."
    )
    st.download_button(
        "Attack table as CSV",
        lambda: table.to_csv(index=False),
        f"attacks-{now.key}.csv",
        "text/csv",
        icon=":material/download:",
        on_click="ignore",
    )
    frame.folded(
        "Balanced accuracy, empirical ε and exposure of the canaries",
        partial(measures, now, at, scored, sides),
        icon=":material/table_chart:",
    )


def further(now: Current, table: pd.DataFrame) -> None:
    """What is missing, why, and how to add it."""
    not_run(now, table[~ran(table)].drop_duplicates("attack"))
    label = f"{ADD}, or change the attacks" if now.config.audit.shadows.models else ADD
    frame.folded(label, partial(more, now), icon=":material/group_add:")


def one_attack(now: Current, everyone: pd.DataFrame, first: str, folders: tuple[str, str | None]) -> None:
    """Scores and most exposed records of one attack; `everyone` has one row per attack that was run."""
    names = list(everyone.index)
    attack = st.selectbox(
        "Attack",
        names,
        index=names.index(first),
        format_func=everyone["title"].get,
        **frame.kept(now, f"one-attack-{first}"),
    )
    st.markdown(lesson(attack))
    binned = histograms(*folders, attack)
    sides = list(binned.counts)
    settings = words.known(everyone.loc[attack].to_dict(), "chosen")
    if isinstance(settings, str) and settings:
        st.caption(f"In this audit: {settings}.")
    places = st.columns(len(sides)) if len(sides) == 2 else [st.container()]
    for place, side in zip(places, sides, strict=True):
        with place:
            st.markdown(f"**Scores {side} the defence**" if folders[1] else "**Scores**")
            make = partial(member_histogram, binned.counts[side], log=binned.log, most=binned.fullest)
            figure = once(("scores", *folders, attack, side), make)
            frame.draw(figure, f"scores-{side}", caption=False)
    beyond = f" The end bins also hold {n.count(binned.beyond)} scores beyond the axis." if binned.beyond else ""
    st.caption(caption_of(figure) + beyond)
    exposed(now, attack, sides)


def lesson(attack: str) -> str:
    """What the attack does, from the docstring of its class."""
    return inspect.cleandoc(ATTACKS[attack.split(":")[0]].__doc__ or "")


def details() -> None:
    """Formulae and sources."""
    st.markdown(
        "**AUC**: the chance that a random member scores higher than a random non-member, ties as half. Interval "
        "and the paired test of before against after on the same records: DeLong (1988), fast form Sun & Xu (2014)."
    )
    st.latex(r"\mathrm{AUC}=\frac{1}{n_1 n_0}\sum_{i,j}\left(\mathbf 1[s_i>s_j]+\tfrac12\mathbf 1[s_i=s_j]\right)")
    st.markdown(
        "**TPR at a low FPR** α: the largest share of members found by any threshold whose false positive rate is "
        "at most α, never interpolated, tied records together (Carlini 2022). It counts as resolved from ten false "
        "positives on, $n_0\\,\\alpha \\ge 10$. Interval: Clopper–Pearson (1934)."
    )
    st.latex(r"\mathrm{TPR}@\alpha=\max_t\left\{\frac{k(t)}{n_1}:\frac{\mathrm{FP}(t)}{n_0}\le\alpha\right\}")
    st.markdown(
        "**Certified**: only so many false positives c are allowed that the true false positive rate is at most α "
        "with 95 % confidence. Where not even c = 0 will do, nothing can be certified."
    )
    st.latex(r"c=\max\{c: P[\mathrm{Bin}(n_0,\alpha)\le c]\le 0.05\}")


def page(now: Current) -> None:
    """Everything, top to bottom."""
    sides = ["before", "after"] if now.has("after") else ["before"]
    if not now.config.defence:
        st.info("This experiment has no defence: the page shows the audit of the trained model alone.")
    elif len(sides) == 1:
        st.info("The defended model is not audited yet; until then this is the trained model alone.")
        frame.job_panel(now)
    folders = (str(now.folders["before"]), str(now.folders["after"]) if len(sides) == 2 else None)
    summary = str(now.folders["experiment"] / "summary.json") if now.has("experiment") else None
    table = results(*folders, summary)
    scored = table[ran(table)]
    if scored.empty:
        st.warning("No attack could be run on this model; the reasons are below.")
        further(now, table)
        return
    everyone = scored[scored["group"] == "all"].set_index("attack", drop=False)
    chosen = choose(dict(everyone["title"]), sides) or list(everyone.index[:1])
    headline(everyone.loc[chosen[0]].to_dict(), sides)
    non_members = min(int(words.known(everyone.loc[name].to_dict(), "non_members")) for name in chosen)
    left, right = st.columns(2, gap="medium")
    with left:
        frame.roc(now, {name: everyone["title"][name] for name in chosen}, non_members, log=True)
    with right:
        st.subheader("What to notice", anchor=False)
        st.markdown("\n".join(f"- {sentence}" for sentence in words.findings(scored, chosen[0], sides)))
    frame.parts(
        "attacks",
        {
            "In numbers": partial(tables, now, (*folders, summary), table, sides),
            "One attack": partial(one_attack, now, everyone, chosen[0], folders),
            "One record, LiRA": partial(per_record, now, sides),
            "Agreement": partial(agreement, now, sides),
        },
    )
    further(now, table)
    frame.folded("How these numbers are computed", details)
    st.page_link("rewind.py", label="Rewind more, less or elsewhere", icon=":material/arrow_forward:")
    st.page_link("critical_weights.py", label="See which weights give members away", icon=":material/arrow_forward:")
    st.caption(experiments.facts(now))


frame.header(
    "Attacks",
    "How well membership inference tells training records from new ones, before and after the defence, and which "
    "records it finds.",
)
page(frame.need(experiments.current(), "before"))
