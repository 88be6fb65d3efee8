"""Rewind: choose which weights go back to their initial values, see it at once, fine-tune the rest, compare."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import pandas as pd
import streamlit as st
from pydantic import ValidationError

from core.config import BadInput, explain
from core.data import Dataset
from core.defence import CWRF, Finetune, FineTuning, FromScratch, objective_of
from core.experiment import INDEX, Experiment, preview_stage, ranking_stage, selection, title
from core.figures import before_after, critical_counts, curves
from core.figures import numbers as n
from core.packing import packed
from core.progress import Progress
from core.store import read_json
from pages import experiments, forms, frame, scope, warm
from pages.experiments import Current
from pages.once import once
from pages.onion import onion

KINDS: dict[str, Any] = {"cwrf": CWRF, "fine-tuning": FineTuning, "scratch": FromScratch}
BUTTONS = {CWRF: "Rewind and fine-tune", FineTuning: "Fine-tune", FromScratch: "Train from scratch"}
SHOWN = 4
"""Most channels or features whose normalisation is written out."""
DRAWN = ("selection", "ranking", "base", "mode", "rewind_to", "rounds")

frame.header(
    "Rewind",
    "Send the weights that give members away back to their initial values, freeze them there, and fine-tune the rest.",
)


def controls(now: Current, layers: pd.DataFrame) -> Any:
    """The defence that the person set, or None with the reason on the page."""
    chosen = st.segmented_control(
        "What to do",
        list(KINDS),
        default=(now.config.defence or now.cwrf).kind,
        format_func=lambda kind: KINDS[kind].title,
        required=True,
        key=f"defence-kind-{now.key}",
        help="The last two are what a rewind has to beat: the same objectives without it.",
    )
    kind = KINDS[chosen]
    if kind is CWRF:
        return rewinding(now, layers)
    own = now.config.defence if isinstance(now.config.defence, kind) else None
    st.caption(str(kind.__doc__).split("\n")[0])
    return forms.validated(kind, forms.form(kind, own, key=f"{chosen}/{now.key}"))


def rewinding(now: Current, layers: pd.DataFrame) -> CWRF | None:
    """The rewind that the person set."""
    own = now.cwrf
    left, right = st.columns([3, 2])
    with left:
        fraction = scope.fraction_slider(now, "rewind")
    with right:
        names = list(dict.fromkeys(layers["region"]))
        regions = st.multiselect(
            "Regions in scope",
            names,
            scope.regions(now, names),
            placeholder="all regions",
            key=f"rewind-regions-{now.key}",
        )
        st.session_state["regions"] = regions
    tuning = frame.folded_fields(
        f"tune-{now.key}",
        tuning_in_words,
        own.finetune.model_dump(),
        lambda start: forms.form(Finetune, start, key=f"tune/{now.key}"),
    )
    given = frame.folded_fields(
        f"rewind-{now.key}",
        lambda start: "Which weights, where they go, and single layers",
        own.model_dump(),
        lambda start: finer(now, layers, start),
    )
    return forms.validated(CWRF, {**given, "finetune": tuning, "fraction": fraction, "regions": regions})


def tuning_in_words(value: dict[str, Any]) -> str:
    """How long, and with which objective."""
    return forms.told(
        Finetune, value, lambda f: f"Fine-tuning: {f.epochs} epochs of {f.objective.title}", "Fine-tuning"
    )


def finer(now: Current, layers: pd.DataFrame, start: dict[str, Any]) -> dict[str, Any]:
    """How weights are ranked, where they go, what is never rewound, and the shares of single layers."""
    given = forms.form(CWRF, start, key=f"rewind/{now.key}", only=DRAWN)
    if given["rewind_to"] == "early":
        given |= forms.form(CWRF, given, key=f"rewind/{now.key}", only=("early_epoch",))
    offered = [*dict.fromkeys(layers["type"]), *layers["name"]]
    given["exclude"] = st.multiselect(
        "Never rewind",
        offered,
        [name for name in start["exclude"] if name in offered],
        placeholder="nothing excluded: choose weight types or layers",
        key=f"rewind-exclude-{now.key}",
    )
    given["layer_fractions"] = overrides(now, layers, start["layer_fractions"])
    return given


def overrides(now: Current, layers: pd.DataFrame, start: dict[str, float]) -> dict[str, float]:
    """Own shares of single layers, typed into a table."""
    st.markdown("**Own share for single layers** (per cent; empty: the layer takes part in the ranking)")
    table = layers[["name", "region", "type", "count"]].copy()
    table["own"] = [100 * start.get(name, float("nan")) for name in table["name"]]
    edited = st.data_editor(
        table,
        hide_index=True,
        disabled=["name", "region", "type", "count"],
        height=220,
        placeholder="",
        key=f"rewind-layers-{now.key}",
        column_config={
            "name": "layer",
            "count": st.column_config.NumberColumn("weights", format="%d"),
            "own": st.column_config.NumberColumn("own share (%)", min_value=0.0, max_value=100.0, format="%.3g"),
        },
    )
    typed = edited.set_index("name")["own"].astype(float).dropna()
    return {str(name): share / 100 for name, share in typed.items()}


def at_once(experiment: Experiment, now: Current) -> pd.DataFrame | None:
    """How many weights of each layer would be rewound, without a job."""
    try:
        own = experiment.defence == now.config.defence and now.has("ranking")
        if own or experiment.defence.selection in INDEX:  # what is in the store needs no source files
            folder = now.folders["ranking" if own else "scores"]
        else:  # a rival rule ranks by something that is not scored in every experiment
            with st.spinner("Ranking the weights …", show_time=True):
                folder = now.store.ensure(ranking_stage(experiment), Progress())
        chosen = selection(folder, experiment.defence)
    except BadInput as error:
        st.error(str(error))
        return None
    total, scope = int(chosen["rewound"].sum()), int(chosen["count"].sum())
    if experiment.defence.rounds > 1:
        st.caption(f"In the first of {experiment.defence.rounds} rounds; the later ones depend on how it turns out.")
    st.markdown(f"#### {n.count(total)} of {n.count(scope)} weights ({n.fraction(total / scope)}) would be rewound")
    frame.draw(critical_counts(chosen.rename(columns={"name": "layer"})), "counts")
    return chosen


def with_group_norm(now: Current, defence: Any) -> None:
    """The way on where DP-SGD meets batch norm."""
    private = objective_of(defence).kind == "dpsgd" and getattr(now.config.model, "norm", "") == "batch"
    if not private or now.config.weights:
        return
    value = now.config.model_dump()
    model = value["model"] | {"norm": "group"}
    again = value | {"model": model, "defence": defence.model_dump(), "onion": False}
    try:
        experiment = Experiment.model_validate(again)
    except ValidationError as error:  # something else is wrong as well
        st.error(explain(error, Experiment))
        return
    if st.button(
        "Start over with group norm",
        icon=":material/restart_alt:",
        help="A new experiment: the undefended model is trained with group norm too, so that both can be compared.",
    ) and experiments.start(experiment):
        st.rerun()


def preview(experiment: Experiment, now: Current) -> None:
    """Accuracy and AUC of the rewound, not yet fine-tuned model, on request."""
    try:
        stage = preview_stage(experiment)
    except BadInput as error:  # the records have been moved since the experiment ran
        st.caption(f"Its accuracy before the fine-tuning cannot be checked: {error}.")
        return
    found = now.store.find(stage)
    missing = [title(needed.key).lower() for needed in stage.inputs.values() if now.store.find(needed) is None]
    if found is None and missing:  # a training belongs into a job, which can be cancelled
        st.caption(f"Its accuracy before the fine-tuning can be checked once a run has computed: {', '.join(missing)}.")
    elif found is None and check_button():
        with st.spinner("Rewinding and measuring …", show_time=True):
            try:
                found = now.store.ensure(stage, Progress())
            except BadInput as error:
                st.error(str(error))
    if found is not None:
        result = read_json(found / "preview.json")
        before = now.values("before", "metrics")
        accuracy = n.accuracy(*(result[f"test_accuracy{end}"] for end in ("", "_low", "_high")))
        auc = n.auc(result["auc"], result["auc_low"], result["auc_high"])
        st.markdown(
            f"Right after the rewind, before any fine-tuning: test accuracy **{accuracy}** "
            f"(trained model: {n.accuracy(before['test_accuracy'])}), loss attack AUC **{auc}**. "
            "Fine-tuning repairs the accuracy with the weights that stayed."
        )


def check_button() -> bool:
    """Whether somebody clicked it; the engine is imported while they make up their mind."""
    warm.engine()
    return st.button(
        "Check it before fine-tuning",
        icon=":material/visibility:",
        help="Rewinds the weights and measures accuracy and the loss attack at once, without any fine-tuning.",
    )


def outcome(now: Current) -> None:
    """Before and after of the current experiment's defence, with the paired test, the log and the download."""
    summary, headline = now.values("experiment", "summary"), now.headline
    st.markdown(in_words(now, summary, headline))
    rows = [frame.measured(now, "Test accuracy", "test_accuracy")]
    if headline:
        rows.append(frame.measured(now, f"Attack AUC, {now.result(headline)['title']}", "auc", headline))
    # audits of earlier versions do not have it
    if all("test_calibration_error" in now.values(when, "metrics") for when in now.audited):
        rows.append(frame.measured(now, "Calibration error (ECE), non-members", "test_calibration_error"))
    left, right = st.columns(2)
    with left:
        frame.draw(once(("outcome", now.key), partial(before_after, pd.concat(rows))), "outcome")
    with right:
        frame.headline_roc(now)
    frame.guarantees(now)
    frame.folded("How the defended model learned", partial(learned, now))
    download(now)
    st.page_link("attacks.py", label="Every attack and the most exposed records", icon=":material/arrow_forward:")


def learned(now: Current) -> None:
    """Loss and accuracy of the training that made the defended model."""
    for place, what in zip(st.columns(2), ("loss", "accuracy"), strict=True):
        with place:
            make = partial(curves, now.table("defended", "log"), what, now.minimised("defended"))
            frame.draw(once(("defended", now.key, what), make), f"defended-{what}")


def in_words(now: Current, summary: dict[str, Any], headline: str | None) -> str:
    """What the defence changed: the AUC of the headline attack, where there is one, and the test accuracy."""
    before, after = summary["before"], summary["after"]
    change = n.points(after["test_accuracy"] - before["test_accuracy"])
    if headline is None:
        return f"Test accuracy changed by **{change}**."
    test, found = summary["paired"][headline], now.result(headline)
    return (
        f"AUC of {found['title']} changed by **{n.difference(test['difference'])}** "
        f"[{n.difference(test['low'])}, {n.difference(test['high'])}] ({n.p_value(test['p_value'])}, paired DeLong on "
        f"the same {n.count(int(found['members'] + found['non_members']))} records), test accuracy by **{change}**."
    )


def download(now: Current) -> None:
    """The defended weights as a file, and what has to be put around them to get the model that was audited."""
    released = objective_of(now.config.defence).released
    if released:
        st.markdown(
            "The audit saw this model with replaced outputs, as it would be released. The file holds the bare weights: "
            "only the model wrapped as `core.defenses.hamp_output.RandomisedOutput(model, "
            f"key={json.dumps(released['key'])})` has the risk shown here."
        )
    dataset = Dataset.read(now.folders["data"], records=False)
    st.download_button(
        "Download the defended weights (safetensors)",
        data=partial(packed, now.folders["defended"], dataset, now.config, now.key),
        file_name=f"defended-{now.key}.safetensors",
        mime="application/octet-stream",
        icon=":material/download:",
        on_click="ignore",
        help="The header (`safetensors.safe_open(file, framework).metadata()`) holds, as JSON texts, what the weights "
        "need to be used: `model` (architecture), `classes`, `shape` of a record, `mean` and `std` of the "
        "normalisation, `released` (how outputs are replaced, or null) and `experiment`, the hash.",
    )
    what, scale = ("channel", ", of pixels from 0 to 1") if dataset.kind == "image" else ("feature", "")
    if len(dataset.mean) <= SHOWN:
        mean, std = (", ".join(map(n.plain, values.tolist())) for values in (dataset.mean, dataset.std))
        numbers = f"mean {mean}, std {std} (by {what}{scale})"
    else:
        numbers = f"mean and std of the {n.count(len(dataset.mean))} {what}s are in the file's header"
    st.caption(f"The network sees (x − mean) / std: {numbers}.")


def details() -> None:
    """The formula and its source."""
    st.markdown(
        "Weights are ranked by privacy vulnerability (PVE). Of the top share r, a mask $B_r$ is made, "
        "$B_f = 1 - B_r$, and"
    )
    st.latex(r"\theta_{rw} = B_f \odot \theta_{base} + B_r \odot \theta_{initial}")
    st.markdown(
        "The rewound weights then stay exactly where they are, whatever momentum and weight decay would do, and "
        "the others are fine-tuned: $g \\leftarrow B_f \\odot g$. A1 removes the weights instead of rewinding, A2 "
        "tunes only the rewound ones; both are there to see that it is the *location* of a weight that matters. "
        "Source: Fang and Kim, ICLR 2026 (arXiv 2603.13186)."
    )


now = frame.need(experiments.current(), "scores", "before")
frame.drawn_initial(now)
layers = now.table("scores", "layers")
defence = controls(now, layers)
experiment = None
if defence:
    try:
        changed = {"defence": defence.model_dump(), "onion": now.config.onion and isinstance(defence, CWRF)}
        experiment = Experiment.model_validate({**now.config.model_dump(), **changed})
    except ValidationError as error:  # of the whole, such as data that do not go with the objective
        st.error(explain(error, Experiment))
        with_group_norm(now, defence)
mine = experiment is not None and experiment.defence == now.config.defence
done = all(now.has(stage) for stage in ("data", "defended", "after", "experiment"))
if experiment and isinstance(defence, CWRF):
    if at_once(experiment, now) is not None:
        preview(experiment, now)
    elif not mine:
        experiment = None
if experiment:
    button = BUTTONS[type(experiment.defence)]
    if mine and done:
        st.subheader("Result", anchor=False)
        outcome(now)
        if isinstance(now.config.defence, CWRF):
            onion(now)
    elif mine and (now.job is not None or now.finished):
        st.subheader(button, anchor=False)
        frame.job_panel(now)
    elif st.button(button, type="primary", icon=":material/history:") and experiments.start(experiment):
        st.rerun()
elif now.job is not None and now.job.active:
    frame.job_panel(now)
if not mine and done:
    frame.folded(f"Result of the experiment shown so far: {experiments.title_of(now.config)}", partial(outcome, now))
if experiment:
    frame.folded("What a rewind does", details)
