"""The Load tab: weights and records that somebody brings, checked before anything starts."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from core.config import BadInput
from core.data import DATA
from core.data.brought import has_member_column, kind_of, merge
from core.data.config import DataConfig
from core.data.facts import facts, suggested_sizes
from core.experiment import Experiment, LoadedWeights
from core.figures.numbers import count
from core.models import MODELS
from core.store import digest
from pages import experiments, forms, frame, warm
from pages import model_parts as parts
from pages.experiments import Current
from pages.uploads import say, uploaded

WEIGHTS = ["safetensors", "pt", "pth"]
BUILT_IN, TWO, ONE = "Built-in set and row numbers", "Two Parquet files", "One Parquet file with a column member"
SIZES = ("members", "non_members", "reference", "population", "seed")


def draw(now: Current | None) -> None:
    """Weights, records, architecture; then the check, and the start."""
    base = now.config if now else Experiment()
    st.markdown(
        "Bring a trained network of one of the architectures here and the records it was trained on. It is audited "
        "as it is, its weights are scored, and every page then works as for a network trained here."
    )
    warm.engine()  # what is uploaded is checked at once
    weights = _weights()
    data = _data()
    if data is None:
        return
    model = parts.architecture(base, data.kind, "load-model")
    frame.folded("Names and shapes that the files of weights need", partial(_names, data, model))
    recipe = parts.recipe(base, data.kind, model["kind"], "load")
    st.caption(
        "The recipe is that of the two scoring runs and of the fine-tuning: best the one the network was trained with."
    )
    if "trained" not in weights:
        st.info("Upload the trained weights to go on.")
        return
    value = parts.carried(base, model) | {"model": model, **recipe, "weights": weights}
    rewinds = value["defence"] and value["defence"]["kind"] == "cwrf"
    if rewinds:
        value["defence"]["base"] = "trained"
    experiment = forms.validated(Experiment, value | {"data": data.model_dump()})
    if experiment and parts.possible(experiment) and _fits(experiment):
        if rewinds:
            st.caption("The weights that are not rewound stay as you brought them (defence.base: trained).")
        parts.start(experiment, "Load, score and audit", "load")


def _weights() -> dict[str, Any]:
    """LoadedWeights as a dict, without `trained` while there is no file."""
    with st.container(border=True):
        st.markdown("**Weights**")
        left, right = st.columns(2)
        with left:
            trained = uploaded(
                "Trained weights",
                "trained",
                WEIGHTS,
                "safetensors, or torch.save(model.state_dict(), …). A file that would have to run code is refused.",
            )
        with right:
            initial = uploaded(
                "Initial weights (optional)",
                "initial",
                WEIGHTS,
                "The weights from which the training started, in the same formats.",
            )
        given: dict[str, Any] = {"initial": initial} | ({"trained": trained} if trained else {})
        if initial is None:
            st.markdown(
                "Without initial weights, rewinding sends the critical weights to a **fresh random initialisation "
                "that your network never started from**. Which weights are critical is still found by the two scoring "
                "runs, which start from that initialisation; but “initial” is then not your network's own, and the "
                "scores are those of another training than yours. Another seed gives another initialisation."
            )
            start = {"trained": Path("-"), **given}
            given["initial_seed"] = forms.form(LoadedWeights, start, "load-weights", only=("initial_seed",))[
                "initial_seed"
            ]
        return given


def _names(data: DataConfig, model: dict[str, Any]) -> None:
    """What a file of weights for this architecture and these records must hold."""
    st.markdown(
        "The keys of the state dict; ResNet-18 and ViT follow torchvision's names (`resnet18`, `VisionTransformer`), "
        "with a stem for small images. A prefix `module.` of data-parallel training is taken off."
    )
    config = forms.validated(MODELS[model["kind"]], model)
    if config is None:
        return
    try:
        found = facts(data)
        table = _expected(config.model_dump_json(), found.shape, found.classes)
    except BadInput as error:
        say(error)
        return
    st.dataframe(table, hide_index=True, height=320, alt="Names and shapes of the expected tensors")


@st.cache_data(max_entries=20, show_spinner="Listing the weights …")
def _expected(model: str, shape: tuple[int, ...], classes: int) -> pd.DataFrame:
    from core.brought import expected

    value = json.loads(model)
    config = MODELS[value["kind"]].model_validate(value)
    return pd.DataFrame(expected(config, shape, classes), columns=["name", "shape"])


# ---- records


def _data() -> DataConfig | None:
    """The data's config, or None with what is missing or wrong on the page."""
    with st.container(border=True):
        st.markdown("**Records**")
        source = st.radio(
            "Where the records come from",
            [BUILT_IN, TWO, ONE],
            horizontal=True,
            key="load-source",
            index=[BUILT_IN, TWO, ONE].index(st.session_state.get("load-source-kept", BUILT_IN)),
        )
        st.session_state["load-source-kept"] = source
        try:
            value = {BUILT_IN: _built_in, TWO: _two_files, ONE: _one_file}[source]()
            return _with_sizes(value) if value else None
        except BadInput as error:
            say(error)
            return None


def _built_in() -> dict[str, Any] | None:
    kinds = [kind for kind in DATA if kind not in ("images", "table")]
    names = {kind: getattr(DATA[kind], "names", {}).get(kind, DATA[kind].title) for kind in kinds}
    kept = st.session_state.get("load-kind-kept", kinds[0])
    kind = st.selectbox("Data set", kinds, kinds.index(kept), format_func=names.get, key="load-kind", width=300)
    st.session_state["load-kind-kept"] = kind
    rows = uploaded(
        "Row numbers of the members",
        "rows",
        ["json", "csv", "npz"],
        'JSON: {"members": [0, 5, …], "non_members": […]}; CSV: columns of these names; NPZ: arrays of these names. '
        "Counted from 0, train rows first, then test rows. non_members may be left out.",
    )
    if rows is None:
        st.caption("Upload the file with the row numbers the network was trained on.")
        return None
    return {"kind": kind, "member_indices": rows}


def _two_files() -> dict[str, Any] | None:
    about = "Columns label and img.bytes (images), or label and numeric features (table)."
    left, right = st.columns(2)
    with left:
        members = uploaded("Members", "members", ["parquet"], f"Records it was trained on. {about}")
    with right:
        non_members = uploaded("Non-members", "non-members", ["parquet"], f"Records it never saw. {about}")
    if not (members and non_members):
        st.caption("Both files are needed: without non-members no attack can be measured.")
        return None
    merged = _merged(str(members), str(non_members))
    return {"kind": kind_of(merged), "path": merged}


@st.cache_data(max_entries=20, show_spinner="Joining members and non-members …")
def _merged(members: str, non_members: str) -> Path:
    name = f"{Path(members).stem}-and-{Path(non_members).stem}.parquet"
    return experiments.open_store().upload(merge(Path(members), Path(non_members)), name)


def _one_file() -> dict[str, Any] | None:
    path = uploaded(
        "Members and non-members",
        "records",
        ["parquet"],
        "Columns member (true for records it was trained on), label, and img.bytes or numeric features.",
    )
    if path is None:
        return None
    if not has_member_column(path):
        raise BadInput(f"{path}: has no column member; add it, or give members and non-members as two files")
    return {"kind": kind_of(path), "path": path}


def _with_sizes(value: dict[str, Any]) -> DataConfig | None:
    """Split sizes and normalisation, starting from all members and a division of everybody else."""
    config = DATA[value["kind"]]
    value = {**value, "label_noise": 0.0}
    found = facts(config.model_validate(value))
    others = f"{count(found.outside)} other records"
    if found.non_members is not None:
        others += f", of which {count(found.non_members)} are listed as non-members"
    st.markdown(
        f"{count(found.members)} members and {others}; {found.classes} classes, records of "
        f"{'×'.join(map(str, found.shape))}. How they are divided:"
    )
    key = f"load-data-{digest({name: str(part) for name, part in value.items()})}"
    sizes = forms.form(config, value | suggested_sizes(found), key, only=SIZES)
    what = "channel, for pixels from 0 to 1" if len(found.shape) == 3 else "feature"
    st.markdown(
        f"Normalisation: the network sees (x − mean) / std. Give the numbers it was trained with, one for each {what}; "
        "left empty they are measured from these records. Wrong numbers show as a low accuracy in the check below."
    )
    normalisation = forms.form(config, value, f"{key}-normalisation", only=("mean", "std"))
    return forms.validated(config, sizes | {name: normalisation[name] for name in ("mean", "std")})


# ---- check


def _fits(experiment: Experiment) -> bool:
    """Whether weights, architecture and data belong together, with what was found or the first difference."""
    wanted = experiment.model_dump_json(include={"data", "model", "weights"})
    fits, told = _checked(wanted)
    if not fits:
        say(told[0])
        return False
    st.success("\n".join(f"- {sentence}" for sentence in told), icon=":material/check_circle:")
    return True


@st.cache_data(max_entries=50, show_spinner="Checking the weights …")
def _checked(wanted: str) -> tuple[bool, list[str]]:
    from core.brought import check

    try:
        return True, check(Experiment.model_validate_json(wanted))
    except BadInput as error:
        return False, [str(error)]
