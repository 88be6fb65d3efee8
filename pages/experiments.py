"""Which experiment the pages show, which ones the store knows, and how one is started."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from core import jobs
from core.config import BadInput
from core.defence import CWRF, named, objective_of
from core.defenses import CrossEntropy
from core.experiment import Experiment, complete, config_of, finished, plan
from core.figures.numbers import count, fraction
from core.store import Store, read_json
from core.sweeps.listing import in_sweeps

SHARED = ("fraction", "regions")
"""Choices that pages share about one experiment; another experiment starts with its own."""


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
        return finished(self.store, self.key)

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
    def whole(self) -> bool:
        """Whether all of its stages are finished and there; a finished experiment may have lost some since."""
        return all(self.has(stage) for stage in self.folders)

    @property
    def trained(self) -> str:
        """Key of the stage that gave the model before the defence."""
        return "load" if self.config.weights else "train"

    @property
    def drawn_initial(self) -> bool:
        """Whether the initial weights were drawn here for a network that somebody brought without its own."""
        return self.config.weights is not None and self.config.weights.initial is None

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


def open_store() -> Store:
    """The store of this server, made anew where somebody deleted it; raises BadInput where it cannot be used."""
    store = _store()
    if not (store.root / "jobs").is_dir():
        _store.clear()
        store = _store()
    return store


@st.cache_resource
def _store() -> Store:
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


def show(key: str | None) -> None:
    """Make another experiment, or none, the current one, from the next run of the page on."""
    for name in (*SHARED, "experiment"):
        st.session_state.pop(name, None)
    if key is None:
        st.query_params.pop("experiment", None)
        return
    st.session_state["experiment"] = key
    st.query_params["experiment"] = key


def start(experiment: Experiment) -> str | None:
    """Start (or find) an experiment as a job and make it current; None, with the reason on the page, if it cannot."""
    store = open_store()
    try:
        key = experiment.hash
        if not complete(store, experiment):
            jobs.submit(store, experiment.model_dump(mode="json"), key)
    except BadInput as error:
        st.error(str(error), icon=":material/error:")
        return None
    show(key)
    return key


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
    if st.button("Show the newest experiment instead" if newest else "Begin with an empty store"):
        show(newest)
        st.rerun()
    st.stop()


def read_stage(folder: Path) -> dict[str, Any]:
    """stage.json of a finished stage: what it was made from, versions, seconds."""
    return _values(str(folder / "stage.json"))


def title_of(config: Experiment) -> str:
    """One line that tells experiments apart: what was done, data and model; lists cut its end off."""
    done = named(config.defence)
    if isinstance(config.defence, CWRF):
        done += f", r = {fraction(config.defence.fraction)}"
    return f"{done} · {config.data.kind} · {config.model.kind}"


def facts(now: Current) -> str:
    """The experiment's numbers in one small line: n, seed, adaptivity."""
    data = now.config.data
    return (
        f"{count(data.members)} members, {count(data.non_members)} non-members, seed {now.config.seed}, "
        f"experiment {now.key}"
    )
