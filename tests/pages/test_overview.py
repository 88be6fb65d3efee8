"""The Overview: results with and without an attack or a defence, a run that has stopped, and links to nowhere."""

from __future__ import annotations

import json

import pytest

from core.experiment import Experiment, plan
from core.store import Store, write_json
from pages.experiments import Current
from tests.pages.conftest import said, unfold


def heads(app) -> list[str]:
    return [head.value for head in app.main.subheader]


def legends(app) -> list[list[str]]:
    """The names in the legend of every figure."""
    figures = [json.loads(chart.proto.spec) for chart in app.get("plotly_chart")]
    return [[t["name"] for t in fig["data"] if t.get("name") and t.get("showlegend", True)] for fig in figures]


def test_the_headline_is_the_first_attack_with_results_everywhere(audits) -> None:
    store, found = audits
    names = {name: Current(e.hash, e, store).headline for name, e in found.items()}
    assert names == {"first missing": "rmia", "no attack": None, "no defence": "loss", "replaced outputs": "loss"}
    only_begun = Experiment(seed=5)
    assert Current(only_begun.hash, only_begun, store).headline is None


def test_a_first_attack_that_did_not_apply_is_passed_over_and_the_next_named_with_what_it_knows(
    audits, open_page
) -> None:
    store, found = audits
    app = open_page(store.root, found["first missing"].hash)
    assert not app.exception
    text = said(app)
    assert "membership inference by RMIA online (adaptive) tells members from non-members with AUC **" in text
    assert "Attack AUC · RMIA online (adaptive)" in text and "TPR at 1 % FPR · RMIA online (adaptive)" in text
    assert "paired DeLong" in text
    assert "The attack is adaptive" in said(unfold(app, "How these numbers came about"))
    assert ["RMIA online (adaptive), before", "RMIA online (adaptive), after"] in legends(app)


def test_without_any_attack_the_rest_is_there_and_a_link_to_the_reasons(audits, open_page) -> None:
    store, found = audits
    app = open_page(store.root, found["no attack"].hash)
    assert not app.exception
    text = said(app)
    assert "Risk cannot be shown here" in text and "Weights rewound" in text and "AUC **" not in text
    assert "moved test accuracy by" in text and "ROC of the attack" not in heads(app)
    assert "To the Attacks page" in [link.proto.label for link in app.get("page_link")]


def test_without_a_defence_there_is_one_side(audits, open_page) -> None:
    store, found = audits
    app = open_page(store.root, found["no defence"].hash)
    assert not app.exception
    text = said(app)
    assert "This experiment has no defence" in text and "paired DeLong" not in text and "none of" in text
    assert ["Loss threshold, before"] in legends(app)


def test_an_unknown_hash_is_said_and_the_newest_offered(audits, open_page) -> None:
    store, found = audits
    app = open_page(store.root, "0123456789abcdef")
    assert not app.exception and "There is no experiment 0123456789abcdef in the store" in said(app)
    next(button for button in app.button if button.label.startswith("Show the newest")).click().run()
    assert not app.exception and app.query_params["experiment"] in {e.hash for e in found.values()}


@pytest.mark.parametrize(
    ("state", "words", "button"),
    [
        ({"state": "failed", "error": "out of paper"}, "It stopped with an error: out of paper", "Try again"),
        # no such process is there any more
        ({"state": "running", "pid": 2**22 + 1, "create_time": 1.0}, "The process was stopped from outside", "Resume"),
    ],
    ids=["failed", "interrupted"],
)
def test_a_run_that_stopped_shows_why_what_is_there_and_the_way_on(
    audits, open_page, tmp_path, state, words, button
) -> None:
    source, found = audits
    experiment = found["first missing"]
    store = Store(tmp_path / "store")
    stages = plan(experiment)
    for key in ("data", "train", "before"):  # the defence was never finished
        store.path(stages[key]).symlink_to(source.path(stages[key]))
    folder = store.root / "jobs" / experiment.hash
    folder.mkdir(parents=True)
    write_json(folder / "config.json", experiment.model_dump(mode="json"))
    write_json(folder / "state.json", {"submitted": 1.0, "stages": [], "kind": "run", **state})
    (folder / "log.txt").write_text("the tray is empty")
    app = open_page(store.root, experiment.hash)
    assert not app.exception and words in said(app)
    assert button in [b.label for b in app.button]
    assert ("the tray is empty" in [code.value for code in app.main.code]) == (state["state"] == "failed")
    assert heads(app) == ["Training", "Attack on the undefended network"]
    assert ["RMIA online (adaptive), before"] in legends(app)


def test_an_empty_store_offers_the_demo(open_page, tmp_path) -> None:
    app = open_page(tmp_path / "empty", "")
    assert not app.exception and "No experiment yet" in said(app)
    assert "Start the demo" in [button.label for button in app.button]
