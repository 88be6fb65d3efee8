"""The demo starts by itself, but only where nothing else is."""

from __future__ import annotations

import pytest

from core import demo, jobs
from core.experiment import Experiment
from core.store import Store


@pytest.fixture
def submitted(tmp_path, monkeypatch):
    monkeypatch.setenv("REWINDLAB_STORE", str(tmp_path / "runs"))
    found = []
    monkeypatch.setattr(jobs, "submit", lambda store, config, key: found.append((config, key)))
    return found


def test_an_empty_store_gets_the_demo(submitted):
    demo.start_demo_on_empty_store()
    assert submitted == [(Experiment().model_dump(mode="json"), Experiment().hash)]


def test_a_finished_demo_is_found(submitted):
    store = Store()
    folder = store.root / f"experiment-{Experiment().hash}"
    folder.mkdir()
    (folder / "stage.json").write_text("{}")
    assert demo.start_demo(store) == Experiment().hash and submitted == []


def test_a_store_with_results_or_jobs_is_left_alone(submitted, monkeypatch):
    store = Store()
    (store.root / "experiment-0123").mkdir()
    demo.start_demo_on_empty_store()
    (store.root / "experiment-0123").rmdir()
    monkeypatch.setattr(jobs, "listing", lambda store: ["a job"])
    demo.start_demo_on_empty_store()
    assert submitted == []


def test_a_store_that_cannot_be_used_does_not_stop_the_start(submitted, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("REWINDLAB_STORE", str(tmp_path / "file" / "runs"))
    demo.start_demo_on_empty_store()
    assert submitted == []
