"""Model: train a network or bring one, and watch it learn."""

from __future__ import annotations

from functools import partial

import pandas as pd
import streamlit as st

from core import jobs
from core.experiment import title
from core.figures import curves
from core.figures import numbers as n
from pages import experiments, frame, model_load, model_train
from pages.experiments import Current

LOGGED = ("train", "learnability", "vulnerability", "defended")
"""Stages that train, in order."""


def training(now: Current) -> None:
    """State of the current experiment, its accuracy once audited, and its curves."""
    st.subheader("This experiment's training", anchor=False)
    st.markdown(f"**{experiments.title_of(now.config)}** · {experiments.facts(now)}")
    if now.whole:
        results(now, False)
        return
    left, right = st.columns([1, 2])
    with left:
        frame.job_panel(now)
    with right:
        results(now, running(now))


def running(now: Current) -> bool:
    job = now.job
    return job is not None and job.active


def results(now: Current, live: bool) -> None:
    """Accuracy and guarantee once they are known, and the curves, redrawn every second while they grow."""
    if now.has("before"):
        accuracy(now)
    frame.guarantees(now)
    if live:
        st.fragment(run_every=1.0)(learning)(now, True)
    else:
        learning(now, False)


def accuracy(now: Current) -> None:
    """The two numbers that matter, with intervals."""
    found = now.values("before", "metrics")
    for column, (name, words) in zip(
        st.columns(2), {"train": "Accuracy on members", "test": "Accuracy on non-members"}.items(), strict=True
    ):
        with column.container(border=True):
            st.caption(words)
            value, low, high = (found[f"{name}_accuracy{end}"] for end in ("", "_low", "_high"))
            st.markdown(f"#### {n.accuracy(value, low, high)}")
    if now.config.weights:
        st.caption(
            "These are the weights you brought, on your records. If the accuracy on non-members is lower than the one "
            "you know, the normalisation or the order of classes differs from your training."
        )


def learning(now: Current, live: bool) -> None:
    """Loss and accuracy of one training run, by epoch."""
    logs = _logs(now)
    if not logs:
        st.caption("The curves appear with the first epoch.")
        return
    under_way = list(logs)[-1] if live else next(iter(logs))
    chosen = under_way
    if len(logs) > 1:
        # without a key the choice follows the run under way, until somebody chooses
        chosen = st.segmented_control(
            "Training run", list(logs), default=under_way, format_func=title, label_visibility="collapsed"
        )
    log = logs.get(chosen or under_way, pd.DataFrame())
    left, right = st.columns(2)
    with left:
        frame.draw(curves(log, "loss", now.minimised(chosen or under_way)), "learning-loss")
    with right:
        frame.draw(curves(log, "accuracy"), "learning-accuracy")


def _logs(now: Current) -> dict[str, pd.DataFrame]:
    """Stage → its log: the stored one where it is finished, else the rows the job has reported so far."""
    found: dict[str, pd.DataFrame] = {}
    seen = set()
    rows = pd.DataFrame(jobs.rows(now.store, now.key))
    for stage in LOGGED:
        folder = now.folders.get(stage)
        if folder is None or folder in seen:  # with cross-entropy, training and learnability are one run
            continue
        seen.add(folder)
        so_far = rows[rows["stage"] == stage] if len(rows) else rows
        log = now.table(stage, "log") if now.has(stage) else so_far
        if len(log):
            found[stage] = log
    return found


def notice(now: Current) -> None:
    """What should I notice, what lies behind it, what can I do next."""
    st.subheader("What to notice", anchor=False)
    st.markdown(
        "The distance between the two lines is what membership inference lives on: a record the network has learned "
        "by heart has a lower loss than a comparable one it never saw. Rewinding aims to close the distance without "
        "lowering the blue line of the accuracy."
    )
    frame.folded("How the two scoring runs work", partial(scoring, now))
    st.page_link("critical_weights.py", label="Which weights give members away", icon=":material/arrow_forward:")
    st.page_link("rewind.py", label="Rewind them", icon=":material/arrow_forward:")


def scoring(now: Current) -> None:
    """The losses of the two runs that score every weight."""
    st.markdown(
        "Both start from the initial weights and add up, at every step, how much each weight matters for the loss. "
        "**Learnability** uses cross-entropy on members:"
    )
    st.latex(r"s_i = \sum_{t=1}^{T} \left| \frac{\partial L}{\partial w_i}\, w_i \right|")
    st.markdown("**Vulnerability** (PVE) uses a loss that learns members and un-learns everybody else:")
    sides = (r"p_{\text{initial}}", "p")
    first, second = sides if now.config.importance.kl == "initial||trained" else sides[::-1]
    st.latex(
        r"L = (1-\lambda)\, \mathrm{CE}(\text{members}) + \lambda\, "
        rf"\mathrm{{KL}}\left({first} \,\|\, {second}\right)(\text{{reference}})"
    )
    st.caption("Fang and Kim, Critical weights rewinding and finetuning, ICLR 2026.")
    st.code(now.config.train.model_dump_json(indent=1), language="json")


frame.header("Model", "Train a network, or bring one with its records, and watch where members and non-members part.")
now = experiments.current()
above = st.container()
frame.parts("model", {"Train": partial(model_train.draw, now), "Load": partial(model_load.draw, now)})
if now:
    # a run under way is what a person came to see: it stands above the forms that started it
    with above if running(now) else st.container():
        training(now)
    notice(now)
