"""The experiment as a value: what its hash sees, what a change re-uses, and what a finished run says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.numpy import load_file, save_file

from core.config import BadInput
from core.experiment import config_of, parse, plan, preview_stage, run, selection, summary
from core.metrics import clopper_pearson
from core.progress import Cancelled, Progress
from core.report import text
from core.store import Store, read_json

ROOT = Path(__file__).resolve().parent.parent
ATTACKS = ["loss", "mentr", "entropy", "top1", "correctness", "gradient_norm"]
TINY = {
    "data": {"kind": "digits", "members": 40, "non_members": 30, "reference": 20, "population": 20},
    "model": {"kind": "mlp", "hidden": [8]},
    "train": {"epochs": 2},
    "defence": {"kind": "cwrf", "fraction": 0.1, "finetune": {"epochs": 1}},
    "audit": {"attacks": ATTACKS, "gradient_records": 10},
}


def tiny(**changes) -> dict:
    return {**json.loads(json.dumps(TINY)), **changes}


def defence(**changes) -> dict:
    return tiny(defence={**TINY["defence"], **changes})


class Recorder(Progress):
    def __init__(self) -> None:
        super().__init__()
        self.states: dict[str, str] = {}
        self.rows: list[tuple[str, dict]] = []

    def stage(self, key, state, seconds=None):
        # made by this run, then met again under the same key as an input, is still made by this run
        if not (state == "reused" and self.states.get(key) == "done"):
            self.states[key] = state

    def update(self, key, done, total, text="", row=None):
        if row:
            self.rows.append((key, row))
        self.check()


def folders(store: Store) -> dict[str, int]:
    """Result folders and when their last file was written."""
    return {
        p.name: max(f.stat().st_mtime_ns for f in p.iterdir())
        for p in store.root.iterdir()
        if p.is_dir() and (p / "stage.json").is_file()
    }


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A store with TINY finished, its summary and what its run reported. Other tests add to it."""
    store, progress = Store(tmp_path_factory.mktemp("tiny")), Recorder()
    return store, run(parse(TINY), store, progress), progress


def test_the_hash_is_the_same_in_another_process_and_order_of_keys():
    code = f"from core.experiment import parse; print(parse({dict(reversed(TINY.items()))!r}).hash)"
    env = {**os.environ, "PYTHONHASHSEED": "12345"}
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    assert out.stdout.strip() == parse(TINY).hash
    assert len(parse(TINY).hash) == 16


def test_every_part_counts_in_the_hash():
    changes = [
        {"seed": 1},
        {"train": {"epochs": 3}},
        {"defence": None},
        {"audit": {"attacks": ["loss"]}},
        {"importance": {"lam": 0.4}},
        {"model": {"kind": "mlp", "hidden": [9]}},
        {"data": {**TINY["data"], "label_noise": 0.2}},
    ]
    assert len({parse(tiny(**change)).hash for change in [{}, *changes]}) == len(changes) + 1


def write_table(path: Path, seed: int = 0) -> Path:
    generator = np.random.default_rng(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    frame = pd.DataFrame(generator.random((120, 4)), columns=list("abcd")).assign(label=np.arange(120) % 3)
    frame.to_parquet(path)
    return path


def table(path: Path) -> dict:
    return tiny(data={**TINY["data"], "kind": "table", "path": str(path)})


def test_files_count_by_content_not_by_place(tmp_path, monkeypatch):
    one, two = write_table(tmp_path / "a.parquet"), write_table(tmp_path / "deep" / "b.parquet")
    other = write_table(tmp_path / "c.parquet", seed=1)
    assert parse(table(one)).hash == parse(table(two)).hash != parse(table(other)).hash
    monkeypatch.chdir(tmp_path)
    assert parse(table(Path("a.parquet"))).hash == parse(table(one)).hash
    before = parse(table(one)).hash
    write_table(one, seed=2)
    assert parse(table(one)).hash != before


def test_the_download_folder_does_not_count(tmp_path):
    data = {**TINY["data"], "kind": "svhn"}
    assert parse(tiny(data=data)).hash == parse(tiny(data={**data, "folder": str(tmp_path)})).hash


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(BadInput, match=r"there is no file .*nothing\.parquet"):
        plan(parse(table(tmp_path / "nothing.parquet")))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data": {"kind": "mnist"}}, "data.kind: should be one of 'digits', 'cifar10'"),
        ({"model": {"kind": "convnet"}, "data": {"kind": "table", "path": "x"}}, "use model.kind mlp"),
        ({"train": {"augment": True}, "data": {"kind": "table", "path": "x"}}, "train.augment crops and flips"),
        ({"data": {**TINY["data"], "reference": 1}}, "data.reference should be at least 2"),
        ({"data": {**TINY["data"], "members": 1}}, "data.members should be at least 2"),
        ({"audit": {"attacks": []}}, "audit.attacks: "),
        ({"defence": {"kind": "cwrf", "fraction": 0}}, r"defence.fraction: should be greater than 0 \(got 0\)"),
        ({"seed": -1}, r"seed: should be greater than or equal to 0 \(got -1\)"),
        ({"weights": {}}, "weights.trained: Field required"),
    ],
)
def test_bad_values_are_one_line(change, message):
    with pytest.raises(BadInput, match=message) as caught:
        parse(tiny(**change))
    assert "\n" not in str(caught.value)


def test_the_stages_in_order():
    keys = ["data", "train", "learnability", "vulnerability", "scores", "before", "defended", "after", "experiment"]
    stages = plan(parse(TINY))
    assert list(stages) == keys
    # the plain training is the learnability run: the same computation, once
    assert stages["train"].hash == stages["learnability"].hash != stages["vulnerability"].hash
    apart = plan(parse(tiny(train={"epochs": 2, "objective": {"kind": "relaxloss"}})))
    assert apart["train"].hash != apart["learnability"].hash == stages["learnability"].hash
    assert list(plan(parse(tiny(defence=None)))) == [key for key in keys if key not in ("defended", "after")]


def test_the_summary_keeps_the_contract(done):
    store, found, _ = done
    assert {"experiment", "dataset", "model", "weights", "before", "after"} <= set(found)
    assert found["experiment"] == parse(TINY).hash and (found["dataset"], found["model"]) == ("digits", "mlp")
    assert found["weights"]["count"] == 64 * 8 + 8 + 8 * 10 + 10
    assert set(found["weights"]["pearson"]) == {"linear", "all"}
    assert found["weights"]["rewound"] == round(0.1 * found["weights"]["count"])
    for side in (found["before"], found["after"]):
        assert {"train_accuracy", "test_accuracy", "train_loss", "test_loss", "attacks"} <= set(side)
        error, low, high = (side[f"test_calibration_error{end}"] for end in ("", "_low", "_high"))
        assert 0 <= low <= error <= high <= 1 and error > 0
        assert 0 <= side["test_accuracy_low"] <= side["test_accuracy"] <= side["test_accuracy_high"] <= 1
        assert list(side["attacks"]) == ATTACKS
        for attack in side["attacks"].values():
            assert {"auc", "auc_low", "auc_high", "members", "non_members", "tpr_at_fpr"} <= set(attack)
            assert set(attack["tpr_at_fpr"]) == {"0.01", "0.001"}
            for fpr, rate in attack["tpr_at_fpr"].items():
                hits, false = (attack[f"{name}_positives_at_fpr"][fpr] for name in ("true", "false"))
                assert rate == hits / attack["members"] and false <= float(fpr) * attack["non_members"]
                found_again = clopper_pearson(hits, attack["members"])
                assert attack["tpr_low_at_fpr"][fpr] == found_again.low
                assert attack["tpr_high_at_fpr"][fpr] == found_again.high
                assert attack["resolvable_at_fpr"][fpr] is False
            assert attack["auc_low"] <= attack["auc"] <= attack["auc_high"]
            ends = [attack[f"balanced_accuracy{end}"] for end in ("_low", "", "_high")]
            assert ends == sorted(ends) and attack["threshold_from"] == "other half"
            assert attack["epsilon"] >= 0 and attack["epsilon_one_run"] >= 0
    assert found["before"]["attacks"]["gradient_norm"]["members"] == 10
    assert found["before"]["attacks"]["loss"]["members"] == 40
    assert summary(store, found["experiment"]) == json.loads(json.dumps(found))


def test_the_numbers_are_those_of_the_stored_weights(done):
    """The audit recomputed from the files with plain numpy."""
    store, found, _ = done
    stages = plan(parse(TINY))
    final = load_file(store.path(stages["train"]) / "final.safetensors")
    data = load_file(store.path(stages["data"]) / "records.safetensors")
    x = (data["x"].reshape(len(data["x"]), -1) / 255.0 - data["mean"]) / data["std"]
    hidden = np.maximum(x @ final["hidden1.weight"].T + final["hidden1.bias"], 0)
    z = hidden @ final["head.weight"].T + final["head.bias"]
    correct = z.argmax(1) == data["y"]
    assert found["before"]["train_accuracy"] == pytest.approx(correct[data["splits.members"]].mean())
    assert found["before"]["test_accuracy"] == pytest.approx(correct[data["splits.non_members"]].mean())
    loss = np.log(np.exp(z).sum(1)) - z[np.arange(len(z)), data["y"]]
    a, b = -loss[data["splits.members"]], -loss[data["splits.non_members"]]
    area = (a[:, None] > b).mean() + 0.5 * (a[:, None] == b).mean()
    assert found["before"]["attacks"]["loss"]["auc"] == pytest.approx(area, abs=1e-3)
    assert found["before"]["train_loss"] == pytest.approx(-a.mean(), abs=1e-4)


def test_learnability_is_the_scores_of_the_plain_training(done):
    store, _, _ = done
    stages = plan(parse(TINY))
    assert store.path(stages["learnability"]) == store.path(stages["train"])
    scores = load_file(store.path(stages["train"]) / "scores.safetensors")
    index = np.load(store.path(stages["scores"]) / "learnability.npy", mmap_mode="r")
    layers = pd.read_parquet(store.path(stages["scores"]) / "layers.parquet")
    assert np.array_equal(index, np.concatenate([np.sort(scores[name], axis=None) for name in layers["name"]]))


def test_rewound_weights_are_the_initial_ones_after_fine_tuning(done):
    store, found, _ = done
    stages = plan(parse(TINY))
    final = load_file(store.path(stages["defended"]) / "final.safetensors")
    initial = load_file(store.path(stages["vulnerability"]) / "initial.safetensors")
    packed = load_file(store.path(stages["defended"]) / "masks.safetensors")
    total = 0
    for name, value in final.items():
        mask = np.unpackbits(packed[name])[: value.size].astype(bool).reshape(value.shape)
        assert np.array_equal(value[mask], initial[name][mask])
        total += mask.sum()
    assert total == found["weights"]["rewound"]


def test_the_log_reaches_the_progress(done):
    _, _, progress = done
    trained = [row for key, row in progress.rows if key == "train"]
    assert [(row["epoch"], row["split"]) for row in trained] == [
        (1, "members"), (1, "non_members"), (2, "members"), (2, "non_members")
    ]  # fmt: skip
    assert progress.states["learnability"] == "reused" and progress.states["after"] == "done"


def test_moving_the_slider_keeps_training_and_scores(done):
    store, _, _ = done
    before = folders(store)
    progress = Recorder()
    run(parse(defence(fraction=0.3)), store, progress)
    new = {name.split("-")[0]: name for name in folders(store) if name not in before}
    assert sorted(new) == ["audit", "experiment", "rewind"]
    assert {name: folders(store)[name] for name in before} == before  # nothing was written again
    kept = ("data", "train", "learnability", "vulnerability", "scores", "before")
    assert all(progress.states[key] == "reused" for key in kept)


def test_the_same_again_computes_nothing(done):
    store, found, _ = done
    before = folders(store)
    assert run(parse(TINY), store) == json.loads(json.dumps(found))
    assert folders(store) == before


def test_without_a_defence(done):
    store, found, _ = done
    audited = run(parse(tiny(defence=None)), store)
    assert audited["after"] is None and audited["paired"] == {} and "rewound" not in audited["weights"]
    assert audited["before"] == json.loads(json.dumps(found["before"]))
    assert "rewound" not in text(audited)


@pytest.mark.parametrize("mode", ["A1", "A2", "A3"])
@pytest.mark.parametrize("base", ["trained", "pve"])
def test_all_modes_and_bases_run(done, mode, base):
    store, _, _ = done
    e = parse(defence(mode=mode, base=base, fraction=0.2))
    found = run(e, store)
    final = load_file(store.path(plan(e)["defended"]) / "final.safetensors")
    assert found["after"]["attacks"].keys() == found["before"]["attacks"].keys()
    assert found["weights"]["rewound"] == round(0.2 * 610)
    if mode == "A1":
        assert sum((value == 0).sum() for value in final.values()) >= round(0.2 * 610)


def test_the_selection_of_a_page_is_the_selection_of_the_run(done):
    store, _, _ = done
    e = parse(TINY)
    stages = plan(e)
    quick = selection(store.path(stages["scores"]), e.defence)
    stored = pd.read_parquet(store.path(stages["defended"]) / "layers.parquet")
    assert quick["rewound"].tolist() == stored["rewound"].tolist() and quick["rewound"].sum() == 61


def test_the_preview_is_the_model_before_any_fine_tuning(done):
    store, _, _ = done
    preview = read_json(store.ensure(preview_stage(parse(TINY)), Progress()) / "preview.json")
    untuned = run(parse(defence(finetune={"epochs": 0})), store)
    assert preview["test_accuracy"] == untuned["after"]["test_accuracy"]
    assert preview["auc"] == untuned["after"]["attacks"]["loss"]["auc"]
    # the fine-tuning plays no part in it
    assert preview_stage(parse(TINY)).hash == preview_stage(parse(defence(finetune={"epochs": 5}))).hash


def test_the_experiment_of_a_hash(done):
    store, found, _ = done
    assert config_of(store, found["experiment"]) == parse(TINY)
    assert config_of(store, "0" * 16) is None
    assert config_of(store, "../../etc") is None and config_of(store, "") is None


def test_a_cancelled_run_keeps_what_was_finished(tmp_path):
    class Impatient(Recorder):
        def update(self, key, done, total, text="", row=None):
            if key == "vulnerability":
                self.cancel()
            super().update(key, done, total, text, row)

    store = Store(tmp_path)
    with pytest.raises(Cancelled):
        run(parse(TINY), store, Impatient())
    assert sorted(name.split("-")[0] for name in folders(store)) == ["data", "train"]
    assert not list((tmp_path / ".tmp").iterdir())
    progress = Recorder()
    run(parse(TINY), store, progress)
    assert progress.states["train"] == "reused" and progress.states["vulnerability"] == "done"


def test_weights_somebody_brings(done, tmp_path):
    store, found, _ = done
    source = store.path(plan(parse(TINY))["train"])
    brought = {"trained": str(source / "final.safetensors"), "initial": str(source / "initial.safetensors")}
    e = parse(tiny(weights=brought))
    assert "train" not in plan(e) and list(plan(e))[:2] == ["data", "load"]
    loaded = run(e, store)
    # the same weights: the same audit, and PVE from the same start finds the same weights
    assert loaded["before"] == json.loads(json.dumps(found["before"]))
    assert loaded["after"] == json.loads(json.dumps(found["after"]))

    state = {name: torch.from_numpy(value) for name, value in load_file(source / "final.safetensors").items()}
    torch.save(state, tmp_path / "model.pt")
    fresh = run(parse(tiny(weights={"trained": str(tmp_path / "model.pt"), "initial_seed": 3})), store)
    assert fresh["before"] == loaded["before"] and fresh["after"] != loaded["after"]


def test_brought_weights_that_do_not_fit(done, tmp_path):
    store, _, _ = done
    save_file({"hidden1.weight": np.zeros((3, 3), np.float32)}, tmp_path / "other.safetensors")
    with pytest.raises(BadInput, match="trained weights do not fit this architecture"):
        run(parse(tiny(weights={"trained": str(tmp_path / "other.safetensors")})), store)


def test_without_any_attack_that_applies(done):
    store, _, _ = done
    found = run(parse(tiny(audit={"attacks": ["gradient_norm"], "gradient_records": 0})), store)
    assert found["before"]["attacks"] == {} and found["paired"] == {} and "accuracy" in text(found)


def test_what_could_not_be_run_is_told_with_its_reason(done):
    store, found, _ = done
    assert found["before"]["not_run"] == found["after"]["not_run"] == {} and "not run" not in text(found)
    left_out = run(parse(tiny(audit={"attacks": ["lira", "loss", "rmia", "label_only"], "gradient_records": 0})), store)
    for side in ("before", "after"):
        assert list(left_out[side]["not_run"]) == ["lira", "rmia", "label_only"]
        assert left_out[side]["not_run"]["lira"] == (
            "LiRA online needs reference models: train reference models (audit.shadows.models)"
        )
    lines = [line for line in text(left_out).splitlines() if line.startswith("not run")]
    assert lines == [
        "not run: lira, rmia; needs reference models: train reference models (audit.shadows.models)",
        "not run: label_only; needs query labels: set Questions (audit.shadows.queries) to 2 or more",
    ]
    left_out["after"]["not_run"].pop("rmia")  # as where only the defended model has what it takes
    lines = [line for line in text(left_out).splitlines() if line.startswith("not run")]
    told = [line.partition(";")[0] for line in lines]
    assert told == ["not run: lira", "not run: label_only", "not run, before: rmia"]
    for side in ("before", "after"):
        del left_out[side]["not_run"]  # as a store of an earlier version holds it
    assert "not run" not in text(left_out)


def test_a_table_runs_too(tmp_path):
    found = run(parse(table(write_table(tmp_path / "t.parquet"))), Store(tmp_path / "runs"))
    assert found["dataset"] == "table" and found["classes"] == 3


def test_too_few_records(tmp_path):
    e = parse(tiny(data={**TINY["data"], "members": 5000}))
    with pytest.raises(BadInput, match="there are 1797 records, but 5070 are needed"):
        run(e, Store(tmp_path))


def test_the_report_shows_before_and_after_with_intervals(done):
    _, found, _ = done
    lines = text(found).splitlines()
    assert lines[0] == f"experiment {found['experiment']}: digits, mlp, 610 weights, 61 rewound"
    assert "Pearson: linear " in lines[1]
    for measure in ("accuracy", "calibration error"):
        assert any(line.startswith(f"{measure} on non-members") and line.count("[") == 2 for line in lines)
    assert any(line.startswith("AUC loss") and line.count("[") == 3 and "p " in line for line in lines)


def test_every_result_says_what_its_references_knew(done):
    _, found, _ = done
    loss = found["after"]["attacks"]["loss"]
    assert {name: row["adaptive"] for name, row in found["before"]["attacks"].items()} == dict.fromkeys(
        found["before"]["attacks"], "no references"
    )
    assert any(line.startswith("AUC loss (no references) ") for line in text(found).splitlines())
    # references without the defence exist only after it
    more = json.loads(json.dumps(found))
    more["before"]["attacks"]["lira"] = more["after"]["attacks"]["lira"] = loss | {"adaptive": "adaptive"}
    more["after"]["attacks"]["lira:non-adaptive"] = loss | {"adaptive": "non-adaptive"}
    lines = [line for line in text(more).splitlines() if line.startswith("AUC lira")]
    assert [line.split(")")[0] for line in lines] == ["AUC lira (adaptive", "AUC lira (non-adaptive"]
    assert lines[0].count("[") == 2 and lines[1].count("[") == 1 and lines[1].split(")")[1].split()[0] == "–"
    for side in ("before", "after"):  # as a store of an earlier version holds it
        del more[side]["attacks"]["loss"]["adaptive"]
    assert any(line.startswith("AUC loss  ") for line in text(more).splitlines())


@pytest.mark.parametrize("where", ["train", "defence"])
def test_dp_sgd_draws_its_batches_from_the_half_that_a_reference_trains_on(where):
    private = {"kind": "dpsgd", "sigma": 1.0}
    own = {"train": {"batch_size": 100}, "data": {**TINY["data"], "members": 120, "non_members": 60}}
    own["train"] |= {"objective": private} if where == "train" else {}
    own |= {"defence": {"kind": "scratch", "objective": private}} if where == "defence" else {"defence": None}
    assert parse(tiny(**own)).audit.shadows.models == 0  # 100 of 120 members
    with pytest.raises(BadInput, match=rf"{where}: reference models train on half .*, 90 records, .*batch_size 100"):
        parse(tiny(**own, audit={**TINY["audit"], "shadows": {"models": 2}}))
