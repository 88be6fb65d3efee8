"""The stages that judge a model: reference models, attacks before and after, the preview and the summary."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors.numpy import load_file as load_arrays

from core import audit as audits
from core.attacks import Signals
from core.attacks.evaluate import FALSE_POSITIVE_RATES
from core.attacks.gradients import region_gradient_norms
from core.attacks.shadows import gather, load_references
from core.config import BadInput
from core.data import Dataset
from core.data.to_tensors import tensors
from core.defence import objective_of
from core.experiment import Experiment, plan
from core.models import checkpoints
from core.models.regions import regions
from core.queries import ask
from core.stages.training import rewound_model, start_of
from core.store import Build, read_json, write_json
from core.training.device import device

FURTHER = {f"balanced_accuracy{end}": f"balanced{end}" for end in ("", "_low", "_high")} | {
    "epsilon": "epsilon",
    "epsilon_one_run": "one_run_epsilon",
    "threshold_from": "threshold_from",
}
"""Further measures of an attack in the summary → the column of its table; null where records are too few."""

RATES = {f"{fpr:g}": column for column, fpr in FALSE_POSITIVE_RATES.items()}
"""False positive rate in the summary → the column of its true positive rate."""
COUNTED = {
    "tpr_low": ("low", float),
    "tpr_high": ("high", float),
    "true_positives": ("true_positives", int),
    "false_positives": ("false_positives", int),
    "resolvable": ("resolvable", bool),
}
"""What stands beside each rate in the summary: interval, counts, and whether so many non-members resolve it → the end
of the column's name."""


def preview(b: Build, e: Experiment, key: str) -> None:
    """preview.json: accuracy and loss-attack AUC right after the rewind, before any fine-tuning."""
    dataset, model, rewound = rewound_model(b, e)
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
    dataset, model = start_of(b, e)
    checkpoints.fit(model, checkpoints.read(b.inputs["model"] / "final.safetensors"))
    # what may be queried; gradients are those of the model itself, which a white-box attacker has
    released = (objective_of(e.defence) if key == "after" and e.defence else e.train.objective).release(model)
    records, signals = _signals(released, dataset, e.audit.shadows.queries)
    gradients = _gradients(b, e, model, dataset, records)
    if (known := np.isfinite(gradients).all(1)).any():
        signals = replace(signals, gradient_norms=np.where(known, np.sqrt(np.square(gradients).sum(1)), np.nan))
    if (path := b.inputs["model"] / "trajectory.safetensors").is_file():
        signals = replace(signals, **load_arrays(path))
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
        on_attack=b.update,
    )
    for name in ("records", "attacks", "curves", "risk"):
        b.write(name, getattr(found, name))
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
        names = [*dict.fromkeys(e.audit.attacks), *(f"{name}:{audits.NON_ADAPTIVE}" for name in e.audit.attacks)]
        summary["paired"] = audits.paired(before, after, names).set_index("attack").to_dict("index")
        gains = audits.adaptive_advantage(after, names).set_index("attack").to_dict("index")
        for name in gains.keys() & summary["paired"].keys():
            summary["paired"][name]["adaptive_minus_non_adaptive"] = gains[name]
    write_json(b.folder / "summary.json", summary)


def _outcome(folder: Path, model: Path) -> dict:
    """metrics.json and the attack table of one audit as the summary shows them, and what DP-SGD guarantees.

    adaptive: what the attack's reference models know, in the words of the attack table. not_run: attacks that were
    asked for and could not be run, with the reason.
    """
    attacks = pd.read_parquet(folder / "attacks.parquet")
    rows = attacks[(attacks["group"] == "all") & attacks["auc"].notna()].to_dict("records")
    metrics = read_json(folder / "metrics.json")
    missed = attacks[attacks["reason"].notna()] if "reason" in attacks else attacks[:0]
    metrics["not_run"] = dict(zip(missed["attack"], missed.get("reason", ()), strict=True))
    metrics["attacks"] = {
        row["attack"]: {
            "adaptive": row["adaptive"],
            **{k: row[k] for k in ("auc", "auc_low", "auc_high")},
            "members": int(row["members"]),
            "non_members": int(row["non_members"]),
            "tpr_at_fpr": {fpr: row[column] for fpr, column in RATES.items()},
            **{
                f"{name}_at_fpr": {fpr: kind(row[f"{column}_{end}"]) for fpr, column in RATES.items()}
                for name, (end, kind) in COUNTED.items()
            },
            **{name: None if pd.isna(row[column]) else row[column] for name, column in FURTHER.items()},
        }
        for row in rows
    }
    guaranteed = model / "privacy.json"
    metrics["privacy"] = read_json(guaranteed) if guaranteed.is_file() else None
    return metrics


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
