"""Shared by all tests: a store with one small finished experiment, computed once per session."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

from core import jobs
from core.experiment import Experiment, parse, run
from core.store import Store
from core.sweeps.sweep import Sweep, parse_sweep, points

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


def wait_for_job(
    store: Store, condition: Callable[[jobs.JobStatus], bool], key: str, seconds: float = 20.0
) -> jobs.JobStatus:
    """The first status for which the condition holds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        job = jobs.status(store, key)
        if job is not None and condition(job):
            return job
        time.sleep(0.02)
    raise AssertionError(f"still {jobs.status(store, key)}; log: {(store.root / 'jobs' / key / 'log.txt').read_text()}")


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Experiment]:
    """A store with the small experiment finished, and the experiment. Do not write into this store."""
    store = Store(tmp_path_factory.mktemp("finished"))
    experiment = parse(SMALL)
    run(experiment, store)
    return store, experiment


@pytest.fixture(scope="session")
def private(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Sweep]:
    """A store with the points of a sweep finished that use DP-SGD in every way, each under the name of its way (label
    "method"), and the sweep. Do not write into this store."""
    dpsgd = {"kind": "dpsgd", "target_epsilon": 20, "accountant": "rdp"}
    group = {"model.norm": "group"}
    tuned = {"epochs": 1, "objective": dpsgd}
    ways: dict[str, dict] = {
        "no DP-SGD": {},
        "from scratch": group | {"defence": {"kind": "scratch", "objective": dpsgd}},
        "fine-tuned": group | {"defence": {"kind": "fine-tuning", "finetune": tuned}},
        "CWRF": group | {"defence": {"kind": "cwrf", "finetune": tuned}},
        "no defence": group | {"train.objective": dpsgd, "defence": None},
    }
    model = {"kind": "convnet", "channels": [4, 4]}
    base = TINY | {"model": model, "train": {"epochs": 2, "batch_size": 20}}
    listed = [{"label": {"method": name}, "changes": changes} for name, changes in ways.items()]
    sweep = parse_sweep({"base": base, "points": listed})
    store = Store(tmp_path_factory.mktemp("private"))
    for point in points(sweep):
        run(point.experiment, store)
    return store, sweep


@pytest.fixture
def finished_store(finished: tuple[Store, Experiment], monkeypatch: pytest.MonkeyPatch) -> Store:
    """The finished store as the one that pages open."""
    import streamlit

    store, _ = finished
    monkeypatch.setenv("REWINDLAB_STORE", str(store.root))
    streamlit.cache_resource.clear()
    yield store
    streamlit.cache_resource.clear()
