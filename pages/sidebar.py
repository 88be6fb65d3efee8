"""The sidebar below the navigation: which experiment the pages show, and what is running."""

from __future__ import annotations

import streamlit as st

from core import jobs
from core.config import BadInput
from core.experiment import config_of, title
from pages import experiments

RECENT = 30


def show() -> None:
    """The picker of recent experiments and a live line for a run under way."""
    with st.sidebar:
        listed = jobs.listing(experiments.open_store())
        now = st.query_params.get("experiment") or st.session_state.get("experiment")
        names = _recent(listed, now)
        if not names:
            return
        now = now or next(iter(names))
        if now not in names:
            names = {now: f"experiment {now}", **names}
        keys = list(names)
        chosen = st.selectbox("Experiment", keys, index=keys.index(now), format_func=names.get)
        if chosen != now:
            experiments.show(chosen)
            st.rerun()
        st.caption(f"`{now}`: the link in the address bar shows this experiment.")
        if any(job.active for job in listed):
            _running()


@st.fragment(run_every=2.0)
def _running() -> None:
    """What is under way, whichever experiment is shown."""
    for job in jobs.listing(experiments.open_store()):
        if job.active:
            under_way = next((s for s in job.stages if s.state == "running"), None)
            done = sum(s.state in ("done", "reused") for s in job.stages)
            text = title(under_way.key) if under_way else job.state
            share = under_way.done / under_way.total if under_way and under_way.total else 0
            st.progress(min(1.0, (done + share) / max(1, len(job.stages))), text=f"{text} · {job.key[:6]}")


def _recent(listed: list[jobs.JobStatus], now: str | None) -> dict[str, str]:
    """Hash → label of the newest experiments, running and finished; the current one first where it is older."""
    store = experiments.open_store()
    labels = _labels(str(store.root))
    names = {}
    keys = experiments.known(store, listed)[:RECENT]
    for key in [*([now] if now and now not in keys else []), *keys]:
        if key not in labels:
            try:
                config = config_of(store, key)
            except BadInput:
                continue
            if config is None:
                continue
            labels[key] = f"{experiments.title_of(config)} · {key[:6]}"
        names[key] = labels[key]
    return names


@st.cache_resource(show_spinner=False)
def _labels(root: str) -> dict[str, str]:
    """Hash → label of the experiments listed so far; a hash never changes its meaning, so each config is read once."""
    del root
    return {}
