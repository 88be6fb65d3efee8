"""Trade-off: what each defence costs in test accuracy and buys in privacy, over whole sweeps of experiments."""

from __future__ import annotations

from functools import partial

import pandas as pd
import streamlit as st

from core.attacks import ATTACKS
from core.config import BadInput
from core.experiment import Experiment, parse, summary
from core.figures import numbers as n
from core.figures.methods import RISKS
from core.figures.roc import FEW
from core.metrics import common_accuracy
from core.sweeps.listing import sweeps
from core.sweeps.sweep import Sweep, points
from pages import experiments, frame, trade_off_new
from pages import trade_off_panels as panels
from pages import trade_off_words as words
from pages.attack_words import FPRS
from pages.trade_off_picture import in_colour, picture, prepared
from pages.trade_off_state import done_of, state, table_of


def choose(known: dict[str, Sweep]) -> str | None:
    """The sweep to show, from the link, the choice or the newest; None where there is none yet."""
    if not known:
        return None
    asked = st.query_params.get("sweep")
    if asked and asked not in known:
        st.warning(f"There is no comparison {asked} in this store; the newest one is shown instead.")
    keys = list(known)
    # Streamlit forgets a widget once its page is left
    start = next((name for name in (asked, st.session_state.get("sweep-shown")) if name in keys), keys[0])
    key = st.selectbox(
        "Comparison",
        keys,
        keys.index(start),
        format_func=lambda k: f"{words.name_of(known[k])} · {k[:6]}",
        key="sweep",
        help="All comparisons (sweeps) of this store, the latest first.",
    )
    st.query_params["sweep"] = st.session_state["sweep-shown"] = key
    return key


def table_below(key: str, sweep: Sweep, table: pd.DataFrame, means: pd.DataFrame, risks: list[str]) -> None:
    """Every point in numbers, the way to its experiment without a mouse; all models as CSV."""
    st.subheader("Every point in numbers", anchor=False)
    cells = words.cells(means, risks)
    st.dataframe(
        cells,
        hide_index=True,
        height=min(420, 38 + 35 * len(cells)),
        column_config={"method": frame.NAMES},
    )
    names = {row["experiment"]: f"{row['method']} {row['label']}".strip() for row in means.to_dict("records")}
    now = st.session_state.get("experiment")
    left, right = st.columns([3, 1], vertical_alignment="bottom")
    with left:
        chosen = st.selectbox(
            "One point in detail",
            list(names),
            index=list(names).index(now) if now in names else 0,
            format_func=lambda name: f"{names[name]} · {name[:6]}",
            help="With several seeds, the experiment of the first one.",
        )
    with right:
        shown = chosen == now
        st.button(
            "On all pages" if shown else "Show it on all pages",
            on_click=partial(experiments.show, chosen),
            disabled=shown,
        )
    st.download_button(
        "All models as CSV",
        lambda: table.to_csv(index=False),
        f"{sweep.name.replace(' ', '-')}-{key[:6]}.csv",
        "text/csv",
        icon=":material/download:",
        on_click="ignore",
    )


def details(sweep: Sweep, base: Experiment) -> None:
    """How the numbers came about."""
    st.markdown(
        f"{n.count(sweep.repeats)} experiment{'s' * (sweep.repeats != 1)} per point, each with its own seed: "
        "another split, other initial weights, another batch order. Several seeds: mean and Student's t interval "
        "(95 %). One seed: the intervals of its audit (Clopper–Pearson for accuracy and TPR, DeLong for AUC)."
    )
    st.markdown(
        "**Pareto front**: the points that no other one, the undefended model included, beats on both axes. "
        "**Hypervolume**: with accuracy $a_i$ and risk $\\rho_i$ scaled to the box,"
    )
    st.latex(r"\mathrm{HV}=\left|\bigcup_i\,[0,a_i]\times[\rho_i,1]\right|\in[0,1]")
    st.markdown(
        "computed per seed, over the seeds that have all points of a line. **Risk at matched accuracy**: linear "
        "between neighbouring measured points of a line, never beyond its ends. Paired panels subtract models of "
        "the same seed. The empirical ε is a lower bound that one attack implies, heuristic for one run; the "
        "guaranteed ε is that of the accountant of DP-SGD."
    )
    data = base.data
    st.caption(
        f"{data.kind}, {n.count(data.members)} members, {n.count(data.non_members)} non-members per experiment; "
        f"seeds from {base.seed} on. The same from the command line: save this as sweep.json, run "
        "`python -m core sweep sweep.json`."
    )
    st.code(sweep.model_dump_json(indent=1), language="json", height=200)


def page(key: str, sweep: Sweep) -> None:
    """One sweep, top to bottom."""
    try:
        every = points(sweep)
        done = done_of(key, sweep)
    except BadInput as error:
        st.error(str(error))
        return
    state(key, sweep, done)
    if not done:
        st.info("No experiment is finished yet. The first ones appear here as soon as they are.")
        return
    ran = list(summary(experiments.open_store(), done[0])["before"]["attacks"])
    left, right = st.columns([1, 2])
    attack = left.selectbox("Attack", ran, format_func=lambda name: ATTACKS[name.split(":")[0]].title) if ran else ""
    table = table_of(str(experiments.open_store().root), key, attack, done, sweep)
    risks = [risk for risk in RISKS if risk in table and table[risk].notna().any()]
    if not risks:
        frame.without_attack()
        return
    risk = right.segmented_control(
        "Measure of risk",
        risks,
        default=risks[0],
        format_func=lambda name: RISKS[name].title,
        required=True,
        wrap=True,
        help="Empirical ε: a lower bound that the attack implies. Guaranteed ε: an upper bound, by DP-SGD alone.",
    )
    axis = words.axis_of(sweep)
    shown, means, before = prepared(table, axis, risk, risks)
    if means.empty:
        st.info("No experiment with this measure is finished yet.")
        return
    names = list(dict.fromkeys(str(point.label.get("method", "sweep")) for point in every))
    methods = in_colour(key, names, means)
    at = (key, attack, risk, done)  # what the figures depend on
    attacker = words.attacker(ATTACKS[attack.split(":")[0]].title, shown) if attack else ""
    picture(at, means, before, risk, attacker, methods)
    st.subheader("What to notice", anchor=False)
    place = st.container()
    target = common_accuracy(means, risk=risk)
    if words.lines(means):
        target = panels.target(key, target)
    told = words.findings(shown, means, before, risk, target)
    others = every[0].experiment.data.non_members
    if risk in FPRS and others < FPRS[risk][1] * FEW:
        told.append(
            f"**Not resolvable**: {n.count(others)} non-members leave fewer than {FEW} false positives at "
            f"{FPRS[risk][0]} FPR; read no order from this axis."
        )
    place.markdown("\n".join(f"- {sentence}" for sentence in told))
    table_below(key, sweep, table, means, risks)
    panels.along(at, means, before, axis=axis, risk=risk, attack=attacker, methods=methods)
    panels.crossed(
        at, shown, means, list(dict.fromkeys(name for point in every for name in point.label)), risk, attacker
    )
    panels.paired(at, shown, methods, risk, attacker)
    frame.folded("How these numbers are computed", partial(details, sweep, every[0].experiment))
    st.page_link("attacks.py", label="The current experiment's attacks in detail", icon=":material/arrow_forward:")


frame.header(
    "Trade-off",
    "Which defence, how strong, at what price? Test accuracy against the success of an attack, over many experiments.",
)
now = experiments.current()
known = dict(sweeps(experiments.open_store()))
top = st.container()
trade_off_new.draw(now.config if now else parse({}), open=not known)  # what it starts is what the choice above shows
with top:
    shown_key = choose(known)
if shown_key is None:
    st.info("No comparison yet. Choose above what to compare; results appear here as they finish.")
else:
    page(shown_key, known[shown_key])
