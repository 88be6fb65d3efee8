"""Running a sweep: points share what they can, and nothing finished is lost."""

from __future__ import annotations

import shutil
import sys
from types import ModuleType

import pandas as pd
import pytest

from core import jobs
from core.config import BadInput
from core.experiment import finished, plan
from core.progress import Cancelled, Progress
from core.stages import STAGES
from core.store import Store, read_json
from core.sweeps.listing import sweeps
from core.sweeps.results import results
from core.sweeps.run import run_sweep, submit
from core.sweeps.sweep import parse_sweep, points
from tests.conftest import TINY as BASE
from tests.sweeps.conftest import GRID, Recorder

REFERENCES = {
    "base": BASE | {"audit": {"attacks": ["rmia"], "gradient_records": 0, "shadows": {"models": 2}}},
    "vary": {"defence.fraction": [0.1, 0.2]},
}
"""Two points with reference models."""


def kinds(store):
    return [path.name.split("-")[0] for path in store.root.glob("*-*") if path.is_dir()]


def test_points_share_training_and_scores(swept):
    store, sweep, progress = swept
    found = kinds(store)
    # training (which is the learnability run too) and PVE once, though six experiments need them
    assert found.count("train") == 2 and found.count("scores") == 1 and found.count("data") == 1
    assert found.count("rewind") == found.count("experiment") == sweep.size == 6
    assert found.count("audit") == 7
    assert progress.said[-1] == ("points", 6, 6) and ("points", 3, 6) in progress.said
    assert any(key == "shared" for key, _, _ in progress.said)


def test_every_point_is_the_experiment_run_by_itself(swept, tmp_path):
    """A worker process gives what a single run gives."""
    from core.experiment import run

    store, sweep, _ = swept
    point = points(sweep)[2]
    alone = run(point.experiment, Store(tmp_path))
    row = results(store, sweep).set_index("experiment").loc[point.experiment.hash]
    assert float(row["test_accuracy"]) == alone["after"]["test_accuracy"]
    assert float(row["auc"]) == pytest.approx(alone["after"]["attacks"]["loss"]["auc"], abs=1e-4)


def test_a_second_run_computes_nothing_and_a_lost_point_alone_is_made_again(swept):
    store, sweep, _ = swept
    before = {path: path.stat().st_mtime_ns for path in store.root.glob("*-*")}
    run_sweep(sweep, store, Progress())
    assert {path: path.stat().st_mtime_ns for path in store.root.glob("*-*")} == before
    lost = points(sweep)[0].experiment
    shutil.rmtree(store.root / f"experiment-{lost.hash}")
    assert len(results(store, sweep)) == 6
    run_sweep(sweep, store, Progress())
    assert finished(store, lost.hash) and len(results(store, sweep)) == 7


def test_stopping_keeps_finished_points(tmp_path):
    store = Store(tmp_path)

    class StopAfterTwo(Progress):
        def update(self, key, done, total, text="", row=None):
            if key == "points" and done == 2:
                self.cancel()
            super().update(key, done, total, text, row)

    sweep = parse_sweep(GRID)
    with pytest.raises(Cancelled):
        run_sweep(sweep, store, StopAfterTwo())
    kept = results(store, sweep)
    assert 2 <= len(kept) - 1 < 6
    run_sweep(sweep, store, Progress())
    assert len(results(store, sweep)) == 7


def test_seeds_change_split_and_weights(tmp_path):
    sweep = parse_sweep({"base": BASE, "vary": {"defence.fraction": [0.1]}, "seeds": 3})
    found = points(sweep)
    assert [(p.seed, p.experiment.data.seed) for p in found] == [(0, 0), (1, 1), (2, 2)]
    assert len({plan(p.experiment)["data"].hash for p in found}) == 3


def test_one_impossible_point_does_not_stop_the_others(tmp_path):
    store = Store(tmp_path)
    sweep = parse_sweep(
        {"base": BASE, "points": [{"label": {"method": "fine"}}, {"changes": {"defence.regions": ["roof"]}}]}
    )
    with pytest.raises(BadInput, match=r"1 of 2 points failed.*unknown region 'roof'"):
        run_sweep(sweep, store, Progress())
    assert [p.label.get("method") for p in points(sweep) if finished(store, p.experiment.hash)] == ["fine"]


def test_a_shared_stage_that_fails_does_not_stop_the_others(tmp_path):
    store = Store(tmp_path)
    lost = {"train.lr": 90.0, "train.momentum": 0.99, "train.epochs": 40, "model.hidden": [64, 64, 64]}
    varied = [{"changes": {**lost, "defence.mode": mode}} for mode in ("A1", "A3")]
    kept = [{"changes": {"defence.mode": mode}, "label": {"method": mode}} for mode in ("A1", "A3")]
    sweep = parse_sweep({"base": BASE, "points": [*varied, *kept]})
    with pytest.raises(BadInput, match=r"2 of 4 points failed.*not finite"):
        run_sweep(sweep, store, Progress())
    assert [p.label["method"] for p in points(sweep) if finished(store, p.experiment.hash)] == ["A1", "A3"]


def test_a_shared_stage_that_fails_in_any_way_does_not_stop_the_others(tmp_path, monkeypatch):
    """The stage fails in the sweep's own process alone: the points' processes compute it."""
    store, met = Store(tmp_path), []

    def fails(b, e, key):
        met.append(key)
        raise met_with

    monkeypatch.setitem(STAGES, "shadows", fails)
    met_with: Exception = Cancelled()
    sweep = parse_sweep(REFERENCES)
    with pytest.raises(Cancelled):
        run_sweep(sweep, store, Progress())
    assert met == ["shadows"]
    met_with = RuntimeError("no space left")
    run_sweep(sweep, store, Progress())
    assert met == ["shadows", "shadows"] and all(finished(store, p.experiment.hash) for p in points(sweep))


def test_references_are_trained_once_per_pipeline(tmp_path):
    """The undefended ones once for both points, the defended ones for each."""
    store, sweep = Store(tmp_path), parse_sweep(REFERENCES)
    run_sweep(sweep, store, Progress())
    found = [read_json(path / "stage.json")["config"]["pipeline"] for path in store.root.glob("reference-*")]
    fractions = [pipeline.get("defence", {}).get("fraction") for pipeline in found]
    assert sorted(fractions, key=str) == [0.1, 0.1, 0.2, 0.2, None, None]
    assert kinds(store).count("shadows") == 3


def test_a_point_whose_target_is_out_of_reach_costs_nothing(tmp_path):
    store, dpsgd = Store(tmp_path), {"kind": "dpsgd", "target_epsilon": 1e-6, "delta": 1e-9, "accountant": "rdp"}
    private = [
        {"train": {"batch_size": 20, "objective": dpsgd}, "defence.fraction": fraction} for fraction in (0.1, 0.2)
    ]
    sweep = parse_sweep(
        {"base": BASE, "points": [*({"changes": changes} for changes in private), {"label": {"method": "fine"}}]}
    )
    progress = Recorder()
    with pytest.raises(BadInput, match=r"2 of 3 points failed.*no noise up to sigma 1000 reaches target_epsilon"):
        run_sweep(sweep, store, progress)
    assert [p.label.get("method") for p in points(sweep) if finished(store, p.experiment.hash)] == ["fine"]
    assert kinds(store).count("train") == 2 and progress.texts[-1] == "3 of 3, 2 failed"


def test_a_worker_that_does_not_see_the_store_says_so(tmp_path):
    from core.sweeps.run import _compute

    assert "file system that all of them share" in _compute(str(tmp_path / "elsewhere"), {}, "experiment")


@pytest.mark.slow
def test_a_sweep_on_a_real_cluster_is_the_sweep_on_this_machine(tmp_path, monkeypatch):
    distributed = pytest.importorskip("distributed")
    # pages under test leave their script as the main module, which processes that are spawned would run again
    monkeypatch.setitem(sys.modules, "__main__", ModuleType("__main__"))
    audit = {"attacks": ["loss", "rmia"], "gradient_records": 0, "shadows": {"models": 2}}
    sweep = parse_sweep({"base": BASE | {"audit": audit}, "vary": {"defence.fraction": [0.1, 0.2]}})
    here, there, progress = Store(tmp_path / "here"), Store(tmp_path / "there"), Recorder()
    run_sweep(sweep, here, progress)
    assert any("several experiments share; 1 of 2 reference models" in text for text in progress.texts)
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster:
        monkeypatch.setenv("REWINDLAB_CLUSTER", cluster.scheduler_address)
        run_sweep(sweep, there, Progress())
    for attack in ("loss", "rmia"):
        one, other = (results(store, sweep, attack) for store in (here, there))
        pd.testing.assert_frame_equal(one, other)


@pytest.mark.slow
def test_a_job_runs_a_sweep(tmp_path):
    store = Store(tmp_path)
    sweep = parse_sweep({"name": "two", "base": BASE, "vary": {"defence.fraction": [0.1, 0.2]}})
    key = submit(store, sweep)
    assert jobs.status(store, key).kind == "sweep" and sweeps(store) == [(key, sweep)]
    import time

    deadline = time.monotonic() + 120
    while jobs.status(store, key).active and time.monotonic() < deadline:
        time.sleep(0.2)
    done = jobs.status(store, key)
    assert done.state == "done", (done.error, (done.folder / "log.txt").read_text())
    assert len(results(store, sweep)) == 3
    assert [(stage.key, stage.state) for stage in done.stages] == [("shared", "done"), ("points", "done")]
