"""The Rewind page: kinds of defence, rival rules, what it refuses, and the onion panel."""

from __future__ import annotations

import re
import shutil

import pytest
from streamlit.testing.v1 import AppTest

from core.experiment import config_of, parse, run
from core.figures import numbers as n
from core.store import Store
from pages import experiments
from tests.conftest import ROOT, SMALL
from tests.pages.conftest import said, unfold


def _open() -> AppTest:
    at = AppTest.from_file(str(ROOT / "pages/main.py"), default_timeout=30).run()
    return at.switch_page("rewind.py").run()


WHICH = "Which weights"


def _box(page: AppTest, label: str):
    return next(box for box in page.selectbox if box.label == label)


@pytest.fixture
def started(monkeypatch):
    """Experiments that the page would start as jobs."""

    found = []
    monkeypatch.setattr(experiments, "start", lambda experiment: found.append(experiment))
    return found


def test_the_finished_rewind_shows_its_outcome(finished_store: Store) -> None:
    page = _open()
    assert not page.exception
    assert any("paired DeLong" in m.value for m in page.markdown)
    assert any(b.label == "Check it before fine-tuning" for b in page.button)
    assert re.search(r"\(x − mean\) / std: mean \.?[\d.]+, std [\d.]+ \(by channel", said(page))
    assert any("Did the risk move?" in s.value for s in page.subheader)


def test_other_defences_have_their_own_form_and_button(finished_store: Store, started) -> None:
    page = _open()
    kind = next(group for group in page.get("button_group") if group.label == "What to do")
    kind.set_value("scratch").run()
    assert not page.exception
    button = next(b for b in page.button if b.label == "Train from scratch")
    button.click().run()
    assert [e.defence.kind for e in started] == ["scratch"]


def test_a_rival_rule_is_ranked_at_once(finished_store: Store, started) -> None:
    page = unfold(_open(), WHICH)
    _box(page, "Selection").set_value("random").run()
    assert not page.exception
    assert any("would be rewound" in m.value for m in page.markdown)
    next(b for b in page.button if b.label == "Rewind and fine-tune").click().run()
    assert [e.defence.selection for e in started] == ["random"]


def test_the_onion_panel(monkeypatch, tmp_path) -> None:
    import streamlit

    store = Store(tmp_path)
    experiment = parse(SMALL | {"onion": True})
    run(experiment, store)
    monkeypatch.setenv("REWINDLAB_STORE", str(store.root))
    streamlit.cache_resource.clear()
    page = _open()
    assert not page.exception
    assert any("Scored again, they carry" in m.value for m in page.markdown)
    streamlit.cache_resource.clear()


def test_rounds_are_compared_where_both_are_there(finished, open_page, tmp_path) -> None:
    store, experiment = Store(shutil.copytree(finished[0].root, tmp_path / "store")), finished[1]
    page = open_page(store.root, experiment.hash, "rewind.py")
    assert not page.exception and "Does another round help?" not in said(page)
    found = run(parse(SMALL | {"defence": SMALL["defence"] | {"rounds": 2}, "onion": True}), store)["after"]
    page = open_page(store.root, experiment.hash, "rewind.py")
    (line,) = [text.value for text in page.markdown if "Does another round help?" in text.value]
    assert "1 round: test accuracy" in line
    assert f"2 rounds: test accuracy {n.accuracy(found['test_accuracy'])}" in line
    assert f"AUC {n.auc(found['attacks'][experiment.audit.attacks[0]]['auc'])}" in line.split("2 rounds")[1]


def test_dp_sgd_offers_a_way_past_batch_norm(started, monkeypatch, tmp_path) -> None:
    import streamlit

    store = Store(tmp_path)
    for batch in (32, 128):
        run(parse(SMALL | {"train": {"epochs": 1, "batch_size": batch}, "defence": None}), store)
    monkeypatch.setenv("REWINDLAB_STORE", str(store.root))
    streamlit.cache_resource.clear()
    found = {}
    for batch in (32, 128):
        page = AppTest.from_file(str(ROOT / "pages/main.py"), default_timeout=30)
        page.query_params["experiment"] = next(
            key for key in experiments.known(store) if config_of(store, key).train.batch_size == batch
        )
        page.run().switch_page("rewind.py").run()
        next(group for group in page.get("button_group") if group.label == "What to do").set_value("scratch").run()
        _box(page, "Objective").set_value("dpsgd").run()
        assert not page.exception and "set model.norm to group" in page.error[0].value
        assert not any(button.label == "Train from scratch" for button in page.button)
        found[batch] = [button for button in page.button if button.label == "Start over with group norm"], page
    # more than there are members: said at once, not after the click
    assert not found[128][0] and "more than data.members" in found[128][1].error[1].value
    found[32][0][0].click().run()
    (experiment,) = started
    assert (experiment.model.norm, experiment.defence.objective.kind) == ("group", "dpsgd")
    streamlit.cache_resource.clear()


def test_the_early_epoch_is_asked_for_only_where_it_is_used(finished_store: Store, started) -> None:
    page = unfold(_open(), WHICH)
    assert not any(number.label == "Early epoch" for number in page.number_input)
    _box(page, "Rewind to").set_value("early").run()
    assert not page.exception
    next(number for number in page.number_input if number.label == "Early epoch").set_value(1).run()
    # its training is a job's work
    assert not any(b.label == "Check it before fine-tuning" for b in page.button)
    assert "once a run has computed: an early epoch, to rewind to" in said(page)
    next(b for b in page.button if b.label == "Rewind and fine-tune").click().run()
    assert [(e.defence.rewind_to, e.defence.early_epoch) for e in started] == [("early", 1)]


def test_what_was_set_holds_while_it_is_folded_and_on_other_pages(finished_store: Store, started) -> None:
    page = unfold(_open(), "Fine-tuning: 2 epochs of ", WHICH)
    next(number for number in page.number_input if number.label == "Epochs").set_value(7).run()
    never = next(box for box in page.multiselect if box.label == "Never rewind")
    never.set_value(["norm"]).run()
    # the table of own shares is not in AppTest's reach; what it says goes the same way
    for box in [box for box in page.expander if box.label.startswith(("Fine-tuning", WHICH))]:
        page.session_state[box.key] = False
    page.run()
    assert not page.exception and not page.number_input
    assert any(box.label.startswith("Fine-tuning: 7 epochs of ") for box in page.expander)
    page.switch_page("model.py").run().switch_page("rewind.py").run()
    next(b for b in page.button if b.label == "Rewind and fine-tune").click().run()
    assert [(e.defence.finetune.epochs, e.defence.exclude) for e in started] == [(7, ("norm",))]
    unfold(page, "Fine-tuning: 7", WHICH)
    assert next(number for number in page.number_input if number.label == "Epochs").value == 7
    assert next(box for box in page.multiselect if box.label == "Never rewind").value == ["norm"]


def test_choices_are_spelled_out(finished_store: Store) -> None:
    page = unfold(_open(), WHICH)
    assert _box(page, "Mode").options == ["A1: set to zero", "A2: tune only these", "A3: freeze, tune the rest"]
    assert "chance" in _box(page, "Selection").options and "the trained model" in _box(page, "Base").options


def test_the_result_names_the_attack_that_ran_with_what_it_knows(audits, open_page) -> None:
    store, found = audits
    page = open_page(store.root, found["first missing"].hash, "rewind.py")
    assert not page.exception
    assert "AUC of RMIA online (adaptive) changed by **" in said(page)
    drawn = [chart.proto.spec for chart in page.get("plotly_chart")]
    assert any("Attack AUC, RMIA online (adaptive)" in spec for spec in drawn)
    assert any('"RMIA online (adaptive), after"' in spec for spec in drawn)
    assert any("Calibration error (ECE), non-members" in spec for spec in drawn)
    # the fine-tuning's own objective beside the plain loss
    assert not any('"name":"RelaxLoss"' in spec for spec in drawn)
    drawn = [chart.proto.spec for chart in unfold(page, "How the defended model learned").get("plotly_chart")]
    assert any('"name":"RelaxLoss"' in spec for spec in drawn)
    assert "RandomisedOutput" not in said(page)


def test_without_any_attack_the_result_is_the_accuracy(audits, open_page) -> None:
    store, found = audits
    page = open_page(store.root, found["no attack"].hash, "rewind.py")
    assert not page.exception
    assert "Test accuracy changed by **" in said(page) and "Risk cannot be shown here" in said(page)
    assert page.get("download_button")


def test_weights_that_were_audited_with_replaced_outputs_say_so(audits, open_page) -> None:
    store, found = audits
    page = open_page(store.root, found["replaced outputs"].hash, "rewind.py")
    assert not page.exception
    assert "bare weights" in said(page) and 'RandomisedOutput(model, key="rewindlab")' in said(page)
