"""Sweeps: what their points are, that they share what they can, and that nothing finished is lost."""

from __future__ import annotations

import json
import shutil
import sys
from types import ModuleType

import pandas as pd
import pytest

from core import jobs
from core.cli import main
from core.config import BadInput
from core.defence import objective_of
from core.experiment import Experiment, finished, parse, plan
from core.progress import Cancelled, Progress
from core.report import sweep_text
from core.store import Store
from core.sweeps.listing import in_sweeps, remember, sweeps
from core.sweeps.presets import FRACTIONS, PRESETS
from core.sweeps.results import results
from core.sweeps.run import run_sweep, submit
from core.sweeps.sweep import MOST, Sweep, parse_sweep, points, values_of
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


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    store, progress = Store(tmp_path_factory.mktemp("sweep")), Recorder()
    sweep = parse_sweep(GRID)
    run_sweep(sweep, store, progress)
    return store, sweep, progress


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


def test_results_have_one_row_per_point_and_one_baseline(swept):
    store, sweep, _ = swept
    rows = results(store, sweep)
    assert rows["method"].tolist().count("none") == 1 and len(rows) == 7
    line = rows[rows["defence.mode"] == "A2"]
    assert line["strength"].tolist() == [0.01, 0.1, 0.3] and line["method"].nunique() == 1
    assert ((rows["auc_low"] <= rows["auc"]) & (rows["auc"] <= rows["auc_high"])).all()
    one = next(p for p in points(sweep) if p.label["defence.mode"] == "A2")
    assert rows["experiment"].tolist()[1] == one.experiment.hash


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


def test_an_attack_that_a_point_did_not_run_is_missing_there(swept):
    store, sweep, _ = swept
    rows = results(store, sweep, "lira")
    assert len(rows) == 7 and rows["auc"].isna().all() and rows["test_accuracy"].notna().all()


def test_a_field_with_one_value_is_not_part_of_a_name():
    sweep = parse_sweep({"base": BASE, "vary": {"train.epochs": [2], "defence.fraction": [0.1, 0.2]}})
    assert [(p.label["method"], p.label["strength"]) for p in points(sweep)] == [
        ("CWRF + RelaxLoss", 0.1),
        ("CWRF + RelaxLoss", 0.2),
    ]


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


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (
            {"vary": {"defence.fraction": [0.1, 2]}},
            r"point defence.fraction 2: defence.fraction: should be less than 1",
        ),
        ({"vary": {"defence.fracton": [0.1]}}, "defence.fracton: there is no such field"),
        ({"vary": {"seed": list(range(MOST + 1))}}, f"has {MOST + 1} points, at most {MOST}"),
        ({"vary": {"seed": []}}, "vary.seed has no values"),
        ({"vary": {"seed": [1]}, "seeds": 0}, "seeds: should be greater"),
        ({"varied": {}}, "varied: there is no such field"),
    ],
)
def test_bad_sweeps_are_refused_before_anything_runs(value, said):
    with pytest.raises(BadInput, match=said):
        parse_sweep(value)


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize(
    "base",
    [
        {},
        {"defence": None},
        {"defence": {"kind": "scratch"}},
        {"model": {"kind": "mlp"}},
        {"defence": {"mode": "A2", "base": "trained"}},
        {"defence": {"selection": "random", "rewind_to": "fresh"}},
        {"defence": {"rounds": 2}},
    ],
)
def test_every_preset_is_valid_around_any_experiment(name, base):
    sweep = PRESETS[name].make(parse(base), 2)
    found = points(Sweep.model_validate(sweep.model_dump(mode="json")))
    assert len(found) == sweep.size and all(p.label.get("method") for p in found)
    hashes = [p.experiment.hash for p in found]
    assert len(set(hashes)) == len(hashes)


def test_the_sweep_over_r_has_twelve_points():
    found = points(PRESETS["fraction"].make(Experiment(), 1))
    assert [p.experiment.defence.fraction for p in found] == list(FRACTIONS) and len(found) == 12


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


def test_the_command_line(swept, capsys, tmp_path):
    store, _, _ = swept
    file = tmp_path / "sweep.json"
    file.write_text(json.dumps(GRID))
    assert main(["sweep", str(file), "--store", str(store.root), "--json", "--bootstrap"]) == 0
    out = capsys.readouterr().out
    rows = json.loads(out.strip().splitlines()[-1])
    assert len(rows) == 7 and rows[0]["method"] == "none" and rows[0]["strength"] is None
    assert "test accuracy" in out
    line = next(line for line in out.splitlines() if line.startswith("none"))
    # accuracy, AUC, TPR, calibration error, and AUC once more: it is the same AUC with another interval
    assert line.count("[") == 5
    assert line.split("[")[1].split()[-1] == line.split("[")[4].split()[-1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "nothing varies"),
        (["--preset", "everything"], "there is no preset everything"),
        (["--vary", "seed"], "write FIELD=VALUE"),
        (["--vary", "sed=1,2"], "there is no such field"),
        (["--vary", "seed=1,x"], "seed: give whole numbers from 0 up (got 'x')"),
        (["--vary", "seed=1,2", "--seeds", "2"], "give either seeds or values of vary.seed"),
    ],
)
def test_mistakes_on_the_command_line(arguments, said, capsys, tmp_path):
    assert main(["sweep", "--store", str(tmp_path), *arguments]) == 2
    assert said in capsys.readouterr().err


def test_points_that_differ_in_more_than_seeds_are_told_apart(tmp_path):
    store = Store(tmp_path)
    base = BASE | {"train": {"epochs": 1}}
    grid = parse_sweep({"base": base, "vary": {"model.kind": ["mlp", "convnet"]}})
    run_sweep(grid, store, Progress())
    rows = results(store, grid)
    assert rows["method"].nunique() == len(rows) == 4
    listed = parse_sweep({"base": base, "points": [{"changes": {"train.epochs": 1}}, {"changes": {"train.epochs": 2}}]})
    assert [p.label["strength"] for p in points(listed)] == [1.0, 2.0]


def test_a_shared_stage_that_fails_does_not_stop_the_others(tmp_path):
    store = Store(tmp_path)
    lost = {"train.lr": 90.0, "train.momentum": 0.99, "train.epochs": 40, "model.hidden": [64, 64, 64]}
    varied = [{"changes": {**lost, "defence.mode": mode}} for mode in ("A1", "A3")]
    kept = [{"changes": {"defence.mode": mode}, "label": {"method": mode}} for mode in ("A1", "A3")]
    sweep = parse_sweep({"base": BASE, "points": [*varied, *kept]})
    with pytest.raises(BadInput, match=r"2 of 4 points failed.*not finite"):
        run_sweep(sweep, store, Progress())
    assert [p.label["method"] for p in points(sweep) if finished(store, p.experiment.hash)] == ["A1", "A3"]


def test_an_attack_that_some_points_lack_is_missing_there(swept):
    store, sweep, _ = swept
    assert results(store, sweep, "entropy")["auc"].isna().all()


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("0.1, 2", [0.1, 2]),
        ("A2,A3", ["A2", "A3"]),
        ("none,5", [None, 5]),
        ("[8,16],[16]", [[8, 16], [16]]),
        ("true", [True]),
    ],
)
def test_values_as_people_type_them(text, values):
    assert values_of(text) == values


def test_presets_compare_like_with_like():
    """Nothing of the experiment's own objective stays in one rival and not in another, and no schedule is cut short."""
    own = {"kind": "hamp", "entropy_weight": 0.03, "gamma": 0.5, "test_time": True}
    sweep = PRESETS["defences"].make(parse({"defence": {"finetune": {"objective": own}}}), 1)
    hamp = [objective_of(p.experiment.defence) for p in points(sweep) if p.label.get("objective") == "HAMP"]
    assert len(hamp) == 4 and len({h.model_dump_json() for h in hamp}) == 1
    stopped = PRESETS["defences"].make(parse({"defence": {"kind": "scratch", "stop_after": 1}}), 1)
    cut = [p.label["method"] for p in points(stopped) if getattr(p.experiment.defence, "stop_after", None)]
    assert cut == ["early stopping, half the epochs"]


def test_presets_call_things_what_they_are_whatever_the_experiment_is():
    base = parse({"defence": {"mode": "A2", "selection": "random", "rewind_to": "fresh"}})
    for name in ("ablation", "defences", "selection", "fraction"):
        for p in points(PRESETS[name].make(base, 1)):
            d, method = p.experiment.defence, str(p.label["method"])
            if d.kind == "cwrf":
                assert (
                    d.rewind_to == "initial" and d.rounds == 1 and d.mode == (method[:2] if method[1] in "12" else "A3")
                )
                assert (d.fraction < 1e-9) == ("base" in method or method == "nothing rewound")
                assert d.selection == (
                    "pve"
                    if name != "selection" or p.label["rule"] == "nothing"
                    else p.label["rule"].lower().replace("past γ", "past")
                )
    trained = [
        str(p.label["method"]) for p in points(PRESETS["ablation"].make(parse({"defence": {"base": "trained"}}), 1))
    ]
    assert "A3 from the scoring run" in trained
    past = [
        p.experiment.defence for p in points(PRESETS["defences"].make(base, 1)) if p.label.get("objective") == "PAST"
    ]
    assert [objective_of(d).plain_epochs for d in past] == [10, 0, 0, 0]


def test_a_grid_over_seeds_repeats_the_points_it_does_not_make_lines_of_them():
    varied = points(parse_sweep({"base": BASE, "vary": {"seed": [0, 1], "defence.fraction": [0.1, 0.2]}}))
    repeated = points(parse_sweep({"base": BASE, "vary": {"defence.fraction": [0.1, 0.2]}, "seeds": 2}))
    assert [(p.label, p.seed, p.experiment.hash) for p in varied] == [
        (p.label, p.seed, p.experiment.hash) for p in repeated
    ]
    assert parse_sweep({"base": BASE, "vary": {"seed": [4, 7]}}).repeats == 2


def test_weights_somebody_brings_are_never_trained_with_what_does_not_fit_them():
    given = {"weights": {"trained": "x"}, "defence": {"base": "trained"}}
    objectives = {p.label.get("objective") for p in PRESETS["defences"].make(parse(given), 1).points}
    assert "DP-SGD" not in objectives and "CRL" in objectives


def test_too_many_seeds_in_a_preset(capsys, tmp_path):
    assert main(["sweep", "--store", str(tmp_path), "--preset", "defences", "--seeds", "50"]) == 2
    assert "at most 1000" in capsys.readouterr().err


def test_results_have_the_rate_at_a_tenth_of_a_per_cent(swept):
    store, sweep, _ = swept
    for row in results(store, sweep).to_dict("records"):
        table = pd.read_parquet(store.root / row["audit"] / "attacks.parquet")
        (audited,) = table[table["group"] == "all"].to_dict("records")
        names = ("tpr_001", "tpr_001_low", "tpr_001_high")
        assert [row[name] for name in names] == [audited[name] for name in names]


def test_a_guarantee_is_told_with_its_delta_and_only_where_there_is_one():
    def row(method: str, seed: int, epsilon: float) -> dict:
        measured = {f"{name}{end}": 0.5 for name in ("test_accuracy", "auc", "tpr_01") for end in ("", "_low", "_high")}
        delta = 1 / 240 if epsilon == epsilon else float("nan")
        at = {"method": method, "strength": float("nan"), "seed": seed}
        return at | measured | {"dp_epsilon": epsilon, "dp_delta": delta}

    none = float("nan")
    rows = pd.DataFrame([row("none", 0, none), row("one", 0, 7.96), row("two", 0, 4.0), row("two", 1, 4.0)])
    rows = pd.concat([rows, pd.DataFrame([row("weak", 0, 4321.0)])])
    head, before, one, two, weak = sweep_text(rows).splitlines()
    assert head.endswith("guaranteed ε") and before.endswith("–")
    assert one.endswith("  7.96, δ = 0.004") and two.endswith("  4, δ = 0.004")
    assert weak.endswith("  > 1000: vacuous, δ = 0.004")
    assert "guaranteed" not in sweep_text(rows[:1])
