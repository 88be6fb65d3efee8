"""The trade-off page: words from tables worked out by hand, and the page on a small finished sweep."""

from __future__ import annotations

import json
import shutil
import time

import numpy as np
import pandas as pd
import psutil
import pytest
import streamlit
from streamlit.testing.v1 import AppTest

from core.config import BadInput
from core.experiment import Experiment, run
from core.metrics import Box, over_seeds, pareto_front
from core.store import Store
from core.sweeps.cost import sweep_estimate
from core.sweeps.listing import remember
from core.sweeps.presets import PRESETS
from core.sweeps.sweep import MOST, Sweep, parse_sweep, points
from pages import trade_off_new, trade_off_picture
from pages import trade_off_words as words
from pages.trade_off_picture import picked, prepared
from tests.conftest import ROOT, SMALL

QUICK = SMALL | {"audit": {"attacks": ["loss", "mentr"], "gradient_records": 0}}
SWEEP = {"name": "small", "base": QUICK, "vary": {"defence.fraction": [0.05, 0.1, 0.4], "defence.mode": ["A2", "A3"]}}


def models(*rows) -> pd.DataFrame:
    """Rows (method, strength, seed, accuracy, auc) of single models."""
    table = pd.DataFrame(rows, columns=["method", "strength", "seed", "test_accuracy", "auc"])
    for name in ("test_accuracy", "auc"):
        table = table.assign(**{f"{name}_low": table[name] - 0.01, f"{name}_high": table[name] + 0.01})
    return table.assign(experiment=[f"{i:016x}" for i in range(len(table))], adaptive="no references")


def told(table: pd.DataFrame, before: pd.DataFrame, target: float = 0.8) -> str:
    means, base = over_seeds(table), over_seeds(before)
    front = pareto_front(
        accuracy=pd.concat([means["test_accuracy"], base["test_accuracy"]]), risk=pd.concat([means["auc"], base["auc"]])
    )
    means = means.assign(front=front[: len(means)], label=[words.label(s, "fraction r") for s in means["strength"]])
    return "\n".join(words.findings(table, means, base.assign(label=""), "auc", target))


BEFORE = models(("before", 0.0, 0, 0.84, 0.64))
TABLE = models(
    ("CWRF", 0.01, 0, 0.83, 0.60),
    ("CWRF", 0.1, 0, 0.78, 0.55),
    ("RelaxLoss", 1.0, 0, 0.82, 0.61),
    ("RelaxLoss", 2.0, 0, 0.76, 0.58),
    ("early", np.nan, 0, 0.70, 0.66),
)


def test_findings_by_hand():
    text = told(TABLE, BEFORE)
    assert "**CWRF** (r = 1\u00a0%) has the lowest attack AUC: .600 [.590, .610] at an accuracy of 83.0\u00a0%" in text
    assert "(undefended: .640 [.630, .650] at 84.0\u00a0% [83.0, 85.0])." in text
    assert "CWRF (2 of 2 points). Beaten everywhere: RelaxLoss and early." in text
    # CWRF: .83 · .8 + .78 · .1 = .742; RelaxLoss: .82 · .78 + .76 · .06 = .685; early: .7 · .68 = .476
    assert "attack AUC .500–1.000; more is better): CWRF .742; RelaxLoss .685; early .476. With one seed" in text
    # CWRF: .8 is two fifths of the way from .78 to .83; RelaxLoss: two thirds from .76 to .82
    assert (
        "**At the same test accuracy, 80.0\u00a0%**, attack AUC is: CWRF .570; RelaxLoss .600. Not reached by early"
        in text
    )
    assert "early (less accurate throughout)" in text
    assert "**One seed**" in text


def test_findings_do_not_praise_what_does_not_help():
    worse = models(("CWRF", np.nan, 0, 0.83, 0.66))
    assert "**no lower** than before" in told(worse, BEFORE) and "the undefended model beats every point" in told(
        worse, BEFORE
    )
    assert "No point keeps test accuracy within 2 percentage points" in told(
        models(("A1", np.nan, 0, 0.1, 0.5)), BEFORE
    )


def test_seeds_decide_whether_a_lead_is_settled():
    def runs(spread: float, seeds: int = 3) -> pd.DataFrame:
        lines = (("a", 0.55), ("b", 0.65))
        rows = [(m, x, s, 0.8 - x / 10, auc + spread * s) for m, auc in lines for x in (0, 1) for s in range(seeds)]
        return models(*rows)

    text = told(runs(0.001), BEFORE)
    assert "Hypervolume" in text and "overlap" not in text and "seeds**" not in text and "**One seed**" not in text
    assert "The intervals of the first two overlap" in told(runs(0.1), BEFORE)
    assert "**Two seeds**" in told(runs(0.1, seeds=2), BEFORE)


def test_single_points_are_not_compared_as_if_they_were_lines():
    single = models(*[(f"m{i}", np.nan, 0, 0.8 + i / 100, 0.55 + i / 50) for i in range(8)])
    text = told(single, BEFORE)
    assert "Hypervolume" not in text and "same test accuracy" not in text and "**Pareto front**" in text
    beaten = pd.concat([single, models(*[(f"n{i}", np.nan, 0, 0.5, 0.9) for i in range(6)])])
    assert "Beaten everywhere: 6 methods." in told(beaten, BEFORE)
    # group norm is a baseline of its own, which must not silence the first sentence
    two = pd.concat([BEFORE, models(("before, group norm", np.nan, 0, 0.7, 0.6))])
    assert "(undefended: .640" in told(single, two)


def test_boxes_and_axes():
    assert words.box_of(TABLE, "auc") == Box(accuracy=(0, 1), risk=(0.5, 1))
    assert words.box_of(TABLE.assign(epsilon=[1, 3, 2, 0, np.nan]), "epsilon").risk == (0, 3)
    assert words.box_of(TABLE.assign(tpr_001=0.1), "tpr_001").risk == (0, 1)
    assert words.axis_of(Sweep(vary={"defence.mode": ("A1", "A3"), "train.lr": (0.1, 0.2)})) == "train.lr"
    assert words.axis_of(Sweep(vary={"train.augment": (True, False)})) == ""
    assert words.axis_of(Sweep(name=PRESETS["fraction"].title)) == "fraction r"
    assert words.label(0.05, "fraction r") == "r = 5\u00a0%" and words.label(0.1, "train.lr") == "lr = 0.1"
    assert words.label(float("nan"), "fraction r") == ""


def test_a_strength_is_told_with_the_sign_of_its_field():
    found = {}
    for point in points(PRESETS["curves"].make(Experiment(), 1)):
        table = pd.DataFrame([{**point.label}])
        found.setdefault(point.label["method"], []).extend(words.labels(table, ""))
    assert found["DP-SGD"] == ["ε = 1\u00a0000", "ε = 100", "ε = 8"]
    assert found["CWRF + HAMP"] == ["γ = 0.5", "γ = 0.8", "γ = 0.95"]
    assert found["distillation"][0] == "T = 1" and found["PAST, fine-tuned"][0] == "λ = 0.005"
    assert found["RelaxLoss"][-1] == "α = 1" and found["label smoothing"][0] == "smoothing = 0.05"
    assert found["early stopping"][0] == "epochs left out = 25\u00a0%"
    for line in ("CWRF alone", "CWRF + RelaxLoss, along r"):
        assert found[line][:2] == ["r = 0.1\u00a0%", "r = 0.5\u00a0%"]
    # a sweep noted by an earlier version does not name the field; a grid always does
    assert words.labels(pd.DataFrame({"strength": [0.5, np.nan]}), "") == ["strength = 0.5", ""]
    (point, _) = points(parse_sweep({"vary": {"importance.lam": [0.1, 0.2]}}))
    assert words.labels(pd.DataFrame([point.label]), "") == ["λ = 0.1"]


def test_fields_typed_as_text():
    found = trade_off_new.read("defence.fraction = 0.01, 5e-2\n\ntrain.augment=true,false\ndefence.mode = A2 , none")
    assert found == {
        "defence.fraction": [0.01, 0.05],
        "train.augment": [True, False],
        "defence.mode": ["A2", None],
    }
    for text, reason in {
        "": "nothing is varied",
        "defence.fraction": "is not a field and its values",
        "a =": "is not a field and its values",
        "a = 1\na = 2": "a is there twice",
    }.items():
        with pytest.raises(BadInput, match=reason):
            trade_off_new.read(text)


# ---- the page


@pytest.fixture(scope="module")
def swept(finished, tmp_path_factory) -> tuple[Store, Sweep]:
    """A store with all but the last point of a sweep, and its job as one that was cancelled."""
    store = Store(shutil.copytree(finished[0].root, tmp_path_factory.mktemp("swept") / "store"))
    sweep = parse_sweep(SWEEP)
    remember(store, sweep)
    for point in points(sweep)[:-1]:
        run(point.experiment, store)
    folder = store.root / "jobs" / sweep.hash
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(sweep.model_dump_json())
    state = {"state": "cancelled", "submitted": time.time(), "kind": "sweep", "stages": []}
    (folder / "state.json").write_text(json.dumps(state))
    return store, sweep


@pytest.fixture
def opened(swept, monkeypatch):
    """Opens the page on that store, on its first experiment."""
    store, sweep = swept
    monkeypatch.setenv("REWINDLAB_STORE", str(store.root))
    streamlit.cache_resource.clear()
    streamlit.cache_data.clear()

    def show() -> AppTest:
        app = AppTest.from_file(str(ROOT / "pages/main.py"), default_timeout=60)
        app.query_params["experiment"] = points(sweep)[0].experiment.hash
        app.run()
        app.switch_page("trade_off.py").run()
        assert not app.exception
        return app

    yield show
    streamlit.cache_resource.clear()
    streamlit.cache_data.clear()


def said(app: AppTest) -> str:
    return "\n".join(m.value for m in [*app.markdown, *app.caption, *app.info, *app.warning, *app.error])


def box(app: AppTest, label: str):
    return next(box for box in app.main.selectbox if box.label == label)


def test_a_sweep_that_is_not_whole(opened, swept):
    app = opened()
    text = said(app)
    assert "5 of 6 experiments are finished. It was cancelled." in text
    assert any(button.label == "Resume" for button in app.button)
    assert "**Pareto front**" in text and "**One seed**" in text
    table = app.dataframe[0].value
    names = list(dict.fromkeys(point.label["method"] for point in points(swept[1])))
    assert table["method"].tolist() == [names[0]] * 3 + [names[1]] * 2
    assert table["strength"].tolist()[:3] == ["r = 5\u00a0%", "r = 10\u00a0%", "r = 40\u00a0%"]
    assert len(app.get("plotly_chart")) == 3  # trade-off, along r, against one method
    assert "What fraction r does" in [head.value for head in app.subheader]


def test_a_running_sweep_shows_what_is_there_and_can_be_cancelled(opened, swept):
    store, sweep = swept
    file = store.root / "jobs" / sweep.hash / "state.json"
    kept = file.read_text()
    me = psutil.Process()
    stage = {"key": "points", "state": "running", "done": 5, "total": 6, "text": "5 of 6", "seconds": None}
    state = json.loads(kept) | {"state": "running", "pid": me.pid, "create_time": me.create_time(), "stages": [stage]}
    file.write_text(json.dumps(state))
    try:
        app = opened()
        assert [button.label for button in app.button if button.label in ("Cancel", "Resume")] == ["Cancel"]
        assert len(app.get("plotly_chart")) == 3 and len(app.get("progress")) >= 1
        file.write_text(json.dumps(state | {"state": "failed", "error": "out of paper"}))
        app.run()
        (error,) = [error.value for error in app.error]
        assert "5 of 6 experiments are finished. It stopped with an error: out of paper." in error
    finally:
        file.write_text(kept)


def test_another_risk_attack_and_accuracy(opened):
    app = opened()
    risk = next(group for group in app.get("button_group") if group.label == "Measure of risk")
    risk.set_value("tpr_01").run()
    assert not app.exception and "**Not resolvable**: 100 non-members" in said(app)
    risk = next(group for group in app.get("button_group") if group.label == "Measure of risk")
    risk.set_value("tpr_001").run()
    assert not app.exception and "fewer than 10 false positives at 0.1 % FPR" in said(app)
    box(app, "Attack").set_value("mentr").run()
    assert not app.exception
    next(box for box in app.number_input if box.label.startswith("Compare")).set_value(99.0).run()
    assert not app.exception and "At the same test accuracy" not in said(app)


def test_a_point_becomes_the_current_experiment(opened, swept):
    app = opened()
    other = points(swept[1])[3].experiment.hash
    box(app, "One point in detail").set_value(other).run()
    next(button for button in app.button if button.label.startswith("Show it on")).click().run()
    assert not app.exception
    assert app.session_state["experiment"] == other and app.query_params["experiment"] == other


def test_every_measure_in_the_table_is_a_mean_over_seeds():
    table = models(("CWRF", 0.1, 0, 0.8, 0.6), ("CWRF", 0.1, 1, 0.9, 0.6), ("none", np.nan, 0, 0.8, 0.6))
    table = table.assign(tpr_01=[0.1, 0.3, 0.1], tpr_01_low=0.0, tpr_01_high=1.0)
    _, means, before = prepared(table, "fraction r", "auc", ["auc", "tpr_01"])
    (row,) = words.cells(means, ["auc", "tpr_01"]).to_dict("records")
    assert row["TPR at 1 % FPR"].startswith("20.0\u00a0%") and row["strength"] == "r = 10\u00a0%"
    assert list(before["method"]) == ["before"]
    assert "strength" not in words.cells(means.assign(label=""), ["auc"])


def test_a_guaranteed_epsilon_is_told_with_its_delta():
    table = models(("DP-SGD", 1.0, 0, 0.8, 0.55), ("DP-SGD", 2.0, 0, 0.7, 0.53), ("none", np.nan, 0, 0.8, 0.6))
    table = table.assign(dp_epsilon=[7.96, 2000.0, np.nan], dp_delta=[1 / 240, 1 / 240, np.nan])
    shown, means, before = prepared(table, "σ", "dp_epsilon", ["auc", "dp_epsilon"])
    cells = words.cells(means, ["auc", "dp_epsilon"])["guaranteed ε"].tolist()
    assert cells == ["7.96, δ = 0.004", "> 1000: vacuous, δ = 0.004"]
    told = words.findings(shown, means, before, "dp_epsilon", 0.75)
    assert "**Guaranteed ε** holds with δ = 0.004, the probability with which the guarantee may fail." in told
    assert not any("δ" in sentence for sentence in words.findings(shown, means, before, "auc", 0.75))


def test_a_guarantee_for_the_fine_tuning_alone_is_told_and_is_no_axis():
    table = models(("DP-SGD, fine-tuned", 1.0, 0, 0.8, 0.55), ("none", np.nan, 0, 0.8, 0.6))
    table = table.assign(dp_epsilon=np.nan, dp_delta=np.nan, tuning_epsilon=[7.96, np.nan], tuning_delta=1 / 240)
    _, means, _ = prepared(table, "σ", "auc", ["auc"])
    assert words.cells(means, ["auc"])["guaranteed ε"].tolist() == ["7.96, δ = 0.004 (the fine-tuning alone)"]
    assert prepared(table, "σ", "dp_epsilon", ["auc", "dp_epsilon"])[1].empty
    assert "guaranteed ε" not in words.cells(means.assign(tuning_epsilon=np.nan), ["auc"])


def test_where_no_attack_applied_the_page_says_so(audits, open_page, tmp_path):
    source, found = audits
    store = Store(shutil.copytree(source.root, tmp_path / "store"))
    sweep = parse_sweep({"base": found["no attack"].model_dump(mode="json")})
    remember(store, sweep)
    app = open_page(store.root, found["no attack"].hash, "trade_off.py")
    assert not app.exception and "Risk cannot be shown here" in said(app)


def test_the_attack_is_named_with_what_it_knows():
    table = pd.DataFrame({"adaptive": ["adaptive", "adaptive", ""]})
    assert words.attacker("LiRA, online", table) == "LiRA, online (adaptive)"
    assert words.attacker("loss threshold", table.assign(adaptive="no references")) == "loss threshold"


def test_a_click_names_the_experiment_of_its_mark():
    mark = {"customdata": ["abc"], "x": 0.5}
    assert picked({"selection": {"points": [{"x": 1}, mark]}}) == "abc"
    assert picked({"selection": {"points": []}}) is None


def test_a_click_on_the_picture_makes_its_experiment_the_current_one(monkeypatch):
    """AppTest cannot click a figure: the callback is taken from where the page hands it over."""
    drawn, shown, state = {}, [], {}
    for name, replaced in {
        "plotly_chart": lambda figure, **given: drawn.update(given),
        "caption": lambda text: None,
        "toast": lambda text: None,
        "session_state": state,
    }.items():
        monkeypatch.setattr(trade_off_picture.st, name, replaced)
    monkeypatch.setattr(trade_off_picture, "once", lambda key, make: make())
    monkeypatch.setattr(trade_off_picture.experiments, "show", shown.append)
    _, means, before = prepared(pd.concat([TABLE, BEFORE]), "fraction r", "auc")
    trade_off_picture.picture(("sweep",), means, before, "auc", "loss", ["CWRF"])
    state[drawn["key"]] = {"selection": {"points": [{"customdata": [means["experiment"][1]]}]}}
    drawn["on_select"]()
    assert shown == [means["experiment"][1]] and drawn["selection_mode"] == "points"


def test_a_sweep_of_the_command_line_is_listed_and_its_points_come_last(opened, swept, monkeypatch):
    store, sweep = swept
    job = store.root / "jobs" / sweep.hash
    away = job.rename(store.root / "away")
    try:
        app = opened()
        assert (
            "It was not started on this page" in said(app)
            and "· digits, convnet · 6 experiments ·" in box(app, "Comparison").options[0]
        )
        own = {f"· {point.experiment.hash[:6]}" for point in points(sweep)}
        listed = next(box for box in app.sidebar.selectbox if box.label == "Experiment").options
        places = [place for place, name in enumerate(listed) if name[-8:] in own]
        assert 0 < len(places) < len(listed) and places == list(range(len(listed) - len(places), len(listed)))
    finally:
        away.rename(job)


def test_the_comparison_stays_chosen_when_the_page_is_left(opened, swept):
    store, sweep = swept
    other = Sweep.model_validate(SWEEP | {"name": "other"})
    remember(store, other)
    app = opened()
    assert box(app, "Comparison").value == other.hash  # the newest
    box(app, "Comparison").set_value(sweep.hash).run()
    app.switch_page("overview.py").run()
    app.switch_page("trade_off.py").run()
    assert not app.exception and box(app, "Comparison").value == sweep.hash
    (store.root / "sweeps" / f"{other.hash}.json").unlink()


def test_own_fields_are_checked_before_anything_starts(opened):
    app = opened()
    box(app, "What to compare").set_value(trade_off_new.OWN).run()
    assert not app.exception and "**18 experiments**: 6 points, 3 seeds each" in said(app)  # 3 · 2 values
    app.text_area[0].set_value("defence.fraction = 0.01, 0.02, 0.05, 0.1, 0.2, 0.4\ndefence.mode = A2, A3").run()
    next(box for box in app.number_input if box.label == "Seeds").set_value(99).run()
    assert any(f"1188 points, at most {MOST}" in e.value for e in app.error)
    next(box for box in app.number_input if box.label == "Seeds").set_value(1).run()
    app.text_area[0].set_value("defence.fraction = 0.1, 1.5").run()
    assert not app.exception and any("fraction" in e.value and "1.5" in e.value for e in app.error)
    box(app, "What to compare").set_value("fraction").run()
    next(box for box in app.number_input if box.label == "Seeds").set_value(99).run()
    assert not app.exception and any(f"1188 points, at most {MOST}" in e.value for e in app.error)


def test_an_empty_store_offers_a_first_comparison(tmp_path, monkeypatch):
    monkeypatch.setenv("REWINDLAB_STORE", str(tmp_path))
    streamlit.cache_resource.clear()
    app = AppTest.from_file(str(ROOT / "pages/main.py"), default_timeout=60).run()
    app.switch_page("trade_off.py").run()
    streamlit.cache_resource.clear()
    assert not app.exception and "No comparison yet" in said(app)
    assert any(button.label == "Start" for button in app.button)


def crossed_script():
    import pandas as pd

    from core.metrics import over_seeds
    from pages import trade_off_panels as panels

    rows = [
        (
            f"{mode}, {objective}",
            float("nan"),
            seed,
            0.8 + 0.01 * (mode == "A3") + 0.001 * seed * b,
            0.6,
            mode,
            objective,
        )
        for mode in ("A2", "A3")
        for b, objective in enumerate(("ce", "hamp", "ccl"))
        for seed in range(3)
    ]
    columns = ["method", "strength", "seed", "test_accuracy", "auc", "mode", "objective"]
    table = pd.DataFrame(rows, columns=columns).assign(experiment="e")
    ends = {f"{name}_{end}": table[name] for name in ("test_accuracy", "auc") for end in ("low", "high")}
    table = table.assign(**ends)
    panels.crossed(("s",), table, over_seeds(table), ["method", "mode", "objective"], "auc", "LiRA (adaptive)")
    panels.paired(("s",), table, ["A2, ce", "A3, ce"], "auc", "LiRA (adaptive)")


def test_two_settings_are_crossed_and_paired():
    app = AppTest.from_function(crossed_script).run()
    assert not app.exception
    assert [head.value for head in app.subheader] == ["By objective and mode", "Against one method, seed by seed"]
    charts = [json.loads(chart.proto.spec) for chart in app.get("plotly_chart")]
    matrix, pairs, one = charts
    assert any("draw more from the same random numbers" in text.value for text in app.markdown)
    assert matrix["layout"]["yaxis"]["ticktext"] == ["ce", "hamp", "ccl"]
    # A3 − A2 is one point of accuracy with every objective, in every seed
    first = [trace for trace in pairs["data"] if trace["xaxis"] == "x"]
    assert [trace["text"][0].split(", 3 pairs")[0] for trace in first] == [
        f"{name} − A2: +1.0 points [+1.0 points, +1.0 points]" for name in ("ce", "hamp", "ccl")
    ]
    assert len(one["data"]) == 2


def test_the_estimate_counts_shared_training_once(swept):
    store, sweep = swept
    assert sweep_estimate([point.experiment for point in points(sweep)[:-1]], store).parts == {}
    missing = parse_sweep(SWEEP | {"base": QUICK | {"seed": 5}})
    several = [point.experiment for point in points(missing)]
    one = sweep_estimate(several[:1], store)
    two = sweep_estimate(several[:2], store)
    assert one.parts["shared"] == 0 and one.parts["points"] > 0
    # training and both scoring runs are shared, only the fine-tuning is each point's own
    assert two.parts["shared"] + two.parts["points"] / 2 == pytest.approx(one.parts["points"])
    assert two.parts["shared"] > two.parts["points"] / 2 > 0
    other = parse_sweep({"base": QUICK | {"model": {"kind": "convnet", "channels": [4]}}})
    unknown = [point.experiment for point in points(other)]
    assert sweep_estimate(unknown, store).seconds is None
    assert "not counted: 1 points" in sweep_estimate([*several[:2], *unknown], store).basis
