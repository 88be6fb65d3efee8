"""What every page shares: tables that nobody can change for others, and the list of experiments."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest
from streamlit.testing.v1 import AppTest

from core.experiment import Experiment
from core.store import Store, write_json
from pages import sidebar
from pages.experiments import Current, title_of
from tests.pages.conftest import said

ROOT = Path(__file__).resolve().parent.parent.parent


def test_a_page_cannot_change_the_table_that_others_read(finished: tuple[Store, Experiment]) -> None:
    store, experiment = finished
    now = Current(experiment.hash, experiment, store)
    table = now.table("scores", "layers")
    was = table.to_dict("list")
    table["more"] = 1
    table.loc[0, "count"] = -1
    table.columns = [*table.columns[:-1], "other"]
    with pytest.raises(ValueError, match="read-only"):
        now.table("scores", "layers")["count"].to_numpy()[0] = -1
    assert now.table("scores", "layers").to_dict("list") == was


def test_the_sidebar_lists_what_begins_and_forgets_what_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import streamlit

    store = Store(tmp_path / "runs")
    monkeypatch.setenv("REWINDLAB_STORE", str(store.root))
    streamlit.cache_resource.clear()
    first, second = (Experiment(seed=seed) for seed in (1, 2))
    _begin(store, first)
    page = AppTest.from_file(str(ROOT / "pages/main.py"), default_timeout=30)
    page.query_params["experiment"] = first.hash
    page.run()
    assert page.sidebar.selectbox[0].options == [f"{title_of(first)} · {first.hash[:6]}"]

    folder = store.root / "jobs" / second.hash
    folder.mkdir()  # as in the moment between the folder and its config: not listed, but not forgotten either
    write_json(folder / "state.json", _ended(2.0))
    assert len(page.run().sidebar.selectbox[0].options) == 1
    _begin(store, second)
    listed = page.run().sidebar.selectbox[0].options
    assert [option[-6:] for option in listed] == [second.hash[:6], first.hash[:6]]

    (folder / "state.json").unlink()
    assert len(page.run().sidebar.selectbox[0].options) == 1
    streamlit.cache_resource.clear()


def test_a_config_is_read_once_for_its_label(finished_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    real = sidebar.config_of
    monkeypatch.setattr(sidebar, "config_of", lambda store, key: read.append(key) or real(store, key))
    page = AppTest.from_file(str(ROOT / "pages/main.py"), default_timeout=30).run()
    page.switch_page("model.py").run()
    assert not page.exception and len(read) == 1


def test_a_queued_run_waits_only_where_another_one_runs(tmp_path: Path, open_page, monkeypatch) -> None:
    """A run is queued, too, while its process imports what it needs."""
    monkeypatch.setenv("REWINDLAB_SLOTS", "1")
    store = Store(tmp_path / "runs")
    first, second = (Experiment(seed=seed) for seed in (1, 2))
    alive = {"pid": os.getpid(), "create_time": psutil.Process().create_time()}
    for experiment in (first, second):
        _begin(store, experiment)
    queued = store.root / "jobs" / first.hash / "state.json"
    write_json(queued, _ended(1.0) | alive | {"state": "queued"})
    page = open_page(store.root, first.hash)
    assert not page.exception and "Starting …" in said(page) and "another run" not in said(page)
    write_json(store.root / "jobs" / second.hash / "state.json", _ended(2.0) | alive | {"state": "running"})
    page.run()
    assert not page.exception and "another run is using this machine" in said(page)


def _begin(store: Store, experiment: Experiment) -> None:
    folder = store.root / "jobs" / experiment.hash
    folder.mkdir(exist_ok=True)
    write_json(folder / "config.json", experiment.model_dump(mode="json"))
    write_json(folder / "state.json", _ended(float(experiment.seed)))


def _ended(submitted: float) -> dict:
    return {"state": "cancelled", "submitted": submitted, "stages": [], "kind": "run"}
