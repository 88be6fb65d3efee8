"""The form that starts a sweep: a ready-made one or any fields, what it comes to, what it will cost."""

from __future__ import annotations

import os
from typing import Any

import streamlit as st

from core import jobs
from core.config import BadInput
from core.estimate import Estimate
from core.experiment import Experiment
from core.figures import numbers as n
from core.machine import workers
from core.sweeps.cost import sweep_estimate
from core.sweeps.listing import remember
from core.sweeps.presets import PRESETS, ready
from core.sweeps.run import submit
from core.sweeps.sweep import Sweep, parse_sweep, points, values_of
from pages import experiments
from pages.trade_off_state import done_of

OWN = "own"
EXAMPLE = "defence.fraction = 0.01, 0.05, 0.2\ndefence.mode = A2, A3"


def draw(base: Experiment, *, open: bool) -> None:
    """The form in an expander; a sweep that is started becomes the one shown."""
    with st.expander("New comparison", icon=":material/add_chart:", expanded=open):
        st.caption(f"Variations of the current experiment, {experiments.title_of(base)}.")
        left, right = st.columns([3, 1])
        with left:
            what = st.selectbox("What to compare", [*PRESETS, OWN], format_func=_title, key="sweep-what")
        with right:
            seeds = st.number_input(
                "Seeds",
                min_value=1,
                max_value=100,
                value=3,
                key="sweep-seeds",
                help="How often everything is repeated, each time with another split, initial weights and batch order: "
                "the intervals come from it. Three are the least to trust.",
            )
        try:
            sweep = _own(base, int(seeds)) if what == OWN else _ready(what, base, int(seeds))
            _start(sweep)
        except BadInput as error:
            st.error(str(error), icon=":material/error:")


def read(text: str) -> dict[str, list[Any]]:
    """ "field = value, value" per line → field → values; raises BadInput for a line without values."""
    vary: dict[str, list[Any]] = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        field, equals, given = (part.strip() for part in line.partition("="))
        values = values_of(given)
        if not equals or not field or not values:
            raise BadInput(f"{line!r} is not a field and its values: write one such as {EXAMPLE.splitlines()[0]!r}")
        if field in vary:
            raise BadInput(f"{field} is there twice: put all its values in one line")
        vary[field] = values
    if not vary:
        raise BadInput("nothing is varied: name at least one field and its values")
    return vary


def _own(base: Experiment, seeds: int) -> Sweep:
    text = st.text_area(
        "Fields to vary, one per line",
        EXAMPLE,
        key="sweep-fields",
        help="Fields as on the command line (`python -m core run --help`) with their values, separated by commas. "
        "Every combination is a point; the values of the first field with numbers are joined by a line.",
    )
    name = st.text_input("Name", "own comparison", key="sweep-name", max_chars=80)
    return parse_sweep(
        {"name": name or "own comparison", "base": base.model_dump(mode="json"), "vary": read(text), "seeds": seeds}
    )


def _ready(what: str, base: Experiment, seeds: int) -> Sweep:
    st.markdown(PRESETS[what].question)
    return ready(what, base, seeds)


def _title(what: str) -> str:
    return "Any fields of the experiment" if what == OWN else PRESETS[what].title


@st.cache_data(max_entries=50, show_spinner=False)
def _cost(key: str, stored: int, _sweep: Sweep) -> Estimate:
    """The estimate, made again only when there is more in the store: for hundreds of points it takes a second."""
    del key, stored
    return sweep_estimate([point.experiment for point in points(_sweep)], experiments.open_store())


def _start(sweep: Sweep) -> None:
    """How many points, how long, and the button."""
    points(sweep)  # a point that cannot be is said before anything else
    store = experiments.open_store()
    whole = len(done_of(sweep.hash, sweep)) == sweep.size
    several = f": {n.count(sweep.size // sweep.seeds)} points, {sweep.seeds} seeds each" if sweep.seeds > 1 else ""
    told = f"**{n.count(sweep.size)} experiment{'s' * (sweep.size > 1)}**{several}"
    job = jobs.status(store, sweep.hash)
    there = whole or (job is not None and job.active)
    cost = _cost(sweep.hash, len(os.listdir(store.root)), sweep)
    with st.container(border=True):
        left, right = st.columns([1, 2], vertical_alignment="center")
        with right:
            st.markdown(told)
            if whole:
                st.caption("All of them are in the store.")
            elif there:
                st.caption("Under way.")
            elif cost.seconds is None:
                st.caption(f"Time not known yet: {cost.basis}.")
            elif not cost.parts:
                st.caption("Nothing left to train, only attacks.")
            else:
                st.markdown(f"About **{n.seconds(cost.seconds)}** of training, {workers()} at a time (estimate)")
                shared = n.seconds(cost.parts["shared"] / workers())
                part = f"{shared} of it for what several experiments share. " if cost.parts["shared"] else ""
                st.caption(f"{part}Start-up and attacks come on top. Basis: {cost.basis}.")
        with left:
            icon = ":material/visibility:" if there else ":material/play_arrow:"
            label = "Show it" if there else "Start"
            clicked = st.button(label, type="primary", icon=icon, key="sweep-start")
    if clicked:
        if there:
            remember(store, sweep)
        st.session_state["sweep"] = sweep.hash if there else submit(store, sweep)
        st.rerun()
