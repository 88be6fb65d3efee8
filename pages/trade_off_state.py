"""What is there of a sweep: its finished experiments, its process, live, and the way on where that has stopped."""

from __future__ import annotations

from functools import partial

import pandas as pd
import streamlit as st

from core import jobs
from core.experiment import finished
from core.figures import numbers as n
from core.figures.methods import ACCURACY, RISKS
from core.sweeps.results import results
from core.sweeps.run import submit
from core.sweeps.sweep import Sweep, points
from pages import experiments


@st.cache_data(max_entries=100, show_spinner=False)
def hashes(key: str, _sweep: Sweep) -> list[str]:
    """The experiments of a sweep, in order."""
    del key
    return [point.experiment.hash for point in points(_sweep)]


@st.cache_data(max_entries=50, show_spinner=False)
def table_of(root: str, key: str, attack: str, done: tuple[str, ...], _sweep: Sweep) -> pd.DataFrame:
    """The finished points of a sweep; results never change, so it is read again only when more are done."""
    del root, key, done
    table = results(experiments.open_store(), _sweep, attack)
    measured = [name for name in table if name.startswith((ACCURACY, *RISKS))]
    return table.astype(dict.fromkeys(measured, float))


def done_of(key: str, sweep: Sweep) -> tuple[str, ...]:
    """Which of the sweep's experiments are in the store."""
    store = experiments.open_store()
    return tuple(name for name in hashes(key, sweep) if finished(store, name))


def state(key: str, sweep: Sweep, done: tuple[str, ...]) -> None:
    """What the sweep's process is doing, live; the reason and a way on where it has stopped before the end."""
    store = experiments.open_store()
    job = jobs.status(store, key)
    if job is not None and job.active:
        st.fragment(run_every=1.0)(_live)(key, sweep, done)
        return
    missing = sweep.size - len(done)
    if not missing:
        return
    told = f"{n.count(len(done))} of {n.count(sweep.size)} experiments are finished"
    said = {
        "failed": f"It stopped with an error: {job.error.rstrip('.') if job else ''}.",
        "cancelled": "It was cancelled.",
        "interrupted": "Its process was stopped from outside.",
        "": "It was not started on this page; if it still runs, reload the page to see more.",
    }.get(job.state if job else "", "Some of its results are no longer in the store.")
    (st.error if job and job.state == "failed" else st.warning)(
        f"{told}. {said} Resuming computes only what is missing."
    )
    if st.button("Resume", icon=":material/play_arrow:", type="primary", key=f"resume-{key}"):
        submit(store, sweep)
        st.rerun()


def _live(key: str, sweep: Sweep, done: tuple[str, ...]) -> None:
    store = experiments.open_store()
    job = jobs.status(store, key)
    if job is None or not job.active or done_of(key, sweep) != done:
        st.rerun(scope="app")
    under_way = next((stage for stage in job.stages if stage.state == "running"), None)
    told = f"{n.count(len(done))} of {n.count(sweep.size)} experiments finished"
    if job.state == "queued":
        told += " · waiting for a free slot"
    elif under_way is None:
        told += " · starting"
    elif under_way.key == "shared":
        told += f" · first {under_way.text or 'what they share'}"
    st.progress(len(done) / sweep.size, text=told)
    st.button(
        "Cancelling …" if job.cancelling else "Cancel",
        icon=":material/cancel:",
        disabled=job.cancelling,
        key=f"cancel-{key}",
        on_click=partial(jobs.cancel, store, key, wait=False),
    )
