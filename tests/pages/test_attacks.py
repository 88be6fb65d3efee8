"""The attacks page on a small finished experiment, with and without a defence."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import streamlit
from streamlit.testing.v1 import AppTest

from core.attacks import evaluate
from core.attacks.comparison import side_by_side
from core.experiment import parse, plan, run, summary
from core.figures import numbers as n
from core.store import Store
from pages import attack_words as words
from tests.conftest import ROOT, SMALL
from tests.pages.conftest import unfold


def opened() -> AppTest:
    app = AppTest.from_file(str(ROOT / "pages/main.py"), default_timeout=60).run()
    app.switch_page("attacks.py").run()
    assert not app.exception
    return app


def said(app: AppTest) -> str:
    return "\n".join(m.value for m in [*app.markdown, *app.caption, *app.info])


def show_canaries(app: AppTest, group: str = "canaries", place: int = 0) -> None:
    """Turn the switch between all records and canaries of the table in this place."""
    switches = [switch for switch in app.get("button_group") if switch.label == "Records"]
    switches[place].set_value(group).run()
    assert not app.exception


def test_before_and_after(finished, finished_store):
    app = opened()
    store, experiment = finished
    summary = store.root / f"experiment-{experiment.hash}" / "summary.json"
    paired = pd.read_json(summary, typ="series")["paired"]["loss"]
    assert [m.label for m in app.metric][:2] == ["AUC before", "AUC after"]
    change = next(m for m in app.metric if m.label.startswith("Change"))
    assert change.value == f"{paired['difference']:+.3f}".replace("-", "−").replace("0.", ".", 1)
    text = said(app)
    excludes = paired["high"] < 0 or paired["low"] > 0
    assert f"The paired interval {'excludes' if excludes else 'includes'} 0" in text
    assert "Not resolvable with 100 non-members" in text and "1 % FPR leaves room for only 1 false positive (" in text
    assert "**Canaries** (12 mislabelled members against 10 mislabelled non-members)" in text
    (table,) = (t.value for t in app.dataframe)  # only the open part is drawn
    assert {"AUC before", "AUC after", "after − before", "adaptive attacker"} <= set(table)
    assert set(table["members + non-members"]) == {"120 + 100"} and table["attack"].is_unique
    show_canaries(app)
    (table,) = (t.value for t in app.dataframe)
    assert set(table["members + non-members"]) == {"12 + 10"}
    app.session_state["numbers"] = "TPR at 1 % FPR"
    (table,) = (t.value for t in app.run().dataframe)
    assert set(table["members + non-members"]) == {"12 + 10"}  # the choice holds for every table
    show_canaries(app, "all")
    (table,) = (t.value for t in app.dataframe)
    assert table["verdict"].iloc[0] == "not resolvable with 100 non-members"
    assert " / 120 = " in table["TPR before"].iloc[0]
    app.session_state["numbers"] = "TPR at 0.1 % FPR"
    (table,) = (t.value for t in app.run().dataframe)
    assert set(table["certified before"]) == {"cannot be certified"}
    app.session_state["attacks"] = "One attack"
    assert "Yeom 2018" in said(app.run())  # the attack's own docstring


def test_the_roc_has_both_kinds_of_axes(finished_store):
    app = opened()

    def axes() -> str:
        (figure,) = app.get("plotly_chart")  # of the page, only the ROC is drawn at first
        return json.loads(figure.proto.spec)["layout"]["xaxis"].get("type", "linear")

    assert axes() == "log"
    next(switch for switch in app.get("button_group") if switch.label == "Axes").set_value("linear").run()
    assert axes() == "linear"
    app.multiselect[0].set_value(["entropy", "correctness"]).run()
    assert axes() == "linear" and not app.exception  # the choice outlives another choice of attacks
    app.switch_page("overview.py").run()
    next(switch for switch in app.get("button_group") if switch.label == "Axes").set_value("log-log").run()
    assert not app.exception
    specs = [json.loads(figure.proto.spec)["layout"]["xaxis"].get("type") for figure in app.get("plotly_chart")]
    assert specs.count("log") == 1


def test_further_measures_have_their_interval_and_count(finished, finished_store):
    app = unfold(opened(), "Balanced accuracy")
    store, experiment = finished
    cells = next(t.value for t in app.dataframe if "empirical ε before" in t.value).set_index("attack")
    attacks = pd.read_parquet(store.path(plan(experiment)["before"]) / "attacks.parquet").set_index(["attack", "group"])
    row, shown = attacks.loc[("loss", "all")], cells.loc["Loss threshold"]
    assert shown["balanced accuracy before"].startswith(
        f"{100 * row['balanced']:.1f}\u00a0% [{100 * row['balanced_low']:.1f}"
    )
    assert shown["judged on"] == "60 + 50" and shown["threshold from"] == "the other half of the records"
    assert shown["empirical ε before"].startswith("≥ ") and " / 60 against " in shown["empirical ε before"]
    assert f"{row['one_run_correct']:.0f} / 40 guesses right" in shown["one-run ε before"]
    canaries = attacks.loc[("loss", "canaries")]
    assert "take it as a heuristic" in said(app)
    names = list(cells.columns)
    assert "exposure before" not in names
    show_canaries(app, place=1)
    cells = next(t.value for t in app.dataframe if "exposure before" in t.value).set_index("attack")
    assert cells.loc["Loss threshold"]["exposure before"].startswith(f"{canaries['exposure']:.3g} bits [")
    assert names.index("balanced accuracy after") == names.index("balanced accuracy before") + 1  # side by side


def test_choosing_attacks_and_records(finished_store):
    app = opened()
    app.multiselect[0].set_value(["gradient_norm", "entropy", "correctness"]).run()
    assert not app.exception and "**Gradient norm, white box**" in said(app)
    app.session_state["attacks"] = "One attack"
    app.run()
    next(box for box in app.main.selectbox if box.label == "Attack").set_value("correctness").run()
    assert not app.exception and "the gap attack" in said(app)
    who = next(group for group in app.get("button_group") if group.label == "Who")
    who.set_value("canaries").run()
    assert not app.exception
    unfold(app, "The same ")
    rows = next(t.value for t in app.dataframe if "canary" in t.value)
    assert set(rows["canary"]) == {"⚑ canary"} and (rows["label"] != rows["clean label"]).all()
    app.multiselect[0].set_value([]).run()
    assert not app.exception and app.metric[0].label == "AUC before"


def test_the_link_opens_the_part_that_was_open(finished_store):
    app = AppTest.from_file(str(ROOT / "pages/main.py"), default_timeout=60).run()
    app.switch_page("attacks.py")
    app.query_params["attacks"] = "One attack"
    app.run()
    assert not app.exception and "Yeom 2018" in said(app)


def test_choices_outlive_a_look_at_another_part(finished_store):
    app = opened()
    app.session_state["attacks"] = "One attack"
    app.run()
    next(box for box in app.main.selectbox if box.label == "Attack").set_value("correctness").run()
    next(group for group in app.get("button_group") if group.label == "Who").set_value("canaries").run()
    for part in ("In numbers", "One attack"):
        app.session_state["attacks"] = part
        app.run()
    assert next(box for box in app.main.selectbox if box.label == "Attack").value == "correctness"
    assert next(group for group in app.get("button_group") if group.label == "Who").value == "canaries"


def test_without_a_defence_the_audit_stands_alone(finished, tmp_path, monkeypatch):
    store = Store(shutil.copytree(finished[0].root, tmp_path / "alone"))
    experiment = parse(SMALL | {"defence": None})
    run(experiment, store)
    monkeypatch.setenv("REWINDLAB_STORE", str(store.root))
    streamlit.cache_resource.clear()
    app = AppTest.from_file(str(ROOT / "pages/main.py"), default_timeout=60)
    app.query_params["experiment"] = experiment.hash
    app.run()
    app.switch_page("attacks.py").run()
    streamlit.cache_resource.clear()
    assert not app.exception and "no defence" in said(app)
    assert [m.label for m in app.metric] == ["AUC before", "TPR at 1 % FPR"]
    assert not [c for t in app.dataframe for c in t.value if "after" in c]


def rows(**change) -> pd.DataFrame:
    """One attack on 400 + 400 records whose paired test is given."""
    scores = np.random.default_rng(0).normal(size=800) + (np.arange(800) < 400)
    found = evaluate(scores=scores, is_member=np.arange(800) < 400)
    one = pd.DataFrame([{"attack": "loss", "title": "Loss", "group": "all", "adaptive": True, **found}])
    return side_by_side(before=one, after=one, tests=pd.DataFrame([{"attack": "loss", "group": "all", **change}]))


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(-0.2, -0.1, "weakened"), (0.1, 0.2, "**stronger**"), (-0.1, 0.1, "may be chance")],
)
def test_the_verdict_follows_the_interval(low, high, verdict):
    table = rows(difference=(low + high) / 2, low=low, high=high, p_value=0.04)
    told = words.findings(table, "loss", ["before", "after"])
    assert verdict in told[0]
    assert any("1 % FPR leaves room for only 4 false positives (1\u00a0000" in sentence for sentence in told)


def test_an_attack_that_was_run_on_the_defended_model_only():
    table = rows(difference=-0.1, low=-0.2, high=0.0, p_value=0.05)
    one = {c.removesuffix("_after"): v for c, v in table.iloc[0].items() if not c.endswith("_before")}
    one |= {"attack": "lira:non-adaptive", "title": "LiRA (non-adaptive)", "adaptive": "non-adaptive"}
    before = pd.DataFrame(
        [{c.removesuffix("_before"): v for c, v in table.iloc[0].items() if not c.endswith("_after")}]
    )
    both = side_by_side(before=before, after=pd.concat([before, pd.DataFrame([one])]), tests=None)
    told = words.findings(both, "lira:non-adaptive", ["before", "after"])
    assert "was not run on both models" in told[0] and "does not know the defence" in told[-1]
    assert any(" 1 attacks " in sentence or "no attack" in sentence for sentence in told)  # none counts twice
    assert words.auc_table(both, ["before", "after"])["AUC before"].iloc[1].strip() == "–"
    cells = words.tpr_table(both, ["before", "after"], "tpr_01").iloc[1]
    assert cells["TPR before"] == cells["certified before"] == "–" and cells["TPR after"] != "–"
    assert cells["verdict"] == "not resolvable with 400 non-members"


@pytest.mark.parametrize("older", [False, True])
def test_a_non_adaptive_attack_is_compared_with_before_and_with_the_adaptive_one(audits, open_page, tmp_path, older):
    store, found = audits
    key, root = found["first missing"].hash, store.root
    value = summary(store, key)
    test = value["paired"]["rmia:non-adaptive"]
    gain = test["adaptive_minus_non_adaptive"]
    if older:  # as a store of an earlier version holds it: the page makes the tests itself
        root = shutil.copytree(store.root, tmp_path / "older")
        del value["paired"]["rmia:non-adaptive"]
        (root / f"experiment-{key}" / "summary.json").write_text(json.dumps(value))
    app = open_page(root, key, "attacks.py")
    app.multiselect[0].set_value(["rmia:non-adaptive"]).run()
    told = next(m.value for m in app.markdown if "**RMIA online (non-adaptive)**" in m.value)
    change, adaptive = (f"{n.difference(t['difference'])} [{n.difference(t['low'])}, " for t in (test, gain))
    assert f"Against the same attack before the defence: {change}" in told
    assert f"Adaptive minus this one: {adaptive}" in told
    assert "Of 2 attacks" in told  # RMIA counts once
    cells = app.dataframe[0].value.set_index("attack")
    assert cells["adaptive − non-adaptive"]["RMIA online (non-adaptive)"].startswith(adaptive)
    assert cells["adaptive − non-adaptive"]["RMIA online (adaptive)"] == "–"
    assert cells["after − before"]["RMIA online (non-adaptive)"].startswith(change)


def test_cells():
    row = rows(difference=-0.1, low=-0.2, high=0.0, p_value=0.05).iloc[0].to_dict()
    assert words.change(row) == "−.100 [−.200, +.000]"
    assert words.certified(row, "tpr_001", "before") == "cannot be certified"
    assert words.certified(row, "tpr_01", "before").endswith("at most 0 FP")
    assert words.adaptive(False) == "non-adaptive" and words.adaptive("needs no") == "needs no"
