"""Overview: the story of the current experiment, before and after, and what to look at next."""

from __future__ import annotations

from functools import partial

import pandas as pd
import streamlit as st

from core.audit import ADAPTIVE, NO_REFERENCES
from core.defence import CWRF, FineTuning, FromScratch, objective_of
from core.demo import start_demo
from core.experiment import title
from core.figures import before_after, critical_counts, curves
from core.figures import numbers as n
from pages import experiments, frame
from pages.experiments import Current
from pages.once import once

frame.header(
    "Overview",
    "Where this network memorises its training data, and what rewinding exactly those weights changes.",
)


def empty() -> None:
    """Nothing in the store yet."""
    st.info(
        "No experiment yet. The demo trains a small network on 500 handwritten digits, a tenth of them with a wrong "
        "label, finds the weights that give them away, rewinds those and attacks the network before and after. "
        "It takes less than a minute."
    )
    if st.button("Start the demo", type="primary", icon=":material/play_arrow:"):
        experiments.show(start_demo(experiments.open_store()))
        st.rerun()
    st.page_link("model.py", label="Or train or load a model of your own", icon=":material/arrow_forward:")


def story(now: Current) -> None:
    """Four numbers with intervals, the ROC, and the way on."""
    summary, headline = now.values("experiment", "summary"), now.headline
    st.markdown(in_words(now, summary, headline))
    frame.guarantees(now)
    upper = st.columns(2)
    card(upper[0], "Test accuracy", frame.measured(now, "Test accuracy", "test_accuracy"))
    if headline is None:
        rewound(upper[1], now, summary)
        frame.without_attack()
        return
    lower, found = st.columns(2), now.result(headline)
    card(upper[1], f"Attack AUC · {found['title']}", frame.measured(now, "AUC", "auc", headline))
    non_members = int(found["non_members"])
    resolved = "" if non_members >= 1000 else f" · fewer than 10 false positives of {non_members}: not resolvable"
    rates = frame.measured(now, "TPR", "tpr_01", headline)
    card(lower[0], f"TPR at 1 % FPR · {found['title']}{resolved}", rates)
    rewound(lower[1], now, summary)

    st.subheader("ROC of the attack", anchor=False)
    frame.roc(now, {headline: found["title"]}, non_members)


def in_words(now: Current, summary: dict, headline: str | None) -> str:
    """The result in two sentences, from its numbers."""
    before, after = summary["before"], summary["after"]
    told = (
        f"The network classifies {n.accuracy(before['train_accuracy'])} of its training records and "
        f"{n.accuracy(before['test_accuracy'])} of new ones correctly"
    )
    if headline:
        was = now.result(headline)
        told += (
            f"; membership inference by {was['title']} tells members from non-members with AUC "
            f"**{n.auc(was['auc'], was['auc_low'], was['auc_high'])}** (.5 is chance)"
        )
    if not after:
        return told + ". This experiment has no defence; choose one on the Rewind page."
    defence = now.config.defence
    assert defence
    change = n.points(after["test_accuracy"] - before["test_accuracy"])
    moved = f"moved test accuracy by **{change}**."
    if not headline:
        return f"{told}. {done_to(defence)} {moved}"
    test = summary["paired"][headline]
    verdict = (
        "lowered the AUC by" if test["high"] < 0 else "raised the AUC by" if test["low"] > 0 else "changed the AUC by"
    )
    sure = "" if test["high"] < 0 or test["low"] > 0 else ", which may be chance"
    return (
        f"{told}. {done_to(defence)} {verdict} "
        f"**{n.difference(test['difference'])}** [{n.difference(test['low'])}, {n.difference(test['high'])}] "
        f"({n.p_value(test['p_value'])}, paired DeLong{sure}) and {moved}"
    )


def done_to(defence: CWRF | FineTuning | FromScratch) -> str:
    """The defence as the subject of a sentence."""
    objective = objective_of(defence).title
    if isinstance(defence, CWRF):
        verb = "Removing" if defence.mode == "A1" else "Rewinding"
        tuned = "those alone" if defence.mode == "A2" else "the rest"
        return f"{verb} {n.fraction(defence.fraction)} of the weights and fine-tuning {tuned} with {objective}"
    if isinstance(defence, FineTuning):
        return f"Fine-tuning with {objective}, nothing rewound,"
    early = f", stopped after {defence.stop_after} epochs," if defence.stop_after else ""
    return f"Training from scratch with {objective}{early}"


def card(place, title: str, rows: pd.DataFrame) -> None:
    """One number before → after, big, and its picture with intervals."""
    write = n.auc if rows["unit"].iloc[0] == "AUC" else n.accuracy
    with place.container(border=True, height="stretch"):
        st.caption(title)
        st.markdown(f"#### {' → '.join(write(value) for value in rows['value'])}")
        make = partial(before_after, rows, compact=True)
        frame.draw(once(("card", title, *rows["value"], *rows["low"]), make), f"card-{title}", caption=False)


def rewound(place, now: Current, summary: dict) -> None:
    """How many weights were rewound, and where most of them lie."""
    weights = summary["weights"]
    with place.container(border=True, height="stretch"):
        st.caption("Weights rewound")
        if not isinstance(now.config.defence, CWRF):
            st.markdown(f"#### none of {n.weights(weights['count'])}")
            return
        share = n.fraction(weights["rewound"] / weights["count"])
        st.markdown(f"#### {n.count(weights['rewound'])} of {n.count(weights['count'])} ({share})")
        layers = now.table("defended", "layers")
        regions = layers.groupby("region", sort=False)[["rewound", "count"]].sum().reset_index()
        frame.draw(
            critical_counts(regions.assign(layer=regions["region"], type="region")), "card-weights", caption=False
        )


def so_far(now: Current) -> None:
    """Results of the stages that are already finished."""
    if now.has("train"):
        st.subheader("Training", anchor=False)
        st.markdown("Members are learned better than non-members: that gap is what attacks use.")
        log, left, right = now.table("train", "log"), *st.columns(2)
        with left:
            frame.draw(curves(log, "loss", now.minimised("train")), "loss")
        with right:
            frame.draw(curves(log, "accuracy"), "accuracy")
    if now.has("before"):
        st.subheader("Attack on the undefended network", anchor=False)
        frame.headline_roc(now)


def attacker(now: Current) -> str:
    """What the attacker of the headline knows of the defence."""
    if now.headline is None:
        return ""
    row = now.result(now.headline, now.audited[-1])
    if row["adaptive"] == NO_REFERENCES:
        return "The attack needs no reference models, so there is no adaptive version of it."
    if row["adaptive"] == ADAPTIVE:
        return "The attack is adaptive: its reference models went through the whole pipeline of the model."
    return f"The attack's reference models are of an {row['adaptive']}."  # of weights that somebody brought


def next_steps() -> None:
    """What can I do next."""
    st.subheader("What to look at next", anchor=False)
    links = {
        "critical_weights.py": "Which weights give members away",
        "layer_risk.py": "Which regions carry the risk",
        "rewind.py": "Rewind another share or region",
        "attacks.py": "All attacks, most exposed records",
    }
    for page, label in links.items():
        st.page_link(page, label=label, icon=":material/arrow_forward:")


def details(now: Current) -> None:
    """How the numbers came about."""
    st.markdown(
        f"{experiments.facts(now)}. AUC intervals: DeLong, 95 %. Accuracy and TPR intervals: Clopper–Pearson, 95 %. "
        f"Test accuracy is measured on non-members, flipped labels included. {attacker(now)}"
    )
    times = {
        title(key): (experiments.read_stage(folder).get("seconds"), folder.name)
        for key, folder in now.folders.items()
        if now.has(key)
    }
    table = pd.DataFrame([(k, n.seconds(s), f) for k, (s, f) in times.items()], columns=["stage", "took", "folder"])
    st.dataframe(table, hide_index=True)
    st.caption(
        "The same from the command line: save this as experiment.json, run `python -m core run experiment.json`."
    )
    st.code(now.config.model_dump_json(indent=1), language="json", height=240)


now = experiments.current()
if now is None:
    empty()
elif now.finished:
    frame.need(now, "before", *(("defended", "after") if now.config.defence else ()))
    story(now)
    next_steps()
    frame.folded("How these numbers came about", partial(details, now))
else:
    st.markdown(f"**{experiments.title_of(now.config)}** · {experiments.facts(now)}")
    frame.job_panel(now)
    so_far(now)
