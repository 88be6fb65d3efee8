"""What each stage computes and writes: pipelines and audits between two folders of the store.

Every function takes (build, experiment, key). Files: weights as safetensors, tables as Parquet, the rest as JSON.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors.numpy import load_file as load_arrays
from safetensors.numpy import save_file as save_arrays

from core import audit as audits
from core.attacks import Signals
from core.attacks.gradients import region_gradient_norms
from core.attacks.shadows import gather, load_references
from core.config import BadInput
from core.data import Dataset
from core.data import build as build_dataset
from core.data.to_tensors import tensors
from core.defence import objective_of, recipe_of, stop_of
from core.defenses import CrossEntropy
from core.experiment import INDEX, Experiment, plan
from core.importance import moved, statistics
from core.importance.index import ScoreIndex
from core.importance.vulnerability import PVE
from core.models import checkpoints
from core.models.regions import describe, regions
from core.pipeline import FRESH, OnEpoch, Records, Rewound, Trained, kept, make, rewind_weights, state_of
from core.pipeline import ranking as rank
from core.pipeline import train as train_pipeline
from core.queries import Trajectory, ask
from core.rewinding.apply import State, frozen
from core.rewinding.config import CWRF
from core.shadow_training import last_run
from core.store import Build, read_json, write_json
from core.training.device import device
from core.training.recipe import TrainConfig

SCORES = "scores.safetensors"
TRAJECTORY = "trajectory.safetensors"
FURTHER = {f"balanced_accuracy{end}": f"balanced{end}" for end in ("", "_low", "_high")} | {
    "epsilon": "epsilon",
    "epsilon_one_run": "one_run_epsilon",
    "threshold_from": "threshold_from",
}
"""Further measures of an attack in the summary → the column of its table; null where records are too few."""


def data(b: Build, e: Experiment, key: str) -> None:
    """records.safetensors and dataset.json: the selected records, their labels, flips and splits."""
    b.update(0, 1, "reading records")
    build_dataset(e.data).save(b.folder)


def train(b: Build, e: Experiment, key: str) -> None:
    """initial, final and scores safetensors, layers and log Parquet of one training run; privacy.json of DP-SGD."""
    dataset = Dataset.read(b.inputs["data"])
    e.model.fits(dataset.shape)
    model = make(e.model, dataset.shape, len(dataset.classes), e.seed)
    if "load" in b.inputs:
        checkpoints.fit(model, checkpoints.read(b.inputs["load"] / "initial.safetensors"), "initial weights")
    recipe, stop_after = _recipe(b), b.config.get("stop_after")
    epochs = min(recipe.epochs, stop_after or recipe.epochs)
    path = Trajectory(dataset, epochs)
    done = train_pipeline(
        model,
        _records(dataset),
        recipe=recipe,
        seed=e.seed,
        objective=recipe.objective,
        # always with these two: a learnability stage may find this very run in the store
        scores=isinstance(recipe.objective, CrossEntropy | PVE),
        stop_after=stop_after,
        # scoring with PVE is never attacked
        on_epoch=_reporter(b, epochs, *([] if isinstance(recipe.objective, PVE) else [path.of(model)])),
    )
    _save_states(b, model, done, path=path)


def load(b: Build, e: Experiment, key: str) -> None:
    """Weights a person brought, checked against the architecture, in the same files as a training run."""
    assert e.weights
    dataset = Dataset.read(b.inputs["data"])
    e.model.fits(dataset.shape)
    model = make(e.model, dataset.shape, len(dataset.classes), e.weights.initial_seed)
    if e.weights.initial:
        checkpoints.fit(model, checkpoints.read(e.weights.initial), "initial weights")
    initial = state_of(model)
    checkpoints.fit(model, checkpoints.read(e.weights.trained), "trained weights")
    _save_states(b, model, Trained(initial, state_of(model), [], {}))


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
        _write(b, f"shares_{name}", statistics.top_shares(index))
        _write(b, f"histograms_{name}", statistics.histograms(score))
        _write(b, f"concentration_{name}", statistics.concentration(score))
        layers[f"{name}_share"] = statistics.shares_by_layer(score).reindex(layers["name"]).to_numpy()
    b.update(2, 3, "correlations")
    learned, leaked = both["learnability"], both["vulnerability"]
    _write(b, "correlations", statistics.correlations(learnability=learned, vulnerability=leaked, types=types))
    save_arrays(statistics.density(learned, leaked), b.folder / "density.safetensors")
    _write(b, "layers", layers)


def ranking(b: Build, e: Experiment, key: str) -> None:
    """What a rival selection rule ranks weights by: index.npy, scores.safetensors, layers Parquet."""
    dataset = Dataset.read(b.inputs["data"])
    model = make(e.model, dataset.shape, len(dataset.classes))
    layers = pd.DataFrame(describe(model))
    base = checkpoints.read(b.inputs["base"] / "final.safetensors")
    b.update(0, 1, "ranking weights")
    names = list(layers["name"])
    _save_scores(b, rank(b.config["selection"], model, _records(dataset), base=base, names=names, seed=e.seed), layers)


def rescore(b: Build, e: Experiment, key: str) -> None:
    """Vulnerability scores of a model as it is now: index.npy, scores.safetensors, layers and log Parquet."""
    dataset = Dataset.read(b.inputs["data"])
    model, anchor = (make(e.model, dataset.shape, len(dataset.classes)) for _ in range(2))
    anchor.load_state_dict(checkpoints.read(b.inputs["vulnerability"] / "initial.safetensors"))
    folder, recipe = b.inputs["model"], _recipe(b)
    # of the onion's control the same weights are held, so that only their values tell the two apart
    rewound = b.inputs.get("defended", folder)
    held = kept(_masks(rewound, model), b.config["mode"])
    done = train_pipeline(
        model,
        _records(dataset),
        start=checkpoints.read(folder / "final.safetensors"),
        anchor=anchor,
        recipe=recipe,
        objective=recipe.objective,
        seed=e.seed,
        held=held,
        on_epoch=_reporter(b, recipe.epochs),
    )
    layers = pd.DataFrame(describe(model))
    _save_scores(b, {name: done.scores[name] for name in layers["name"]}, layers)


def onion(b: Build, e: Experiment, key: str) -> None:
    """layers and overlap Parquet: where vulnerability lies before and after the rewind, on one yardstick."""
    kinds = ("vulnerability", "onion_before", "onion_after")
    layers = pd.read_parquet(b.inputs["defended"] / "layers.parquet")
    names = list(layers["name"])
    scores = {kind: load_arrays(b.inputs[kind] / "scores.safetensors") for kind in kinds}
    packed = load_arrays(b.inputs["defended"] / "masks.safetensors")
    flat = {kind: np.concatenate([found[name].ravel() for name in names]) for kind, found in scores.items()}
    rewound = np.concatenate([_unpacked(packed[name], scores["vulnerability"][name].size) for name in names])
    _write(b, "layers", moved.shares(layers=layers, scores=flat, rewound=rewound))
    _write(b, "overlap", moved.overlaps(scores=flat, rewound=rewound))


def rewind(b: Build, e: Experiment, key: str) -> None:
    """The defended model: masks, final weights, how many weights per layer, log of the fine-tuning."""
    dataset = Dataset.read(b.inputs["data"])
    model, rewound = _rewound(b, e, dataset)
    held = frozen(masks=rewound.masks, mode=b.config["defence"]["mode"])
    _tune(b, e, dataset, model, rewound.state, held, rewound.layers)
    packed = {name: np.packbits(mask.numpy().ravel()) for name, mask in rewound.masks.items()}
    save_arrays(packed, b.folder / "masks.safetensors")


def finetune(b: Build, e: Experiment, key: str) -> None:
    """The trained model fine-tuned with nothing rewound, in the same files as a rewind."""
    dataset = Dataset.read(b.inputs["data"])
    model = make(e.model, dataset.shape, len(dataset.classes))
    _tune(b, e, dataset, model, checkpoints.read(b.inputs["trained"] / "final.safetensors"))


def preview(b: Build, e: Experiment, key: str) -> None:
    """preview.json: accuracy and loss-attack AUC right after the rewind, before any fine-tuning."""
    dataset = Dataset.read(b.inputs["data"])
    model, rewound = _rewound(b, e, dataset)
    model.load_state_dict(rewound.state)
    assert e.defence
    records, signals = _signals(objective_of(e.defence).release(model), dataset)
    quick = audits.AuditConfig(attacks=("loss",), gradient_records=0)
    found = audits.audit(
        records=records, signals=signals, gradients=np.empty((len(records), 0)), regions=[], config=quick
    )
    row = found.attacks.iloc[0]
    write_json(b.folder / "preview.json", found.metrics | {k: row[k] for k in ("auc", "auc_low", "auc_high")})


def shadows(b: Build, e: Experiment, key: str) -> None:
    """references.json: the reference models of one pipeline, trained where the store lacks them."""
    gather(
        b,
        dataset=Dataset.read(b.inputs["data"]),
        experiment=e.model_dump(mode="json"),
        data=plan(e)["data"],
        defended=key == "shadows_defended",
    )


def audit(b: Build, e: Experiment, key: str) -> None:
    """records, attacks, curves and risk Parquet and metrics.json of one model."""
    dataset = Dataset.read(b.inputs["data"])
    model = make(e.model, dataset.shape, len(dataset.classes))
    checkpoints.fit(model, checkpoints.read(b.inputs["model"] / "final.safetensors"))
    # what may be queried; gradients are those of the model itself, which a white-box attacker has
    released = (objective_of(e.defence) if key == "after" and e.defence else e.train.objective).release(model)
    records, signals = _signals(released, dataset, e.audit.shadows.queries)
    gradients = _gradients(b, e, model, dataset, records)
    known = np.isfinite(gradients).all(1)
    if known.any():
        norms = np.where(known, np.sqrt(np.square(gradients).sum(1)), np.nan)
        signals = replace(signals, gradient_norms=norms)
    if (b.inputs["model"] / TRAJECTORY).is_file():
        signals = replace(signals, **load_arrays(b.inputs["model"] / TRAJECTORY))
    own, other = ("shadows_defended", "shadows") if key == "after" else ("shadows", "")
    logits = audits.reference_logits(e.audit)
    with_references = {
        name: replace(signals, **load_references(b.inputs[name], logits=logits))
        for name in (own, other)
        if name in b.inputs
    }
    found = audits.audit(
        records=records,
        signals=with_references.get(own, signals),
        gradients=gradients,
        regions=list(regions(model)),
        config=e.audit,
        non_adaptive=with_references.get(other),
        own_references=audits.ASSUMED_RECIPE if e.weights else audits.ADAPTIVE,
    )
    for name in ("records", "attacks", "curves", "risk"):
        _write(b, name, getattr(found, name))
    write_json(b.folder / "metrics.json", found.metrics)


def experiment(b: Build, e: Experiment, key: str) -> None:
    """experiment.json (the config), stages.json (where each part lies), summary.json and the paired tests."""
    write_json(b.folder / "experiment.json", e.model_dump(mode="json"))
    write_json(b.folder / "stages.json", {name: path.name for name, path in b.inputs.items()})
    info = read_json(b.inputs["data"] / "dataset.json")
    correlations = pd.read_parquet(b.inputs["scores"] / "correlations.parquet")
    summary: dict[str, Any] = {
        "experiment": b.folder.name.split("-")[1],
        "dataset": e.data.kind,
        "model": e.model.kind,
        "classes": len(info["classes"]),
        "weights": {
            "count": int(correlations["weights"].iloc[-1]),
            "pearson": dict(zip(correlations["type"], correlations["pearson"], strict=True)),
        },
        "before": _outcome(b.inputs["before"], b.inputs["load" if e.weights else "train"]),
        "after": None,
        "paired": {},
    }
    if "after" in b.inputs:
        summary["after"] = _outcome(b.inputs["after"], b.inputs["defended"])
        layers = pd.read_parquet(b.inputs["defended"] / "layers.parquet")
        summary["weights"]["rewound"] = int(layers["rewound"].sum()) if "rewound" in layers else 0
        before, after = (pd.read_parquet(b.inputs[k] / "records.parquet") for k in ("before", "after"))
        tests = audits.paired(before, after, list(dict.fromkeys(e.audit.attacks)))
        summary["paired"] = {
            row["attack"]: {k: row[k] for k in row if k != "attack"} for row in tests.to_dict("records")
        }
    write_json(b.folder / "summary.json", summary)


def _outcome(folder: Path, model: Path) -> dict:
    """metrics.json and the attack table of one audit as the summary shows them, and what DP-SGD guarantees.

    adaptive: what the attack's reference models know, in the words of the attack table.
    """
    attacks = pd.read_parquet(folder / "attacks.parquet")
    rows = attacks[(attacks["group"] == "all") & attacks["auc"].notna()].to_dict("records")
    metrics = read_json(folder / "metrics.json")
    metrics["attacks"] = {
        row["attack"]: {
            "adaptive": row["adaptive"],
            **{k: row[k] for k in ("auc", "auc_low", "auc_high")},
            "members": int(row["members"]),
            "non_members": int(row["non_members"]),
            "tpr_at_fpr": {"0.01": row["tpr_01"], "0.001": row["tpr_001"]},
            **{name: None if pd.isna(row[column]) else row[column] for name, column in FURTHER.items()},
        }
        for row in rows
    }
    guaranteed = model / "privacy.json"
    metrics["privacy"] = read_json(guaranteed) if guaranteed.is_file() else None
    return metrics


def _records(dataset: Dataset) -> Records:
    part = {name: tensors(dataset, name, device()) for name in ("members", "non_members", "reference")}
    watch = {name: part[name] for name in ("members", "non_members")}
    return Records(part["members"], part["reference"], watch)


def _reporter(b: Build, epochs: int, *others: OnEpoch) -> OnEpoch:
    b.notes["device"] = str(device())

    def report(epoch: int, rows: list[dict]) -> None:
        for other in others:
            other(epoch, rows)
        for row in rows:
            b.update(epoch, epochs, f"epoch {epoch} of {epochs}", row)
        if not rows:
            b.update(epoch, epochs, f"epoch {epoch} of {epochs}")

    return report


def _recipe(b: Build) -> TrainConfig:
    """The recipe of a training stage with its objective, from the stage's own config."""
    given = b.config["objective"]
    pve = given["kind"] == PVE.model_fields["kind"].default
    recipe = TrainConfig.model_validate(b.config["recipe"] | ({} if pve else {"objective": given}))
    return recipe.model_copy(update={"objective": PVE(**given)}) if pve else recipe


def _tune(
    b: Build,
    e: Experiment,
    dataset: Dataset,
    model: torch.nn.Module,
    start: State,
    held: State | None = None,
    layers: pd.DataFrame | None = None,
) -> None:
    """Fine-tune as the defence says and save the outcome as a training run's files."""
    assert e.defence
    epochs = last_run(e, defended=True)
    path = Trajectory(dataset, epochs)
    on_epoch = _reporter(b, epochs, path.of(model))
    done = train_pipeline(
        model,
        _records(dataset),
        recipe=recipe_of(e.train, e.defence),
        seed=e.seed,
        start=start,
        held=held,
        scores=False,
        stop_after=stop_of(e.defence),
        on_epoch=on_epoch,
    )
    _save_states(b, model, done, layers, path)


def _save_states(
    b: Build,
    model: torch.nn.Module,
    done: Trained,
    layers: pd.DataFrame | None = None,
    path: Trajectory | None = None,
) -> None:
    checkpoints.save(done.initial, b.folder / "initial.safetensors")
    checkpoints.save(done.final, b.folder / "final.safetensors")
    _write(b, "layers", pd.DataFrame(describe(model)) if layers is None else layers)
    _write(b, "log", pd.DataFrame(done.log, columns=["epoch", "split", "loss", "accuracy", "records", "objective"]))
    if done.scores:
        save_arrays(done.scores, b.folder / "scores.safetensors")
    if done.privacy:
        # of a fine-tuning the guarantee does not cover what its starting weights had seen
        covers = "fine-tuning" if {"base", "trained"} & set(b.inputs) else "training"
        write_json(b.folder / "privacy.json", done.privacy | {"covers": covers})
    if path and (losses := path.arrays()):
        save_arrays(losses, b.folder / TRAJECTORY)


def _save_scores(b: Build, scores: dict[str, np.ndarray], layers: pd.DataFrame) -> None:
    """Scores of every layer in forward order, their sorted index and the table of layers, for `selection`."""
    save_arrays({name: np.ascontiguousarray(score, np.float32) for name, score in scores.items()}, b.folder / SCORES)
    ScoreIndex.of(scores).save(b.folder / "index.npy")
    _write(b, "layers", layers)


def _rewound(b: Build, e: Experiment, dataset: Dataset) -> tuple[torch.nn.Module, Rewound]:
    config = CWRF.model_validate(b.config["defence"])
    model = make(e.model, dataset.shape, len(dataset.classes), e.seed + FRESH)
    if config.rewind_to == "fresh":
        target = state_of(model)
    elif config.rewind_to == "early":
        target = checkpoints.read(b.inputs["early"] / "final.safetensors")
    else:
        target = checkpoints.read(b.inputs["vulnerability"] / "initial.safetensors")
    ranked = b.inputs["ranked"]
    again = (ranked / "index.npy").is_file()
    rewound = rewind_weights(
        model,
        base=checkpoints.read(b.inputs["base"] / "final.safetensors"),
        target=target,
        scores=load_arrays(ranked / SCORES),
        config=config,
        index=ScoreIndex.open(ranked / "index.npy" if again else b.inputs["scores"] / INDEX[config.selection]),
        held=_masks(b.inputs["previous"], model) if "previous" in b.inputs else None,
    )
    return model, rewound


def _masks(folder: Path, model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The masks a rewind stage packed, in the shapes of the model's weights."""
    shapes = {name: weight.shape for name, weight in model.named_parameters()}
    packed = load_arrays(folder / "masks.safetensors")
    return {
        name: torch.from_numpy(_unpacked(bits, shapes[name].numel())).view(shapes[name])
        for name, bits in packed.items()
    }


def _unpacked(bits: np.ndarray, count: int) -> np.ndarray:
    return np.unpackbits(bits, count=count).astype(bool)


def _signals(model: torch.nn.Module, dataset: Dataset, queries: int = 1) -> tuple[pd.DataFrame, Signals]:
    """The audited records, members first, and the target's outputs on them and on the population."""
    rows, population = dataset.audited, dataset.splits["population"]
    outputs = ask(model, dataset, rows, queries)
    records = pd.DataFrame(
        {
            "record": rows,
            "source_row": dataset.row[rows],
            "member": dataset.is_member,
            "canary": dataset.canaries[rows],
            "label": dataset.y[rows],
            "clean_label": dataset.clean_y[rows],
        }
    )
    signals = Signals(
        outputs.logits,
        dataset.y[rows],
        ask(model, dataset, population).logits,
        dataset.y[population],
        query_phi=outputs.phi,
        query_labels=outputs.labels if queries > 1 else None,
        features=_flat(dataset, rows),
        population_features=_flat(dataset, population),
    )
    if not np.isfinite(signals.logits).all():
        raise BadInput("the model's outputs are not finite on the audited records: check its weights")
    return records, signals


def _flat(dataset: Dataset, positions: np.ndarray) -> np.ndarray:
    """[n, F] float32 description of records: pixels from 0 to 1, or the table's columns."""
    x = dataset.x[positions].reshape(len(positions), -1)
    return x.astype(np.float32) / (255 if dataset.kind == "image" else 1)


def _gradients(b: Build, e: Experiment, model: torch.nn.Module, dataset: Dataset, records: pd.DataFrame) -> np.ndarray:
    """[N, R] per-region gradient norms of the first `gradient_records` members and non-members, else nan."""
    parts = regions(model)
    out = np.full((len(records), len(parts)), np.nan)
    starts = {"members": 0, "non_members": len(dataset.splits["members"])}
    takes = {name: min(e.audit.gradient_records, len(dataset.splits[name])) for name in starts}
    total, past = sum(takes.values()), 0
    for name, start in starts.items():
        x, y = (t[: takes[name]] for t in tensors(dataset, name, device()))
        on_chunk = lambda done, _, past=past: b.update(past + done, total, "gradient norms per record")  # noqa: E731
        norms = region_gradient_norms(model, x=x, y=y, regions=parts, on_chunk=on_chunk)
        out[start : start + takes[name]] = norms.cpu().numpy()
        past += takes[name]
    return out


def _write(b: Build, name: str, frame: pd.DataFrame) -> None:
    frame.to_parquet(b.folder / f"{name}.parquet", index=False)
