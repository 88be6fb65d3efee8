"""What every page shares: the store, the current experiment, its tables, its state, and how a figure is shown.

A page reads `current()`, asks for the stages it needs with `need(...)`, reads tables with `Current.table`, and draws.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st
from plotly.graph_objects import Figure

from core import jobs
from core.config import BadInput
from core.defence import CWRF, named, objective_of
from core.defenses import CrossEntropy
from core.defenses.dpsgd import shown
from core.experiment import Experiment, config_of, plan, title
from core.figures import CONFIG, caption_of, roc_figure
from core.figures.numbers import count, fraction, seconds
from core.store import Store, read_json
from core.sweep_list import in_sweeps
from pages.once import once

SHARED = ("fraction", "regions")
"""Choices that pages share about one experiment; another experiment starts with its own."""

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


@dataclass(frozen=True)
class Current:
    """The experiment that the pages show."""

    key: str
    """Its hash, as in the link."""
    config: Experiment
    store: Store

    @property
    def job(self) -> jobs.JobStatus | None:
        return jobs.status(self.store, self.key)

    @property
    def finished(self) -> bool:
        return (self.store.root / f"experiment-{self.key}").is_dir()

    @cached_property
    def folders(self) -> dict[str, Path]:
        """Where each stage's result lies or will lie. A finished experiment knows it without its source files."""
        known = self.store.root / f"experiment-{self.key}" / "stages.json"
        if known.is_file():
            return {name: self.store.root / folder for name, folder in read_json(known).items()} | {
                "experiment": known.parent
            }
        return {name: self.store.path(stage) for name, stage in plan(self.config).items()}

    def has(self, stage: str) -> bool:
        """Whether the stage belongs to this experiment and is finished."""
        return stage in self.folders and (self.folders[stage] / "stage.json").is_file()

    @property
    def trained(self) -> str:
        """Key of the stage that gave the model before the defence."""
        return "load" if self.config.weights else "train"

    @property
    def cwrf(self) -> CWRF:
        """The rewind of this experiment, or the default one where it has none."""
        own = self.config.defence
        return own if isinstance(own, CWRF) else CWRF(base="trained" if self.config.weights else "pve")

    @property
    def audited(self) -> tuple[str, ...]:
        """The finished audits: of the model before the defence, after it, or both."""
        return tuple(when for when in ("before", "after") if self.has(when))

    @property
    def headline(self) -> str | None:
        """The attack that pages put first: the first of the audit's that has a result in every finished audit.

        None where no attack applied, or none to all of the models.
        """
        ran = []
        for when in self.audited:
            table = self.table(when, "attacks")
            ran.append(set(table[(table["group"] == "all") & table["auc"].notna()]["attack"]))
        return next((name for name in self.config.audit.attacks if ran and all(name in found for found in ran)), None)

    def result(self, attack: str, when: str = "before") -> pd.Series:
        """What one audit found with an attack on all its records; its `title` says whether the attack was adaptive."""
        table = self.table(when, "attacks")
        return table[(table["attack"] == attack) & (table["group"] == "all")].iloc[0]

    def minimised(self, stage: str) -> str:
        """What a stage that trains minimises, in words; "" where that is plain cross-entropy."""
        if stage == "vulnerability":
            return "PVE"
        if stage == "defended":
            assert self.config.defence
            objective = objective_of(self.config.defence)
        elif stage == "train":
            objective = self.config.train.objective
        else:  # learnability is scored with cross-entropy
            return ""
        return "" if isinstance(objective, CrossEntropy) else objective.title

    def table(self, stage: str, name: str) -> pd.DataFrame:
        """A Parquet table of a finished stage; results never change, so it is read once."""
        # a shallow copy: pandas copies what a page changes (copy-on-write), so nobody changes what others see
        return _table(str(self.folders[stage] / f"{name}.parquet")).copy(deep=False)

    def values(self, stage: str, name: str) -> dict[str, Any]:
        """A JSON file of a finished stage."""
        return _values(str(self.folders[stage] / f"{name}.json"))


@st.cache_resource
def open_store() -> Store:
    """The store of this server; raises BadInput where it cannot be used."""
    return Store()


@st.cache_resource(max_entries=200, show_spinner=False)
def _table(path: str) -> pd.DataFrame:
    return pd.read_parquet(path)


@st.cache_data(max_entries=200, show_spinner=False)
def _values(path: str) -> dict[str, Any]:
    return read_json(Path(path))


def current() -> Current | None:
    """The experiment named in the link, else the one of this session, else the newest of the store.

    Keeps the link in step. An unknown hash in the link is said on the page, which then stops.
    """
    store = open_store()
    asked = st.query_params.get("experiment")
    key = asked or st.session_state.get("experiment") or next(iter(known(store)), None)
    if key is None:
        return None
    try:
        config = config_of(store, key)
    except BadInput as error:
        st.error(f"Experiment {key} cannot be read: {error}", icon=":material/error:")
        st.stop()
    if config is None:
        _unknown(store, key)
    st.session_state["experiment"] = key
    if asked != key:
        st.query_params["experiment"] = key
    return Current(key, config, store)


def show(key: str) -> None:
    """Make another experiment the current one, from the next run of the page on."""
    for name in SHARED:
        st.session_state.pop(name, None)
    st.session_state["experiment"] = key
    st.query_params["experiment"] = key


def start(experiment: Experiment) -> str | None:
    """Start (or find) an experiment as a job and make it current; None, with the reason on the page, if it cannot."""
    store = open_store()
    try:
        key = experiment.hash
        if not (store.root / f"experiment-{key}").is_dir():
            jobs.submit(store, experiment.model_dump(mode="json"), key)
    except BadInput as error:
        st.error(str(error), icon=":material/error:")
        return None
    show(key)
    return key


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
        st.info("This experiment was never finished and no run is known. Start it to compute what is missing.")
        resume_button(now, "Start")
        return
    if job.active:
        st.fragment(run_every=1.0)(_live)(now, tuple(now.has(key) for key in now.folders))
        return
    _stages(job)
    words = {
        "failed": f"It stopped with an error: {job.error}",
        "interrupted": "The process was stopped from outside. Finished stages are kept; resuming computes the rest.",
        "cancelled": "It was cancelled. Finished stages are kept; resuming computes the rest.",
    }
    said = words.get(job.state, "Some of its results are no longer in the store. Starting it again computes them.")
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
        st.caption("Waiting for a free slot: another run is using this machine.")
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


def draw(figure: Figure, key: str, caption: bool = True) -> None:
    """A figure and, below it, the sentence that says what to notice (always there for readers who cannot see it)."""
    text = caption_of(figure)
    st.plotly_chart(figure, config=CONFIG, key=key, alt=text or None)
    if caption and text:
        st.caption(text)


@st.fragment
def parts(key: str, drawn: dict[str, Callable[[], None]]) -> None:
    """Parts of a page side by side, of which the open one alone is computed and drawn: the browser draws for most of
    the time that a page takes. The open part is in the link.

    drawn: name of the part → what draws it.
    """
    for tab, draw_it in zip(st.tabs(list(drawn), key=key, bind="query-params"), drawn.values(), strict=True):
        if tab.open:
            with tab:
                draw_it()


@st.fragment
def folded(label: str, draw_it: Callable[[], None], icon: str | None = None) -> None:
    """A part that is computed and drawn once it is unfolded."""
    with st.expander(label, icon=icon, key=f"folded-{label}", on_change="rerun") as box:
        if box.open:
            draw_it()


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


def roc(now: Current, attack: str, log: bool = False) -> None:
    """The attack's ROC in every finished audit."""
    key = ("roc", now.key, attack, now.audited, log)
    draw(once(key, partial(_roc, now, attack, log)), "roc")


def _roc(now: Current, attack: str, log: bool) -> Figure:
    found = now.result(attack)
    table = pd.concat([now.table(when, "curves").assign(when=when) for when in now.audited])
    table = table[table["attack"] == attack].assign(attack=found["title"])
    return roc_figure(table, log, int(found["non_members"]))


def without_attack() -> None:
    """What stands where the headline attack would, if there is none."""
    st.info(
        "Risk cannot be shown here: no attack of this audit has a result for every model. The Attacks page says why, "
        "attack by attack, and which others can be added."
    )
    st.page_link("attacks.py", label="To the Attacks page", icon=":material/arrow_forward:")


def read_stage(folder: Path) -> dict[str, Any]:
    """stage.json of a finished stage: what it was made from, versions, seconds."""
    return _values(str(folder / "stage.json"))


def title_of(config: Experiment) -> str:
    """One line that tells experiments apart: what was done, data and model; lists cut its end off."""
    done = named(config.defence)
    if isinstance(config.defence, CWRF):
        done += f", r = {fraction(config.defence.fraction)}"
    return f"{done} · {config.data.kind} · {config.model.kind}"


def guarantees(now: Current, summary: dict[str, Any]) -> None:
    """What DP-SGD guarantees for the models of a finished experiment, where it was used."""
    for when in ("before", "after"):
        given = (summary[when] or {}).get("privacy")
        if given:
            alone = given.get("covers") == "fine-tuning"
            limit = " It covers the fine-tuning alone: the weights that this started from had seen the members."
            st.markdown(f"**Guarantee of DP-SGD**, {when} the defence: {shown(given)}.{limit if alone else ''}")


def facts(now: Current) -> str:
    """The experiment's numbers in one small line: n, seed, adaptivity."""
    data = now.config.data
    return (
        f"{count(data.members)} members, {count(data.non_members)} non-members, seed {now.config.seed}, "
        f"experiment {now.key}"
    )


def known(store: Store, listed: list[jobs.JobStatus] | None = None) -> list[str]:
    """Hashes of all experiments of the store, begun or finished, the latest first, those of sweeps behind the others.

    listed: the store's jobs, if at hand.
    """
    times = {job.key: job.submitted for job in (jobs.listing(store) if listed is None else listed) if job.kind == "run"}
    own = set(times)
    for path in store.root.glob("experiment-*"):
        times.setdefault(path.name.removeprefix("experiment-"), path.stat().st_mtime)
    # the hundreds of points of a sweep must not push out what a person asked for
    last = in_sweeps(store) - own
    return sorted(times, key=lambda key: (key not in last, times[key]), reverse=True)


def _unknown(store: Store, key: str) -> None:
    st.error(
        f"There is no experiment {key} in the store {store.root}. The link may come from another machine, or the "
        "store was cleared.",
        icon=":material/link_off:",
    )
    newest = next(iter(known(store)), None)
    if newest and st.button("Show the newest experiment instead"):
        show(newest)
        st.rerun()
    st.stop()
