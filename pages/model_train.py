"""The Train tab: data, architecture, recipe and seed, what it will cost, and the start."""

from __future__ import annotations

from typing import Any

import streamlit as st

from core.experiment import Experiment
from pages import forms
from pages import model_parts as parts
from pages.experiments import Current
from pages.uploads import uploaded

NOT_HERE = ("data.member_indices", "data.mean", "data.std")
"""Fields for models that somebody brings."""


def draw(now: Current | None) -> None:
    """The forms start from the current experiment, else from the demo."""
    base = now.config if now else Experiment()
    key = f"train-{now.key if now else 'first'}"
    data = _data(base, key)
    model = parts.architecture(base, data["kind"], f"{key}-model")
    recipe = parts.recipe(base, data["kind"], model["kind"], key)
    if data["kind"] in ("images", "table") and not data.get("path"):
        st.info("Give the path of a file on this machine, or upload one, to go on.")
        return
    value = parts.carried(base, model) | {"data": data, "model": model, **recipe}
    experiment = forms.validated(Experiment, value)
    if experiment and parts.possible(experiment):
        parts.start(experiment, "Train", key)


def _data(base: Experiment, key: str) -> dict[str, Any]:
    """The data's fields; for files also an upload, which goes before the path."""
    start = base.model_dump(include={"data"})
    start["data"] |= {"member_indices": None, "mean": (), "std": ()}
    data = forms.form(Experiment, start, f"{key}-data", only=("data",), exclude=NOT_HERE)["data"]
    if data["kind"] in ("images", "table"):
        types = ["parquet"] if data["kind"] == "images" else ["parquet", "csv", "npz"]
        about = "It is kept in the store and used instead of the path above."
        brought = uploaded("Or upload the file", f"train-{data['kind']}", types, about)
        if brought:
            data["path"] = brought
    return data
