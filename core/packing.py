"""Weights of a finished experiment as one file that says what they need to be used. Free of torch."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors.numpy import load_file, save

from core.data import Dataset
from core.defence import objective_of
from core.experiment import Experiment


def packed(defended: Path, dataset: Dataset, experiment: Experiment, key: str) -> bytes:
    """The defended weights as safetensors, with what has to be known about them in the file's header.

    defended: folder of the stage. dataset: of the experiment; its records are not needed. The header's entries are
    JSON texts: model, classes, shape, mean, std (of x / 255 for images), released (how outputs are replaced, or null)
    and experiment (its hash, `key`).
    """
    assert experiment.defence
    about = {
        "model": experiment.model.model_dump(mode="json"),
        "classes": dataset.classes,
        "shape": dataset.shape,
        "mean": dataset.mean.tolist(),
        "std": dataset.std.tolist(),
        "released": objective_of(experiment.defence).released or None,
        "experiment": key,
    }
    return save(load_file(defended / "final.safetensors"), {name: json.dumps(value) for name, value in about.items()})
