"""The form that starts a sweep: a ready-made one or any fields, what it comes to, what it will cost."""

from __future__ import annotations

import json
import os
from typing import Any

import streamlit as st
from pydantic import ValidationError

from core.attacks.shadows import workers
from core.config import BadInput, explain
from core.estimate import Estimate
from core.experiment import Experiment
from core.figures import numbers as n
from core.presets import PRESETS
from core.sweep import Sweep, parse_sweep, points, submit
from core.sweep_cost import sweep_estimate
from pages import frame

OWN = "own"
EXAMPLE = "defence.fraction = 0.01, 0.05, 0.2\ndefence.mode = A2, A3"


def draw(base: Experiment, *, open: bool) -> None:
    """The form in an expander; a sweep that is started becomes the one shown."""
    with st.expander("New comparison", icon=":material/add_chart:", expanded=open):
        st.caption(f"It varies the current experiment: {frame.title_of(base)}.")
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
                help="Every point is trained so many times, with its own split, initial weights and batch order.",
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
        values = [_value(part.strip()) for part in given.split(",") if part.strip()]
        if not equals or not field or not values:
            raise BadInput(f"{line!r} is not a field and its values: write one such as {EXAMPLE.splitlines()[0]!r}")
        if field in vary:
            raise BadInput(f"{field} is there twice: put all its values in one line")
        vary[field] = values
    if not vary:
        raise BadInput("nothing is varied: name at least one field and its values")
    return vary


def _value(text: str) -> Any:
    """A number, true, false or null as in JSON ("none" too); anything else is text."""
    try:
        return None if text.lower() == "none" else json.loads(text)
    except ValueError:
        return text


def _own(base: Experiment, seeds: int) -> Sweep:
    text = st.text_area(
        "Fields to vary, one per line",
        EXAMPLE,
        key="sweep-fields",
        help="Dotted fields as on the command line (`python -m core run --help`) and their values, separated by commas;"
        " every combination is a point. Numbers of the first such field run along the lines.",
    )
    name = st.text_input("Name", "own comparison", key="sweep-name", max_chars=80)
    return parse_sweep(
        {"name": name or "own comparison", "base": base.model_dump(mode="json"), "vary": read(text), "seeds": seeds}
    )


def _ready(what: str, base: Experiment, seeds: int) -> Sweep:
    st.markdown(PRESETS[what].question)
    try:
        return PRESETS[what].make(base, seeds)
    except ValidationError as error:  # too many points
        raise BadInput(explain(error, Sweep)) from error


def _title(what: str) -> str:
    return "Any fields of the experiment" if what == OWN else PRESETS[what].title


@st.cache_data(max_entries=50, show_spinner=False)
def _cost(key: str, stored: int, _sweep: Sweep) -> Estimate:
    """The estimate, made again only when there is more in the store: for hundreds of points it takes a second."""
    del key, stored
    return sweep_estimate([point.experiment for point in points(_sweep)], frame.open_store())


def _start(sweep: Sweep) -> None:
    """How many points, how long, and the button."""
    points(sweep)  # a point that cannot be is said before anything else
    store = frame.open_store()
    cost = _cost(sweep.hash, len(os.listdir(store.root)), sweep)
    with st.container(border=True):
        left, right = st.columns([1, 2], vertical_alignment="center")
        with right:
            if cost.seconds is None:
                st.markdown(f"**{n.count(sweep.size)} points**, time not known yet")
                st.caption(f"{cost.basis[:1].upper()}{cost.basis[1:]}.")
            elif not cost.parts:
                st.markdown(f"**{n.count(sweep.size)} points**, nothing left to train")
            else:
                st.markdown(f"**{n.count(sweep.size)} points, about {n.seconds(cost.seconds)}** (estimate)")
                st.caption(
                    f"Trained once for several points: {n.seconds(cost.parts['shared'])}; for single points: "
                    f"{n.seconds(cost.parts['points'])}; {workers()} at a time. Basis: {cost.basis}. Start-up and "
                    "attacks come on top."
                )
        with left:
            clicked = st.button("Start", type="primary", icon=":material/play_arrow:", key="sweep-start")
    if clicked:
        st.session_state["sweep"] = submit(store, sweep)
        st.rerun()
