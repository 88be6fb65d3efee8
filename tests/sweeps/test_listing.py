"""The sweeps that a store knows, and which experiments are theirs alone."""

from __future__ import annotations

from core.store import Store
from core.sweeps.listing import in_sweeps, remember, sweeps
from core.sweeps.sweep import parse_sweep, points
from tests.conftest import TINY as BASE


def test_the_store_knows_its_sweeps_however_they_were_started(swept):
    store, sweep, _ = swept
    assert (sweep.hash, sweep) in sweeps(store)
    assert in_sweeps(store) >= {point.experiment.hash for point in points(sweep)}


def test_what_was_there_before_a_sweep_is_not_its_own(tmp_path):
    store = Store(tmp_path)
    sweep = parse_sweep({"base": BASE, "vary": {"defence.fraction": [0.1, 0.2]}})
    first, second = (point.experiment.hash for point in points(sweep))
    (store.root / f"experiment-{first}").mkdir()
    (store.root / f"experiment-{first}" / "stage.json").write_text("{}")
    remember(store, sweep)
    remember(store, sweep)  # as a resumed sweep does, whose points are there by then
    assert in_sweeps(store) == {second} and len(sweeps(store)) == 1
