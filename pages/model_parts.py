"""Parts that training and loading share: architecture and recipe fields, the cost, and the start."""

from __future__ import annotations

from typing import Any

import streamlit as st

from core.config import BadInput
from core.data.facts import check_sizes, facts
from core.estimate import Estimate, estimate, measure
from core.experiment import Experiment, complete, title
from core.figures.numbers import seconds
from core.training import TrainConfig
from core.training.recipes import suggested
from pages import experiments, forms, frame
from pages.uploads import say

FIRST = ("epochs", "lr")
"""Fields of the recipe that are always in sight."""


def architecture(base: Experiment, data: str, key: str) -> dict[str, Any]:
    """The model's fields; tables start from an MLP, the only architecture that takes them."""
    start = base.model_dump(include={"model"})
    if data == "table" and base.model.kind != "mlp":
        start = {"model": {"kind": "mlp"}}
    return forms.form(Experiment, start, f"{key}-{'table' if data == 'table' else 'image'}", only=("model",))["model"]


def recipe(base: Experiment, data: str, model: str, key: str) -> dict[str, Any]:
    """`train` and `seed`; every pair of data and architecture has its own recipe, which starts from a sensible one."""
    known = (base.data.kind, base.model.kind) == (data, model)
    with st.container(border=True):
        st.markdown("**Training recipe**")
        st.caption(
            "As in the current experiment."
            if known
            else "A starting point for these data and this architecture; change the data or the architecture and "
            "another one is offered."
        )
        start = (base.train if known else suggested(data, model)).model_dump()
        name = f"{key}-recipe-{data}-{model}"
        first = forms.form(TrainConfig, start, name, only=FIRST)
        finer = frame.folded_fields(
            name, recipe_in_words, start, lambda then: forms.form(TrainConfig, then, name, exclude=FIRST)
        )
        seed = forms.form(Experiment, {"seed": base.seed}, f"{key}-seed", only=("seed",))["seed"]
    return {"train": finer | {field: first[field] for field in FIRST}, "seed": seed}


def recipe_in_words(value: dict[str, Any]) -> str:
    """The finer fields of a recipe in one line."""
    return forms.told(
        TrainConfig,
        value,
        lambda r: f"{r.optimizer}, {r.schedule} schedule, batches of {r.batch_size}, {r.objective.title}",
        "Optimizer, batches, objective",
    )


def carried(base: Experiment, model: dict[str, Any]) -> dict[str, Any]:
    """The fields these forms do not show, from the current experiment.

    The scope of its defence names regions and layers, which another architecture does not have.
    """
    value = base.model_dump(include={"importance", "defence", "audit"})
    if value["defence"] and model != base.model_dump()["model"]:
        value["defence"] |= {"regions": (), "layer_fractions": {}, "exclude": ()}
    return value


def possible(experiment: Experiment) -> bool:
    """Whether data, sizes and architecture go together; if not, the reason is on the page."""
    try:
        found = facts(experiment.data)
        check_sizes(experiment.data, found)
        experiment.model.fits(found.shape)
    except BadInput as error:
        say(error)
        return False
    return True


def start(experiment: Experiment, label: str, key: str) -> None:
    """What it will cost, and the button that starts it."""
    try:
        cost = estimate(experiment, experiments.open_store())
    except BadInput as error:
        say(error)
        return
    done, shown = _finished(experiment)
    with st.container(border=True):
        left, right = st.columns([1, 2], vertical_alignment="center")
        with left:
            clicked = st.button(
                "Show it" if done else label,
                type="primary",
                icon=":material/visibility:" if done else ":material/play_arrow:",
                key=f"{key}-start",
                disabled=shown,
            )
            if cost.seconds is None and st.button(
                "Measure on this machine",
                icon=":material/timer:",
                key=f"{key}-measure",
                help="Times a few steps of this architecture on random records of the same shape.",
            ):
                _measure(experiment)
        with right:
            if shown:
                st.caption("This is the experiment shown on this page. Change something to start another one.")
            else:
                _cost(cost)
    if clicked and experiments.start(experiment):
        st.rerun()


def _finished(experiment: Experiment) -> tuple[bool, bool]:
    """Whether the experiment has all its results, and whether it is the one on the page (finished or under way)."""
    return complete(experiments.open_store(), experiment), experiment.hash == st.session_state.get("experiment")


def _cost(cost: Estimate) -> None:
    if cost.seconds is None:
        st.markdown("**Time: not known yet**")
        st.caption(f"{_sentence(cost.basis)}. It can be measured in a few seconds, or just started.")
    elif not cost.parts:
        st.markdown("**Nothing to train**")
        st.caption(f"{_sentence(cost.basis)}.")
    else:
        st.markdown(f"**About {seconds(cost.seconds)} of training** (estimate)")
        parts = ", ".join(f"{title(stage)} {seconds(value)}" for stage, value in cost.parts.items())
        st.caption(f"{parts}. Basis: {cost.basis}. Start-up and attacks come on top.")


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _measure(experiment: Experiment) -> None:
    try:
        with st.spinner("Timing a few steps …", show_time=True):
            measure(experiment, experiments.open_store())
    except BadInput as error:
        say(error)
        return
    st.rerun()
