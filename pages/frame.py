"""What every page shares: its head, what it waits for, parts drawn when they are opened, and how a result is shown.

A page asks `need(experiments.current(), ...)` for the stages it needs, reads tables with `Current.table`, and draws.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pandas as pd
import streamlit as st
from plotly.graph_objects import Figure

from core import jobs
from core.defenses.dpsgd import shown
from core.experiment import title
from core.figures import CONFIG, caption_of, roc_figure
from core.figures.numbers import seconds
from pages.experiments import Current, open_store, start
from pages.once import once

ICONS = {
    "pending": ":material/radio_button_unchecked:",
    "running": ":material/progress_activity:",
    "reused": ":material/inventory_2:",
    "done": ":material/check_circle:",
    "skipped": ":material/remove:",
    "failed": ":material/error:",
    "cancelled": ":material/cancel:",
    "interrupted": ":material/bolt:",
}
AXES = ("linear", "log-log")
LOST = "Some of its results are no longer in the store. Starting it again computes them."
NAMES = st.column_config.TextColumn(pinned=True, width=205)
"""A column of names that stays in place: on a phone a number is seen beside it."""


def need(now: Current | None, *stages: str) -> Current:
    """The current experiment once these stages are finished; until then its state on the page, which stops there."""
    if now is None:
        st.info("No experiment yet. Train a model, load your own, or start the demo on the overview.")
        st.page_link("overview.py", label="To the overview", icon=":material/arrow_forward:")
        st.stop()
    if all(now.has(stage) for stage in stages):
        return now
    if not now.config.defence and any(stage in ("defended", "after") for stage in stages):
        st.info("This experiment has no defence. Choose one on the Rewind page to see before and after.")
        st.page_link("rewind.py", label="To the Rewind page", icon=":material/arrow_forward:")
        st.stop()
    waiting = ", ".join(title(stage).lower() for stage in stages if not now.has(stage))
    st.markdown(f"This page needs results that are not there yet: **{waiting}**.")
    job_panel(now)
    st.stop()


def job_panel(now: Current) -> None:
    """Stages with progress, live; cancel while it runs, the reason and a way on when it has stopped."""
    job = now.job
    if job is None:
        never = "This experiment was never finished and no run is known. Start it to compute what is missing."
        st.info(LOST if now.finished else never)
        resume_button(now, "Start")
        return
    if job.active:
        st.fragment(run_every=1.0)(_live)(now, tuple(now.has(key) for key in now.folders))
        return
    if job.state != "done":  # else something was lost since, and what it says of its stages is no longer so
        _stages(job)
    words = {
        "failed": f"It stopped with an error: {job.error}",
        "interrupted": "The process was stopped from outside. Finished stages are kept; resuming computes the rest.",
        "cancelled": "It was cancelled. Finished stages are kept; resuming computes the rest.",
    }
    said = words.get(job.state, LOST)
    (st.error if job.state == "failed" else st.warning)(said)
    resume_button(now, "Try again" if job.state == "failed" else "Resume")
    log = job.folder / "log.txt"
    if job.state == "failed" and log.is_file() and log.stat().st_size:
        with st.expander("What the process printed"):
            st.code(log.read_text(errors="replace")[-5000:])


def resume_button(now: Current, label: str) -> None:
    """Submit the experiment again; it finds its finished stages."""
    if st.button(label, icon=":material/play_arrow:", type="primary", key=f"resume-{now.key}"):
        start(now.config)
        st.rerun()


def _live(now: Current, had: tuple[bool, ...]) -> None:
    job = now.job
    if job is None or not job.active or tuple(now.has(key) for key in now.folders) != had:
        st.rerun(scope="app")
    _stages(job)
    # a callback, because a rerun of the fragment that ends above this line would swallow the click
    st.button(
        "Cancelling …" if job.cancelling else "Cancel",
        icon=":material/cancel:",
        disabled=job.cancelling,
        key=f"cancel-{now.key}",
        on_click=partial(jobs.cancel, now.store, now.key, wait=False),
    )


def _stages(job: jobs.JobStatus) -> None:
    """One line per stage and a bar for the one under way."""
    if job.state == "queued":
        # it is queued while its process starts, too
        running = sum(other.state == "running" for other in jobs.listing(open_store()))
        busy = running >= jobs.slots()
        st.caption("Waiting for a free slot: another run is using this machine." if busy else "Starting …")
    for stage in job.stages:
        if stage.state == "skipped":
            continue
        name = title(stage.key)
        note = {"reused": "already in the store", "done": seconds(stage.seconds)}.get(stage.state, stage.text)
        if stage.state == "running" and stage.total:
            st.progress(min(1.0, stage.done / stage.total), text=f"{name} · {note}")
        else:
            st.markdown(f"{ICONS[stage.state]} {name}" + (f" :gray[· {note}]" if note else ""))
    if job.active and job.started:
        st.caption(f"Running for {seconds(time.time() - job.started)}.")


def header(title: str, sentence: str) -> None:
    """The head of a page: what am I looking at."""
    st.title(title, anchor=False)
    st.markdown(sentence)


def drawn_initial(now: Current) -> None:
    """What "initial" means where somebody brought a network without its initial weights."""
    if now.drawn_initial:
        assert now.config.weights
        st.info(
            "This network was brought without its initial weights. “Initial” is a random draw here (seed "
            f"{now.config.weights.initial_seed}) that it never started from: the scores are those of trainings from "
            "that draw, and rewinding sends weights to it."
        )


def draw(figure: Figure, key: str, caption: bool = True) -> None:
    """A figure and, below it, the sentence that says what to notice (always there for readers who cannot see it)."""
    text = caption_of(figure)
    st.plotly_chart(figure, config=CONFIG, key=key, alt=text or None)
    if caption and text:
        st.caption(text)


@st.fragment
def parts(key: str, drawn: dict[str, Callable[[], None]], *, linked: bool = True) -> None:
    """Parts of a page side by side, of which the open one alone is computed and drawn: the browser draws for most of
    the time that a page takes.

    drawn: name of the part → what draws it; its widgets need `kept`. linked: the open part is in the link, under
    `key`; not for parts within parts.
    """
    tabs = st.tabs(list(drawn), key=key, on_change="rerun", bind="query-params" if linked else None)
    for tab, draw_it in zip(tabs, drawn.values(), strict=True):
        if tab.open:
            with tab:
                draw_it()


def kept(now: Current, name: str) -> dict[str, Any]:
    """For a widget within `parts` or `folded`: what was chosen for this experiment outlives what hides the widget."""
    return {"key": f"{name}-{now.key}", "persist_state": "page"}


@st.fragment
def folded(label: str, draw_it: Callable[[], None], icon: str | None = None) -> None:
    """A part that is computed and drawn once it is unfolded."""
    with st.expander(label, icon=icon, key=f"folded-{label}", on_change="rerun") as box:
        if box.open:
            draw_it()


def folded_fields(
    key: str,
    label: Callable[[dict[str, Any]], str],
    start: dict[str, Any],
    draw_them: Callable[[dict[str, Any]], dict[str, Any]],
) -> dict[str, Any]:
    """Fields that are drawn once they are unfolded; while they are folded, what they said last.

    label: words for such values; start: what the fields say before anybody touches them; draw_them: draws the fields
    from the values they had when they were unfolded and returns what they say now.
    """
    kept = st.session_state.get(f"fields-{key}")
    if kept is None or kept["given"] != start:  # the same form for another experiment starts anew
        kept = st.session_state[f"fields-{key}"] = {"given": start, "start": start, "said": start}
    if not st.session_state.get(name := f"folded-{key}"):
        kept["start"] = kept["said"]
    with st.expander(label(kept["start"]), key=name, on_change="rerun") as box:
        if box.open:
            kept["said"] = draw_them(kept["start"])
    return kept["said"]


def measured(now: Current, label: str, column: str, attack: str = "") -> pd.DataFrame:
    """Rows for `before_after`: a number of every finished audit with its interval, of one attack or of the model.

    label: what the number is called; column: its name in the table of attacks, or in the audit's metrics.
    """
    rows = []
    for when in now.audited:
        found = now.result(attack, when) if attack else now.values(when, "metrics")
        value, low, high = (found[f"{column}{end}"] for end in ("", "_low", "_high"))
        unit = "AUC" if column == "auc" else "%"
        rows.append({"label": label, "when": when, "value": value, "low": low, "high": high, "unit": unit})
    return pd.DataFrame(rows)


@st.fragment
def roc(now: Current, titles: dict[str, str], non_members: int, *, log: bool = False) -> None:
    """ROC of these attacks (name → title) in every finished audit, with a switch of the axes; log: where it begins."""
    start = AXES[log]
    chosen = st.segmented_control(
        "Axes", AXES, default=start, required=True, label_visibility="collapsed", **kept(now, f"axes-{start}")
    )
    log = chosen == "log-log"
    key = ("roc", now.key, *titles, now.audited, log)
    draw(once(key, partial(_roc, now, titles, non_members, log)), "roc")


def _roc(now: Current, titles: dict[str, str], non_members: int, log: bool) -> Figure:
    table = pd.concat([now.table(when, "curves").assign(when=when) for when in now.audited])
    return roc_figure(
        pd.concat([table[table["attack"] == name].assign(attack=title) for name, title in titles.items()]),
        log,
        non_members,
    )


def headline_roc(now: Current) -> None:
    """ROC of the attack that pages put first, or why there is none."""
    if now.headline is None:
        without_attack()
        return
    found = now.result(now.headline)
    roc(now, {now.headline: found["title"]}, int(found["non_members"]))


def without_attack() -> None:
    """What stands where the headline attack would, if there is none."""
    st.info(
        "Risk cannot be shown here: no attack of this audit has a result for every model. The Attacks page says why, "
        "attack by attack, and which others can be added."
    )
    st.page_link("attacks.py", label="To the Attacks page", icon=":material/arrow_forward:")


def guarantees(now: Current) -> None:
    """What DP-SGD guarantees for the models that are trained already, where it was used."""
    for when, stage in (("before", now.trained), ("after", "defended")):
        if not now.has(stage) or not (now.folders[stage] / "privacy.json").is_file():
            continue
        given = now.values(stage, "privacy")
        whose = f", {when} the defence" if now.config.defence else ""
        alone = given.get("covers") == "fine-tuning"
        limit = " It covers the fine-tuning alone: the weights that this started from had seen the members."
        st.markdown(f"**Guarantee of DP-SGD**{whose}: {shown(given)}.{limit if alone else ''}")
