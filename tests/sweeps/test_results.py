"""The table of a sweep: one row per point, what is missing is missing, and how it reads."""

from __future__ import annotations

import numpy as np
import pandas as pd

from core.progress import Progress
from core.report import sweep_text
from core.store import Store
from core.sweeps.results import bootstrapped, results
from core.sweeps.run import run_sweep
from core.sweeps.sweep import parse_sweep, points
from tests.conftest import TINY as BASE


def test_results_have_one_row_per_point_and_one_baseline(swept):
    store, sweep, _ = swept
    rows = results(store, sweep)
    assert rows["method"].tolist().count("none") == 1 and len(rows) == 7
    line = rows[rows["defence.mode"] == "A2"]
    assert line["strength"].tolist() == [0.01, 0.1, 0.3] and line["method"].nunique() == 1
    assert ((rows["auc_low"] <= rows["auc"]) & (rows["auc"] <= rows["auc_high"])).all()
    one = next(p for p in points(sweep) if p.label["defence.mode"] == "A2")
    assert rows["experiment"].tolist()[1] == one.experiment.hash


def test_an_attack_that_a_point_did_not_run_is_missing_there(swept):
    store, sweep, _ = swept
    rows = results(store, sweep, "lira")
    assert len(rows) == 7 and rows["auc"].isna().all() and rows["test_accuracy"].notna().all()


def test_points_that_differ_in_more_than_seeds_are_told_apart(tmp_path):
    store = Store(tmp_path)
    base = BASE | {"train": {"epochs": 1}}
    grid = parse_sweep({"base": base, "vary": {"model.kind": ["mlp", "convnet"]}})
    run_sweep(grid, store, Progress())
    rows = results(store, grid)
    assert rows["method"].nunique() == len(rows) == 4
    listed = parse_sweep({"base": base, "points": [{"changes": {"train.epochs": 1}}, {"changes": {"train.epochs": 2}}]})
    assert [p.label["strength"] for p in points(listed)] == [1.0, 2.0]


def test_records_without_a_score_play_no_part_in_the_bootstrap(tmp_path):
    """Gradient norms are computed of some records only, the others have no score."""
    store, frames = Store(tmp_path), []
    for seed in (0, 1):
        score = np.random.default_rng(seed).normal(size=200) + (np.arange(200) < 100)
        known = pd.DataFrame({"member": np.arange(200) < 100, "score_gradient_norm": score})
        gaps = pd.DataFrame({"member": [True, False] * 20, "score_gradient_norm": np.nan})
        for name, table in ((f"whole{seed}", known), (f"gaps{seed}", pd.concat([known, gaps]))):
            (tmp_path / name).mkdir()
            table.to_parquet(tmp_path / name / "records.parquet")
            frames.append({"method": name[:-1], "strength": np.nan, "seed": seed, "audit": name})
    found = bootstrapped(store, pd.DataFrame(frames), "gradient_norm", resamples=20)
    assert found["gaps", None] == found["whole", None] and 0.5 < found["gaps", None].low < 1


def test_results_have_the_rate_at_a_tenth_of_a_per_cent(swept):
    store, sweep, _ = swept
    for row in results(store, sweep).to_dict("records"):
        table = pd.read_parquet(store.root / row["audit"] / "attacks.parquet")
        (audited,) = table[table["group"] == "all"].to_dict("records")
        names = ("tpr_001", "tpr_001_low", "tpr_001_high")
        assert [row[name] for name in names] == [audited[name] for name in names]


def test_a_guarantee_is_told_with_its_delta_and_only_where_there_is_one():
    def row(method: str, seed: int, epsilon: float, tuning: float = float("nan")) -> dict:
        measured = {f"{name}{end}": 0.5 for name in ("test_accuracy", "auc", "tpr_01") for end in ("", "_low", "_high")}
        delta = 1 / 240 if epsilon == epsilon else float("nan")
        at = {"method": method, "strength": float("nan"), "seed": seed}
        spent = {"dp_epsilon": epsilon, "dp_delta": delta, "tuning_epsilon": tuning, "tuning_delta": 1 / 240}
        return at | measured | spent

    none = float("nan")
    rows = pd.DataFrame([row("none", 0, none), row("one", 0, 7.96), row("two", 0, 4.0), row("two", 1, 4.0)])
    rows = pd.concat([rows, pd.DataFrame([row("weak", 0, 4321.0)])])
    head, before, one, two, weak = sweep_text(rows).splitlines()
    assert head.endswith("guaranteed ε") and before.endswith("–")
    assert one.endswith("  7.96, δ = 0.004") and two.endswith("  4, δ = 0.004")
    assert weak.endswith("  > 1000: vacuous, δ = 0.004")
    assert "guaranteed" not in sweep_text(rows[:1])
    tuned = pd.DataFrame([row("none", 0, none), row("tuned", 0, none, 7.96), row("tuned", 1, none, 7.96)])
    head, before, line = sweep_text(tuned).splitlines()
    assert head.endswith("guaranteed ε") and before.endswith("–")
    assert line.endswith("  7.96, δ = 0.004 (the fine-tuning alone)")
