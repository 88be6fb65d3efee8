"""What this audit left out and why, and the form that runs attacks with more reference models."""

from __future__ import annotations

import inspect
import os

import pandas as pd
import streamlit as st

from core.attacks import ATTACKS
from core.attacks.ahead import cannot_run
from core.attacks.design import unequal
from core.attacks.shadows import ShadowConfig
from core.audit import REFERENCES, AuditConfig
from core.config import BadInput
from core.estimate import missing_references
from core.experiment import Experiment, parse, title
from core.figures import numbers as n
from core.machine import workers
from pages import experiments, forms, frame
from pages import model_parts as parts
from pages.experiments import Current

FIRST = 8
"""Reference models that the form offers where there are none: enough for RMIA, a start for LiRA."""
ADD = "Add reference models"


def asks(attack: str) -> str:
    """An attack's question in one line, from the docstring of its class."""
    return inspect.cleandoc(ATTACKS[attack].__doc__ or "").split("\n\n")[0].replace("\n", " ")


def not_run(now: Current, missed: pd.DataFrame) -> None:
    """Attacks without a result, greyed out: those that could not run with the reason, those that nobody chose."""
    listed = [f"- :gray[{reason}]" for reason in dict.fromkeys(missed.filter(like="reason_").bfill(axis=1).iloc[:, 0])]
    offered = AuditConfig.model_json_schema()["properties"]["attacks"]["items"]["enum"]
    others = [name for name in offered if name not in now.config.audit.attacks]
    listed += [f"- :gray[**{ATTACKS[name].title}** was not chosen for this audit. {asks(name)}]" for name in others]
    if not listed:
        return
    with st.expander(f"Attacks not run: {len(listed)}", icon=":material/block:"):
        if not now.config.audit.shadows.models:
            st.markdown(f"Most of them need reference models, and this audit has none: **{ADD}** below.")
        elif others:
            st.markdown(f"Choose them under **{ADD}** below; models that are there are used again.")
        st.markdown("\n".join(listed))


def more(now: Current) -> None:
    """The form over the audit's settings, what it will cost, and the start."""
    st.markdown(
        "A reference model is the target's own pipeline trained on a random half of all audited records. It shows "
        "how sure a model is of a record it has seen, and of one it has not: without that, an attack cannot tell "
        "a memorised record from an easy one."
    )
    audit = _audit(now)
    if audit is None:
        return
    try:
        # not a copy: what the form says must also go with the rest of the experiment
        experiment = parse(now.config.model_dump(mode="json") | {"audit": audit.model_dump(mode="json")})
    except BadInput as error:
        st.error(str(error))
        return
    data = experiment.data
    note = unequal(references=(data.members + data.non_members) // 2, target=data.members)
    if note and audit.shadows.models and not experiment.weights:
        st.caption(f"Pools of unequal size: {note}. Results say so too.")
    if experiment.hash != now.key:
        _still_to_train(experiment)
    parts.start(experiment, "Run the attacks", f"audit-{now.key}")


def _audit(now: Current) -> AuditConfig | None:
    """What the form says; None, with the reason on the page, where it cannot be used."""
    base, key = now.config.audit, f"audit-{now.key}"
    offered = AuditConfig.model_json_schema()["properties"]["attacks"]["items"]["enum"]
    chosen = st.multiselect(
        "Attacks",
        offered,
        default=list(base.attacks),
        format_func=lambda name: ATTACKS[name].title,
        **frame.kept(now, "audit-attacks"),
        help="The first one is the headline of figures and tables.",
    )
    under_the_choice = st.container()
    with st.popover("What each attack asks", icon=":material/help:"):
        st.markdown("\n".join(f"- **{ATTACKS[name].title}**{_needs(name)}: {asks(name)}" for name in offered))
    start = base.shadows.model_dump() | {"models": base.shadows.models or FIRST}
    shadows = forms.form(ShadowConfig, start, f"{key}-shadows", exclude=("seed",))
    settings = forms.form(AuditConfig, base, key, exclude=("attacks", "shadows"))
    if not chosen:
        st.error("Choose at least one attack.")
        return None
    audit = forms.validated(AuditConfig, settings | {"attacks": tuple(chosen), "shadows": shadows})
    if audit and (left_out := cannot_run(now.config.model_copy(update={"audit": audit}))):
        told = "\n".join(f"- {reason}" for reason in left_out.values())
        head = f"{n.count(len(left_out), len(chosen))} cannot run on the trained model with the settings below:"
        under_the_choice.caption(f"{head}\n{told}")
    return audit


def _needs(name: str) -> str:
    return " (with reference models)" if ATTACKS[name].needs & REFERENCES else ""


def _still_to_train(experiment: Experiment) -> None:
    """How many reference models there are already, per pipeline."""
    try:
        missing = missing_references(experiment, experiments.open_store())
    except BadInput:
        return  # the start below says what is wrong with the files
    total = experiment.audit.shadows.models
    told = [
        f"{title(stage.key).lower()}: {n.count(total - count, total)} in the store"
        + (f", **{n.count(count)} to train**" if count else "")
        for stage, count in missing.items()
    ]
    if told:
        where = f" on {cluster}" if (cluster := os.environ.get("REWINDLAB_CLUSTER")) else ""
        at_once = f" {workers()} are trained at once{where}." if any(missing.values()) else ""
        st.markdown("; ".join(told).capitalize() + "." + at_once)
