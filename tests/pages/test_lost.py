"""Pages of experiments that have lost something: a stage, their records, or the whole store."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from core import jobs
from core.experiment import Experiment, parse, plan, run
from core.store import Store, write_json
from tests.conftest import TINY
from tests.pages.conftest import said, unfold

PAGES = ("overview.py", "model.py", "critical_weights.py", "layer_risk.py", "rewind.py", "attacks.py", "trade_off.py")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def table(tmp_path: Path) -> Experiment:
    """An experiment on a table of random numbers in a file of its own."""
    rng = np.random.default_rng(0)
    records = pd.DataFrame(rng.random((240, 5)), columns=list("abcde"))
    records.assign(label=rng.integers(0, 3, 240)).to_parquet(tmp_path / "records.parquet")
    return parse(TINY | {"data": TINY["data"] | {"kind": "table", "path": str(tmp_path / "records.parquet")}})


def begun(store: Store, experiment: Experiment, state: str) -> None:
    """The folder that a job leaves."""
    folder = store.root / "jobs" / experiment.hash
    folder.mkdir()
    write_json(folder / "config.json", experiment.model_dump(mode="json"))
    write_json(folder / "state.json", {"state": state, "submitted": 1.0, "stages": [], "kind": "run"})


@pytest.mark.parametrize(("job", "label"), [(False, "Start"), (True, "Resume")], ids=["command line", "job"])
def test_a_lost_stage_of_a_finished_experiment_is_computed_again(job, label, store, open_page, monkeypatch) -> None:
    experiment = parse(TINY)
    run(experiment, store)
    if job:
        begun(store, experiment, "done")
    monkeypatch.setattr(jobs, "submit", lambda store, config, key: run(parse(config), store))
    scores = store.path(plan(experiment)["scores"])
    shutil.rmtree(scores)
    app = open_page(store.root, experiment.hash, "critical_weights.py")
    assert "no longer in the store" in said(app) and "never finished" not in said(app)
    next(button for button in app.button if button.label == label).click().run()
    assert not app.exception and (scores / "stage.json").is_file()
    assert "no longer in the store" not in said(app) and app.get("plotly_chart")


@pytest.mark.parametrize("kind", ["audit", "rewind", "train", "data"])
def test_no_page_breaks_whichever_stage_is_lost(kind, store, open_page) -> None:
    experiment = parse(TINY)
    run(experiment, store)
    for folder in store.root.glob(f"{kind}-*"):
        shutil.rmtree(folder)
    app = open_page(store.root, experiment.hash, "model.py")
    assert "no longer in the store" in said(app)
    for page in PAGES:
        app.switch_page(page).run()
        assert not app.exception, page


def test_records_that_have_moved_are_said_in_one_line(store, table, open_page) -> None:
    begun(store, table, "cancelled")
    key = table.hash
    table.data.path.unlink()
    app = open_page(store.root, key)
    for page in PAGES[:-1]:
        app.switch_page(page).run()
        assert not app.exception
        assert [error.value for error in app.main.error if "there is no file" in error.value], page


def test_a_finished_rewind_keeps_its_result_when_its_records_have_moved(store, table, open_page) -> None:
    run(table, store)
    key = table.hash
    table.data.path.unlink()
    app = open_page(store.root, key, "rewind.py")
    assert not app.exception and not app.main.error
    assert "paired DeLong" in said(app) and "would be rewound" in said(app)
    assert [button.proto.label for button in app.get("download_button")] == [
        "Download the defended weights (safetensors)"
    ]
    # another rule has to be ranked anew, which needs the records: what was found so far stays
    app = unfold(app, "Which weights")
    next(box for box in app.selectbox if box.label == "Selection").set_value("random").run()
    assert not app.exception and "there is no file" in app.main.error[0].value
    assert any(box.label.startswith("Result of the experiment") for box in app.expander)


def test_a_store_that_is_deleted_under_the_dashboard_is_an_empty_one(audits, store, open_page) -> None:
    source, found = audits
    experiment = found["no defence"]
    for folder in {stage.folder for stage in plan(experiment).values()}:
        (store.root / folder).symlink_to(source.root / folder)
    app = open_page(store.root, experiment.hash)
    shutil.rmtree(store.root)
    for page in PAGES:
        app.switch_page(page).run()
        assert not app.exception
    app.switch_page("overview.py").run()
    next(button for button in app.button if button.label.startswith("Begin")).click().run()
    assert not app.exception and "Start the demo" in [button.label for button in app.button]


@pytest.mark.parametrize("wrong", ["unwritable", "format"])
def test_a_store_that_cannot_be_used_is_said_with_the_way_out(wrong, tmp_path, open_page) -> None:
    root = tmp_path / "runs"
    if wrong == "format":
        Store(root)
        write_json(root / "format.json", {"format": 9})
    else:
        root.write_text("a file where the folder should be")
    app: AppTest = open_page(root, "")
    (error,) = app.main.error
    assert not app.exception and "REWINDLAB_STORE" in error.value
    assert ("has format 9" if wrong == "format" else "cannot be written") in error.value
