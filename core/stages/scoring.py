"""The stages that score weights: the statistics of both scores, rival rankings, and what a rewind moved."""

from __future__ import annotations

import copy

import numpy as np
import pandas as pd
import torch
from safetensors.numpy import load_file as load_arrays
from safetensors.numpy import save_file as save_arrays

from core.experiment import Experiment
from core.importance import ScoreIndex, moved, statistics
from core.models import checkpoints
from core.models.regions import describe
from core.pipeline import kept
from core.pipeline import ranking as rank
from core.pipeline import train as train_pipeline
from core.stages.training import masks, recipe_in, records, reporter, start_of
from core.store import Build


def scores(b: Build, e: Experiment, key: str) -> None:
    """Sorted indexes of both scores and their small tables."""
    both = {name: load_arrays(b.inputs[name] / "scores.safetensors") for name in ("learnability", "vulnerability")}
    layers = pd.read_parquet(b.inputs["vulnerability"] / "layers.parquet")
    both = {name: {layer: score[layer] for layer in layers["name"]} for name, score in both.items()}
    types = dict(zip(layers["name"], layers["type"], strict=True))
    for step, (name, score) in enumerate(both.items()):
        b.update(step, 3, f"sorting {name}")
        index = ScoreIndex.of(score)
        index.save(b.folder / f"{name}.npy")
        b.write(f"shares_{name}", statistics.top_shares(index))
        b.write(f"histograms_{name}", statistics.histograms(score))
        b.write(f"concentration_{name}", statistics.concentration(score))
        layers[f"{name}_share"] = statistics.shares_by_layer(score).reindex(layers["name"]).to_numpy()
    b.update(2, 3, "correlations")
    b.write("correlations", statistics.correlations(**both, types=types))
    save_arrays(statistics.density(both["learnability"], both["vulnerability"]), b.folder / "density.safetensors")
    b.write("layers", layers)


def ranking(b: Build, e: Experiment, key: str) -> None:
    """What a rival selection rule ranks weights by: index.npy, scores.safetensors, layers Parquet."""
    dataset, model = start_of(b, e)
    base = checkpoints.read(b.inputs["base"] / "final.safetensors")
    b.update(0, 1, "ranking weights")
    names = [layer["name"] for layer in describe(model)]
    _save_scores(b, model, rank(b.config["selection"], model, records(dataset), base=base, names=names, seed=e.seed))


def rescore(b: Build, e: Experiment, key: str) -> None:
    """Vulnerability scores of a model as it is now: index.npy, scores.safetensors, layers and log Parquet."""
    dataset, model = start_of(b, e)
    anchor = copy.deepcopy(model)
    anchor.load_state_dict(checkpoints.read(b.inputs["vulnerability"] / "initial.safetensors"))
    folder, recipe = b.inputs["model"], recipe_in(b)
    # of the onion's control the same weights are held, so that only their values tell the two apart
    rewound = masks(b.inputs.get("defended", folder), dict(model.named_parameters()))
    done = train_pipeline(
        model,
        records(dataset),
        start=checkpoints.read(folder / "final.safetensors"),
        anchor=anchor,
        recipe=recipe,
        objective=recipe.objective,
        seed=e.seed,
        held=kept(rewound, b.config["mode"]),
        on_epoch=reporter(b, recipe.epochs),
    )
    _save_scores(b, model, done.scores)


def onion(b: Build, e: Experiment, key: str) -> None:
    """layers and overlap Parquet: where vulnerability lies before and after the rewind, on one yardstick."""
    kinds = ("vulnerability", "onion_before", "onion_after")
    layers = pd.read_parquet(b.inputs["defended"] / "layers.parquet")
    names = list(layers["name"])
    scores = {kind: load_arrays(b.inputs[kind] / "scores.safetensors") for kind in kinds}
    marked = masks(b.inputs["defended"], scores["vulnerability"])
    flat = {kind: np.concatenate([found[name].ravel() for name in names]) for kind, found in scores.items()}
    rewound = np.concatenate([marked[name].numpy().ravel() for name in names])
    b.write("layers", moved.shares(layers=layers, scores=flat, rewound=rewound))
    b.write("overlap", moved.overlaps(scores=flat, rewound=rewound))


def _save_scores(b: Build, model: torch.nn.Module, scores: dict[str, np.ndarray]) -> None:
    """Scores of every layer in forward order, their sorted index and the table of layers, for `selection`."""
    layers = pd.DataFrame(describe(model))
    ordered = {name: np.ascontiguousarray(scores[name], np.float32) for name in layers["name"]}
    save_arrays(ordered, b.folder / "scores.safetensors")
    ScoreIndex.of(ordered).save(b.folder / "index.npy")
    b.write("layers", layers)
