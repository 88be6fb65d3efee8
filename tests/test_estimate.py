import json
import subprocess
import sys
from pathlib import Path

import pytest

from core import estimate as module
from core.estimate import estimate, measure
from core.experiment import Experiment, parse, plan
from core.importance.vulnerability import PVE
from core.store import Store
from core.training.recipes import suggested

VALUE = {
    "data": {"kind": "digits", "members": 100, "non_members": 100, "reference": 50, "population": 50},
    "model": {"kind": "mlp", "hidden": [8]},
    "train": {"epochs": 10, "batch_size": 32},
    "defence": {"kind": "cwrf", "finetune": {"epochs": 5}},
}


def pretend(store: Store, experiment: Experiment, stage: str, seconds: float, device: str = "cpu") -> None:
    """What a finished stage leaves, as far as the estimate reads it."""
    stages = plan(experiment)
    data = store.path(stages["data"])
    data.mkdir(exist_ok=True)
    (data / "stage.json").write_text(json.dumps({"config": stages["data"].config}))
    (data / "dataset.json").write_text(json.dumps({"shape": [1, 8, 8]}))
    done = stages[stage]
    record = {
        "config": done.config,
        "inputs": {name: item.hash for name, item in done.inputs.items()},
        "seconds": seconds,
        "created": "2026-01-01",
        "device": device,
    }
    store.path(done).mkdir()
    (store.path(done) / "stage.json").write_text(json.dumps(record))


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def test_unknown_without_a_rate(store):
    found = estimate(parse(VALUE), store)
    assert found.seconds is None and "timed" in found.basis


def test_a_finished_run_gives_the_rate(store):
    pretend(store, parse(VALUE), "train", 2.0)  # 10 epochs × 100 members: 2 ms each
    other = parse(VALUE | {"seed": 1})
    found = estimate(other, store)
    parts = {"train": 2.0, "vulnerability": 2.0 * PVE.work, "defended": 1.0}
    assert found.parts == pytest.approx(parts) and found.seconds == pytest.approx(sum(parts.values()))
    assert "one finished run" in found.basis and "2.0 s for 1 000 records" in found.basis


def test_a_scoring_run_gives_the_same_rate_as_a_plain_one(store):
    pretend(store, parse(VALUE), "vulnerability", 2.0 * PVE.work)
    assert estimate(parse(VALUE | {"seed": 1}), store).parts["train"] == pytest.approx(2.0)


def test_only_what_is_missing_is_counted(store):
    experiment = parse(VALUE)
    pretend(store, experiment, "train", 2.0)
    # with cross-entropy the learnability run is the training itself
    assert set(estimate(experiment, store).parts) == {"vulnerability", "defended"}
    pretend(store, experiment, "vulnerability", 2.0)
    done = estimate(experiment.model_copy(update={"defence": None}), store)
    assert done.seconds == 0 and "in the store already" in done.basis


def test_other_architectures_and_devices_say_nothing_other_batches_little(store):
    pretend(store, parse(VALUE), "train", 2.0)
    assert estimate(parse(VALUE | {"model": {"kind": "mlp", "hidden": [9]}}), store).seconds is None
    batch = parse(VALUE | {"train": {"epochs": 10, "batch_size": 64}})
    assert "other batch sizes" in estimate(batch, store).basis
    pretend(store, batch, "train", 4.0)
    assert estimate(parse(VALUE | {"seed": 1}), store).parts["train"] == pytest.approx(2.0)


def test_a_measurement_is_kept_and_is_of_the_right_size(store):
    experiment = parse(VALUE)
    entry = measure(experiment, store)
    assert entry["shape"] == [1, 8, 8] and entry["batch"] == 32 and 0 < entry["watch"] < entry["train"] < 0.1
    measure(experiment, store)
    kept = json.loads((store.root / "rates.json").read_text())["rates"]
    assert len(kept) == 1
    found = estimate(experiment, Store(store.root))
    watch = kept[0]["watch"] * 200
    assert found.parts["train"] == pytest.approx(10 * (100 * kept[0]["train"] + watch))
    assert "timed on this machine" in found.basis


def test_a_damaged_file_of_rates_counts_as_none(store):
    (store.root / "rates.json").write_text("{")
    assert estimate(parse(VALUE), store).seconds is None
    assert module._run(Path("nowhere")) is None


def test_the_estimate_of_a_finished_experiment_is_nothing(finished):
    store, experiment = finished
    assert estimate(experiment, store).seconds == 0
    assert estimate(experiment.model_copy(update={"seed": 3}), store).seconds > 0


def test_a_cluster_is_named_where_reference_models_would_go_to_it(store, monkeypatch):
    pretend(store, parse(VALUE), "train", 2.0)
    monkeypatch.setenv("REWINDLAB_CLUSTER", "tcp://host:8786")
    monkeypatch.setenv("REWINDLAB_WORKERS", "8")
    with_references = parse(VALUE | {"audit": {"shadows": {"models": 16}}})
    found = estimate(with_references, store)
    assert "as if tcp://host:8786 trained 8 at once" in found.basis
    assert "tcp://" not in estimate(parse(VALUE), store).basis
    monkeypatch.setenv("REWINDLAB_WORKERS", "16")
    assert estimate(with_references, store).parts["shadows"] == pytest.approx(found.parts["shadows"] / 2)


def test_estimates_need_no_torch():
    code = "import sys, core.estimate, core.brought, core.training.recipes; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[1], check=False).returncode == 0


def test_every_pair_has_a_recipe():
    assert suggested("digits", "convnet") == Experiment().train
    assert suggested("cifar10", "vit").optimizer == "adamw"
    assert {suggested(data, model).schedule for data in ("table", "images") for model in ("mlp", "resnet18")} == {
        "cosine"
    }
