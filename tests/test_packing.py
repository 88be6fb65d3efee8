"""Weights as a file that says what they need to be used."""

from __future__ import annotations

import json

from safetensors import safe_open
from safetensors.torch import load_file

from core.data import Dataset
from core.experiment import Experiment, plan
from core.models import MODELS, checkpoints
from core.models.build import build
from core.packing import packed
from core.store import Store


def test_a_file_alone_is_enough_to_use_the_weights(finished: tuple[Store, Experiment], tmp_path) -> None:
    store, experiment = finished
    folders = {name: store.path(stage) for name, stage in plan(experiment).items()}
    dataset = Dataset.read(folders["data"], records=False)
    file = tmp_path / "defended.safetensors"
    file.write_bytes(packed(folders["defended"], dataset, experiment, experiment.hash))
    with safe_open(file, framework="numpy") as opened:
        about = {name: json.loads(text) for name, text in opened.metadata().items()}
    assert set(about) == {"model", "classes", "shape", "mean", "std", "released", "experiment"}
    assert about["experiment"] == experiment.hash and about["released"] is None
    assert (about["mean"], about["std"]) == (dataset.mean.tolist(), dataset.std.tolist())
    config = MODELS[about["model"]["kind"]].model_validate(about["model"])
    assert config == experiment.model
    network = build(config, tuple(about["shape"]), len(about["classes"]), 0)
    checkpoints.fit(network, checkpoints.read(file))
    stored = load_file(folders["defended"] / "final.safetensors")
    assert all(value.equal(stored[name]) for name, value in network.state_dict().items())
