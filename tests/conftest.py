"""Shared by all tests: a store with one small finished experiment, computed once per session."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

from core.experiment import Experiment, parse, run
from core.store import Store

# a busy machine must not fail a test, and the same commit gives the same verdict
settings.register_profile("rewindlab", deadline=None, derandomize=True)
settings.load_profile("rewindlab")

ROOT = Path(__file__).resolve().parent.parent
TINY = {
    "data": {"kind": "digits", "members": 60, "non_members": 60, "reference": 60, "population": 40},
    "model": {"kind": "mlp", "hidden": [8]},
    "train": {"epochs": 2},
    "defence": {"finetune": {"epochs": 1}},
    "audit": {"attacks": ["loss"], "gradient_records": 0},
}
"""An experiment that runs in a second."""
SHARED_DATA = ROOT.parent / "shared" / "data"

SMALL = {
    "data": {"kind": "digits", "members": 120, "non_members": 100, "reference": 80, "population": 60},
    "model": {"kind": "convnet", "channels": [8, 8]},
    "train": {"epochs": 3},
    "defence": {"kind": "cwrf", "fraction": 0.05, "finetune": {"epochs": 2}},
}
"""A whole experiment in a second or two."""


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Experiment]:
    """A store with the small experiment finished, and the experiment. Do not write into this store."""
    store = Store(tmp_path_factory.mktemp("finished"))
    experiment = parse(SMALL)
    run(experiment, store)
    return store, experiment


@pytest.fixture
def finished_store(finished: tuple[Store, Experiment], monkeypatch: pytest.MonkeyPatch) -> Store:
    """The finished store as the one that pages open."""
    import streamlit

    store, _ = finished
    monkeypatch.setenv("REWINDLAB_STORE", str(store.root))
    streamlit.cache_resource.clear()
    yield store
    streamlit.cache_resource.clear()
