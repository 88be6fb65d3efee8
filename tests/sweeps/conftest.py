"""One sweep that the tests of sweeps look at; they leave its store as they find it."""

from __future__ import annotations

import pytest

from core.progress import Progress
from core.store import Store
from core.sweeps.run import run_sweep
from core.sweeps.sweep import parse_sweep
from tests.conftest import TINY as BASE

GRID = {"base": BASE, "vary": {"defence.fraction": [0.01, 0.1, 0.3], "defence.mode": ["A2", "A3"]}}


class Recorder(Progress):
    def __init__(self):
        super().__init__()
        self.said, self.texts = [], []

    def update(self, key, done, total, text="", row=None):
        self.said.append((key, done, total))
        self.texts.append(text)
        super().update(key, done, total, text, row)


@pytest.fixture(scope="package")
def swept(tmp_path_factory):
    store, progress = Store(tmp_path_factory.mktemp("sweep")), Recorder()
    sweep = parse_sweep(GRID)
    run_sweep(sweep, store, progress)
    return store, sweep, progress
