"""The attacks page with reference models: one record under LiRA, agreement, the form that adds more, its cost."""

from __future__ import annotations

import pandas as pd
import pytest
import streamlit
from streamlit.testing.v1 import AppTest

from core.attacks.lira import LiraAttack
from core.attacks.one_record import fit
from core.attacks.shadows import load_references
from core.estimate import estimate, missing_references
from core.experiment import Experiment, parse, plan, run
from core.figures import caption_of, likelier, lira_figures
from core.store import Store
from tests.conftest import ROOT, SMALL
from tests.pages.conftest import unfold

AUDIT = {"gradient_records": 0, "shadows": {"models": 4}}


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Experiment]:
    """The small experiment with four reference models per pipeline."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REWINDLAB_WORKERS", "1")
        store, experiment = Store(tmp_path_factory.mktemp("audited")), parse(SMALL | {"audit": AUDIT})
        run(experiment, store)
    return store, experiment


def opened(store: Store, key: str, monkeypatch: pytest.MonkeyPatch, part: str = "In numbers") -> AppTest:
    """The page with this part and the form open."""
    monkeypatch.setenv("REWINDLAB_STORE", str(store.root))
    monkeypatch.setenv("REWINDLAB_WORKERS", "2")
    streamlit.cache_resource.clear()
    app = AppTest.from_file(str(ROOT / "pages/main.py"), default_timeout=60)
    app.query_params["experiment"] = key
    app.run()
    app.switch_page("attacks.py").run()
    app.session_state["attacks"] = part
    unfold(app, "Add reference models")
    assert not app.exception
    return app


def said(app: AppTest) -> str:
    return "\n".join(m.value for m in [*app.main.markdown, *app.main.caption, *app.main.info])


def widget(widgets, label: str):
    return next(w for w in widgets if w.label == label)


def test_the_record_shown_first_is_the_member_lira_is_surest_of(audited, monkeypatch):
    store, experiment = audited
    app = opened(store, experiment.hash, monkeypatch, "One record, LiRA")
    records = pd.read_parquet(store.path(plan(experiment)["before"]) / "records.parquet")
    members = records[records["member"]]
    surest = members.loc[members["score_lira"].idxmax()]
    assert widget(app.main.selectbox, "Record").value == surest["record"]
    text = said(app)
    assert f"**Before**: {likelier(surest['score_lira'])}" in text and "**After**: " in text
    assert "LiRA online (adaptive). Every mark" in text
    app.session_state["attacks"] = "Agreement"
    assert "chance would give" not in text and "chance would give" in said(app.run())
    assert "(adaptive) and " in said(app) and "(adaptive) share" in said(app)
    app.session_state["attacks"] = "One record, LiRA"
    app.run()
    # any record by its number, a non-member too
    widget(app.get("button_group"), "Choose by").set_value("record number").run()
    other = records[~records["member"]].iloc[3]
    widget(app.main.number_input, "Record").set_value(int(other["record"])).run()
    assert not app.exception and f"**Before**: {likelier(other['score_lira'])}" in said(app)
    outside = set(range(records["record"].min(), records["record"].max())) - set(records["record"])
    if outside:
        widget(app.main.number_input, "Record").set_value(outside.pop()).run()
        assert not app.exception and "no attack looked at it" in said(app)


def test_the_pictures_score_is_the_audits(audited):
    store, experiment = audited
    stages = plan(experiment)
    for audit, shadows in (("before", "shadows"), ("after", "shadows_defended")):
        records = pd.read_parquet(store.path(stages[audit]) / "records.parquet")
        found = load_references(store.path(stages[shadows]))
        fits = fit(reference_phi=found["reference_phi"], reference_in=found["reference_in"], attack=LiraAttack())
        shown = [fits.one(position=i, target=phi).score for i, phi in enumerate(records["phi"])]
        assert shown == pytest.approx(records["score_lira"].tolist(), rel=1e-6, abs=1e-6)


def test_the_form_counts_what_is_there_and_starts_what_is_missing(audited, monkeypatch):
    store, experiment = audited
    app = opened(store, experiment.hash, monkeypatch)
    start = next(b for b in app.main.button if str(b.key).startswith("audit-"))
    assert start.disabled  # nothing was changed
    assert "was not chosen for this audit" in said(app)
    widget(app.main.number_input, "Reference models").set_value(6).run()
    text = said(app)
    assert "Reference models: 4 / 6 in the store, **2 to train**" in text and "2 are trained at once" in text
    assert "Pools of unequal size: references trained on 110 records, the target on 120." in text
    assert "About" in text and "Reference models with the defence" in text  # the cost, by stage
    submitted = []
    monkeypatch.setattr("core.jobs.submit", lambda store, config, key: submitted.append((config, key)))
    widget(app.main.multiselect, "Attacks").set_value(["lira", "rmia", "loss"]).run()
    next(b for b in app.main.button if str(b.key).startswith("audit-")).click().run()
    (config, key), *_ = submitted
    chosen = parse(config)
    assert chosen.hash == key and chosen.audit.shadows.models == 6
    assert chosen.audit.attacks == ("lira", "rmia", "loss") and chosen.audit.gradient_records == 0
    assert chosen.train == experiment.train and chosen.defence == experiment.defence


def test_the_form_keeps_what_was_chosen_while_it_is_folded(audited, monkeypatch):
    store, experiment = audited
    app = opened(store, experiment.hash, monkeypatch)
    widget(app.main.multiselect, "Attacks").set_value(["rmia", "loss"]).run()
    (label,) = (folded.label for folded in app.expander if folded.label.startswith("Add reference models"))
    for open in (False, True):
        app.session_state[f"folded-{label}"] = open
        app.run()
        assert bool([box for box in app.main.multiselect if box.label == "Attacks"]) == open
    assert widget(app.main.multiselect, "Attacks").value == ["rmia", "loss"]


def left_out(app: AppTest) -> str:
    """The grey caption under the choice of attacks, empty where every chosen attack can run."""
    return next((c.value for c in app.main.caption if "cannot run on the trained model" in c.value), "")


def test_what_cannot_run_is_said_before_it_is_run(audited, monkeypatch):
    store, experiment = audited
    app = opened(store, experiment.hash, monkeypatch)
    assert left_out(app).startswith("1 / 13 cannot run") and "raise audit.gradient_records" in left_out(app)
    widget(app.main.multiselect, "Attacks").set_value(["label_only", "shadow_nn", "gradient_norm", "rmia"]).run()
    assert left_out(app).startswith("2 / 4 cannot run")
    assert "Label only needs query labels: set Questions (audit.shadows.queries) to 2 or more" in left_out(app)
    widget(app.main.number_input, "Questions").set_value(2).run()
    assert "Label only" not in left_out(app)
    widget(app.main.number_input, "Reference models").set_value(0).run()
    assert left_out(app).count("train reference models (audit.shadows.models)") == 2
    widget(app.main.number_input, "Gradient records").set_value(10).run()
    assert "Gradient norm" not in left_out(app)
    widget(app.main.number_input, "Reference models").set_value(2).run()
    assert not app.exception and left_out(app) == ""


def test_every_setting_of_the_attacks_can_be_changed_in_the_form(audited, monkeypatch):
    store, experiment = audited
    app = opened(store, experiment.hash, monkeypatch)
    submitted = []
    monkeypatch.setattr("core.jobs.submit", lambda store, config, key: submitted.append(parse(config).audit))
    widget(app.main.toggle, "Class conditional").set_value(True).run()
    widget(app.main.selectbox, "Shadow network inputs").set_value("top3").run()
    widget(app.main.selectbox, "LiRA variance").set_value("pooled").run()
    for label, value in {"Gradient records": 20, "RMIA γ": 1.5, "RMIA a": 0.4}.items():
        widget(app.main.number_input, label).set_value(value).run()
    next(b for b in app.main.button if str(b.key).startswith("audit-")).click().run()
    assert not app.exception
    changed = {"class_conditional": True, "shadow_nn_inputs": "top3", "lira_variance": "pooled"}
    changed |= {"gradient_records": 20, "rmia_gamma": 1.5, "rmia_a": 0.4}
    assert submitted == [experiment.audit.model_copy(update=changed)]


def test_the_calibrated_score_of_rmia_is_shown_with_its_gamma(audited, monkeypatch):
    store, experiment = audited
    app = opened(store, experiment.hash, monkeypatch, "One attack")
    assert "Calibrated: " not in said(app)
    next(box for box in app.main.selectbox if box.label == "Attack").set_value("rmia").run()
    assert not app.exception and "at least γ = 2 times likelier than" in said(app)
    assert "In this audit: references 4, γ 2, references trained on 110 records, the target on 120." in said(app)
    unfold(app, "The same ")
    rows = next(t.value for t in app.dataframe if "calibrated" in t.value)
    after, before = (
        pd.read_parquet(store.path(plan(experiment)[side]) / "records.parquet").set_index("record")["calibrated_rmia"]
        for side in ("after", "before")
    )
    record = rows["record"].iloc[0]
    shares = " → ".join(f"{100 * side[record]:.1f}\u00a0%" for side in (before, after))
    assert rows["calibrated"].iloc[0] == shares and f"calibrated {shares}" in said(app)


def test_thresholds_say_whose_reference_models_they_come_from(audited, monkeypatch):
    store, experiment = audited
    app = unfold(opened(store, experiment.hash, monkeypatch), "Balanced accuracy")
    cells = next(t.value for t in app.dataframe if "threshold from" in t.value).set_index("attack")["threshold from"]
    assert cells["Loss threshold"] == cells["RMIA online (adaptive)"] == "reference models (adaptive)"
    assert cells["RMIA online (non-adaptive)"] == "reference models (non-adaptive)"
    assert "score by nothing but the model itself" in said(app) and "also for attacks that score without them" in said(
        app
    )


def test_mistakes_in_the_form_are_said_on_the_page(audited, monkeypatch):
    app = opened(*[audited[0], audited[1].hash], monkeypatch)
    widget(app.main.number_input, "Reference models").set_value(5).run()
    assert not app.exception and "choose an even number" in app.main.error[0].value
    widget(app.main.number_input, "Reference models").set_value(4).run()
    widget(app.main.multiselect, "Attacks").set_value([]).run()
    assert not app.exception and app.main.error[0].value == "Choose at least one attack."


def test_without_references_the_page_says_how_to_add_them(finished, monkeypatch):
    store, experiment = finished
    app = opened(store, experiment.hash, monkeypatch, "One record, LiRA")
    text = said(app)
    assert "this audit has none: **Add reference models** below" in text
    assert ":gray[LiRA online needs reference models" in text
    assert "This picture needs reference models" in text
    assert widget(app.main.number_input, "Reference models").value == 8
    assert "**8 to train**" in text


def test_models_in_the_store_are_free(audited, monkeypatch):
    store, experiment = audited
    monkeypatch.setenv("REWINDLAB_WORKERS", "2")
    assert set(missing_references(experiment, store).values()) == {0} and estimate(experiment, store).seconds == 0

    def cost(models: int) -> dict[str, float]:
        audit = experiment.audit.model_copy(
            update={"shadows": experiment.audit.shadows.model_copy(update={"models": models})}
        )
        return estimate(experiment.model_copy(update={"audit": audit}), store).parts

    six, eight, ten = cost(6), cost(8), cost(10)
    assert set(six) == {"shadows", "shadows_defended"}
    # two processes: 2, 4 and 6 missing models are one, two and three rounds
    assert eight["shadows"] == pytest.approx(2 * six["shadows"])
    assert ten["shadows"] == pytest.approx(3 * six["shadows"])
    # 3 epochs plain; with the defence 3 of PVE (7/3 passes) and 2 of fine-tuning
    assert six["shadows_defended"] == pytest.approx(six["shadows"] * (3 * 7 / 3 + 2) / 3)


def test_the_figure_says_its_numbers(audited):
    store, experiment = audited
    found = load_references(store.path(plan(experiment)["shadows"]))
    fits = fit(reference_phi=found["reference_phi"], reference_in=found["reference_in"])
    views = {"before": fits.one(position=0, target=5.0), "after": fits.one(position=0, target=-5.0)}
    figures = lira_figures(views, 17, "LiRA online (assumed recipe)")
    assert figures["before"].layout.xaxis.range == figures["after"].layout.xaxis.range
    for when, figure in figures.items():
        caption = caption_of(figure)
        assert caption.startswith("LiRA online (assumed recipe): ")
        assert "record 17" in caption and likelier(views[when].score) in caption and len(caption) < 300
        low, high = figure.layout.xaxis.range
        assert low < views[when].target < high
        marks = [len(t.x) for t in figure.data if t.mode == "markers"]
        assert sorted(marks) == [1, 1, 2, 2]
    assert lira_figures({}, 17, "LiRA online (adaptive)") == {}


@pytest.mark.parametrize(
    ("score", "words"),
    [
        (1.1632, "3.2 times likelier under models that trained on it"),
        (-1.1632, "3.2 times likelier under models that never saw it"),
        (4.0, "55 times likelier"),
        (800.0, "more than 1 000 times"),
        (0.01, "about as likely"),
    ],
)
def test_ratios_in_words(score, words):
    assert likelier(score).startswith(words)
