"""The stages that make weights: reading records, training, bringing, rewinding and fine-tuning a model."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors.numpy import load_file as load_arrays
from safetensors.numpy import save_file as save_arrays

from core.data import Dataset
from core.data import build as build_dataset
from core.data.to_tensors import tensors
from core.defenses import CrossEntropy
from core.experiment import INDEX, Experiment
from core.importance import ScoreIndex
from core.importance.vulnerability import PVE
from core.models import checkpoints
from core.models.regions import describe
from core.pipeline import FRESH, OnEpoch, Records, Rewound, Trained, make, rewind_weights, state_of
from core.pipeline import train as train_pipeline
from core.queries import Trajectory
from core.rewinding.apply import State, frozen
from core.rewinding.config import CWRF
from core.store import Build, write_json
from core.training.device import device
from core.training.recipe import TrainConfig


def data(b: Build, e: Experiment, key: str) -> None:
    """records.safetensors and dataset.json: the selected records, their labels, flips and splits."""
    b.update(0, 1, "reading records")
    build_dataset(e.data).save(b.folder)


def train(b: Build, e: Experiment, key: str) -> None:
    """initial, final and scores safetensors, layers and log Parquet of one training run; privacy.json of DP-SGD."""
    dataset, model = start_of(b, e, e.seed)
    if "load" in b.inputs:
        checkpoints.fit(model, checkpoints.read(b.inputs["load"] / "initial.safetensors"), "initial weights")
    _run(b, e, dataset, model)


def load(b: Build, e: Experiment, key: str) -> None:
    """Weights a person brought, checked against the architecture, in the same files as a training run."""
    assert e.weights
    _, model = start_of(b, e, e.weights.initial_seed)
    if e.weights.initial:
        checkpoints.fit(model, checkpoints.read(e.weights.initial), "initial weights")
    initial = state_of(model)
    checkpoints.fit(model, checkpoints.read(e.weights.trained), "trained weights")
    _save(b, Trained(initial, state_of(model), [], {}), pd.DataFrame(describe(model)))


def rewind(b: Build, e: Experiment, key: str) -> None:
    """The defended model: masks, final weights, how many weights per layer, log of the fine-tuning."""
    dataset, model, rewound = rewound_model(b, e)
    held = frozen(masks=rewound.masks, mode=b.config["defence"]["mode"])
    _run(b, e, dataset, model, rewound.state, held, rewound.layers)
    packed = {name: np.packbits(mask.numpy().ravel()) for name, mask in rewound.masks.items()}
    save_arrays(packed, b.folder / "masks.safetensors")


def finetune(b: Build, e: Experiment, key: str) -> None:
    """The trained model fine-tuned with nothing rewound, in the same files as a rewind."""
    dataset, model = start_of(b, e)
    _run(b, e, dataset, model, checkpoints.read(b.inputs["trained"] / "final.safetensors"))


def start_of(b: Build, e: Experiment, seed: int = 0) -> tuple[Dataset, torch.nn.Module]:
    """The records of a stage, and a freshly initialised model that takes them."""
    dataset = Dataset.read(b.inputs["data"])
    e.model.fits(dataset.shape)
    return dataset, make(e.model, dataset.shape, len(dataset.classes), seed)


def rewound_model(b: Build, e: Experiment) -> tuple[Dataset, torch.nn.Module, Rewound]:
    """The records of a stage, a model that takes them, and what the rewind at hand makes of its weights."""
    config = CWRF.model_validate(b.config["defence"])
    dataset, model = start_of(b, e, e.seed + FRESH)
    if config.rewind_to == "fresh":
        target = state_of(model)
    elif config.rewind_to == "early":
        target = checkpoints.read(b.inputs["early"] / "final.safetensors")
    else:
        target = checkpoints.read(b.inputs["vulnerability"] / "initial.safetensors")
    ranked = b.inputs["ranked"]
    own = ranked / "index.npy"
    rewound = rewind_weights(
        model,
        base=checkpoints.read(b.inputs["base"] / "final.safetensors"),
        target=target,
        scores=load_arrays(ranked / "scores.safetensors"),
        config=config,
        index=ScoreIndex.open(own if own.is_file() else b.inputs["scores"] / INDEX[config.selection]),
        held=masks(b.inputs["previous"], dict(model.named_parameters())) if "previous" in b.inputs else None,
    )
    return dataset, model, rewound


def masks(folder: Path, weights: Mapping[str, torch.Tensor | np.ndarray]) -> State:
    """The masks a rewind stage packed, in the shapes of these weights (or of their scores)."""
    packed = load_arrays(folder / "masks.safetensors")
    shapes = {name: tuple(weights[name].shape) for name in packed}
    flat = {name: np.unpackbits(bits, count=math.prod(shapes[name])).astype(bool) for name, bits in packed.items()}
    return {name: torch.from_numpy(mask).view(shapes[name]) for name, mask in flat.items()}


def records(dataset: Dataset) -> Records:
    """Everything a training stage may need of a data set, on the device."""
    part = {name: tensors(dataset, name, device()) for name in ("members", "non_members", "reference")}
    watch = {name: part[name] for name in ("members", "non_members")}
    return Records(part["members"], part["reference"], watch)


def reporter(b: Build, epochs: int, *others: OnEpoch) -> OnEpoch:
    """Tells the others, then the stage's progress, of every epoch and its rows of the log."""
    b.notes["device"] = str(device())

    def report(epoch: int, rows: list[dict]) -> None:
        for other in others:
            other(epoch, rows)
        for row in rows or (None,):
            b.update(epoch, epochs, f"epoch {epoch} of {epochs}", row)

    return report


def recipe_in(b: Build) -> TrainConfig:
    """The recipe of a training stage with its objective, from the stage's own config."""
    given = b.config["objective"]
    pve = given["kind"] == PVE.model_fields["kind"].default
    objective = PVE(**given) if pve else TrainConfig(objective=given).objective
    # not validated again: a fine-tuning may have no epochs, a training may not
    return TrainConfig().model_copy(update=b.config["recipe"] | {"objective": objective})


def _run(
    b: Build,
    e: Experiment,
    dataset: Dataset,
    model: torch.nn.Module,
    start: State | None = None,
    held: State | None = None,
    layers: pd.DataFrame | None = None,
) -> None:
    """Train as the stage's config says, fine-tune where there is a start, and save all that is kept of the run."""
    recipe, stop_after = recipe_in(b), b.config.get("stop_after")
    epochs = min(recipe.epochs, stop_after or recipe.epochs)
    path = Trajectory(dataset, epochs)
    done = train_pipeline(
        model,
        records(dataset),
        recipe=recipe,
        seed=e.seed,
        objective=recipe.objective,
        start=start,
        held=held,
        # of these two always: a learnability stage may find this very run in the store
        scores=start is None and isinstance(recipe.objective, CrossEntropy | PVE),
        stop_after=stop_after,
        # scoring with PVE is never attacked
        on_epoch=reporter(b, epochs, *([] if isinstance(recipe.objective, PVE) else [path.of(model)])),
    )
    _save(b, done, pd.DataFrame(describe(model)) if layers is None else layers)
    if done.scores:
        save_arrays(done.scores, b.folder / "scores.safetensors")
    if done.privacy:
        # of a fine-tuning the guarantee does not cover what its starting weights had seen
        covers = "training" if start is None else "fine-tuning"
        write_json(b.folder / "privacy.json", done.privacy | {"covers": covers})
    if losses := path.arrays():
        save_arrays(losses, b.folder / "trajectory.safetensors")


def _save(b: Build, done: Trained, layers: pd.DataFrame) -> None:
    checkpoints.save(done.initial, b.folder / "initial.safetensors")
    checkpoints.save(done.final, b.folder / "final.safetensors")
    b.write("layers", layers)
    b.write("log", pd.DataFrame(done.log, columns=["epoch", "split", "loss", "accuracy", "records", "objective"]))
