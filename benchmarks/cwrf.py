"""CWRF against its ablations and its baseline: test accuracy and loss-attack AUC over seeds, as a Markdown table.

    python benchmarks/cwrf.py demo --seeds 5
    python benchmarks/cwrf.py location30 --seeds 5 --data location30.parquet
    python benchmarks/cwrf.py cifar10 --seeds 1 --data cifar10-train.parquet

Every seed draws its own split, initial weights and batch order. With several seeds the interval is Student's t over
seeds, with one it is the interval of the single audit. Finished stages are re-used from the store.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from pathlib import Path

import pandas as pd
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from core.experiment import parse, run
from core.figures import numbers as n
from core.metrics import mean_interval
from core.progress import TerminalProgress
from core.store import Store

SETTINGS = {
    "demo": {"alpha": 0.5, "experiment": {}},
    "location30": {
        "alpha": 0.8,
        "experiment": {
            "data": {"kind": "table", "members": 1500, "non_members": 1500, "reference": 1000, "population": 1000},
            "model": {"kind": "mlp", "hidden": [256, 128]},
            "train": {"epochs": 50, "lr": 0.1},
            "defence": {"kind": "cwrf", "fraction": 0.03, "finetune": {"epochs": 20}},
        },
    },
    "cifar10": {
        "alpha": 1.0,
        "experiment": {
            "data": {"kind": "images", "members": 4000, "non_members": 4000, "reference": 4000, "population": 2000},
            "model": {"kind": "convnet", "channels": [16, 16, 32, 32, 64]},
            "train": {"epochs": 15, "lr": 0.05, "batch_size": 64},
            "defence": {"kind": "cwrf", "fraction": 0.03, "finetune": {"epochs": 8}},
        },
    },
}
"""Recipes: plain SGD with momentum .9, weight decay 5e-4, cosine, no augmentation; batches of 128 unless said."""

FLAT, OFFICIAL = "flatten-all", "official"
VARIANTS: dict[str, tuple[str, str, dict]] = {
    "before": ("before", FLAT, {}),
    "A3, CWRF": ("after", FLAT, {"mode": "A3"}),
    "A2, only the rewound are tuned": ("after", FLAT, {"mode": "A2"}),
    "A1, removed": ("after", FLAT, {"mode": "A1"}),
    "RelaxLoss fine-tuning, nothing rewound": ("after", FLAT, {"fraction": 1e-9, "base": "trained"}),
    "RelaxLoss from scratch": ("scratch", FLAT, {}),
    "A3, CWRF, base: trained model": ("after", FLAT, {"mode": "A3", "base": "trained"}),
    "A3, CWRF, official RelaxLoss": ("after", OFFICIAL, {"mode": "A3"}),
    "RelaxLoss from scratch, official variant": ("scratch", OFFICIAL, {}),
}
"""Name → (before, after a defence or from scratch; variant of RelaxLoss; changes to the defence)."""


def experiment(setting: str, variant: str, seed: int, data: Path | None) -> dict:
    """The config of one run."""
    side, relaxloss, changes = VARIANTS[variant]
    value = json.loads(json.dumps(SETTINGS[setting]["experiment"]))
    objective = {"kind": "relaxloss", "alpha": SETTINGS[setting]["alpha"], "variant": relaxloss}
    value["data"] = {"kind": "digits"} | value.get("data", {}) | {"seed": seed}
    if data:
        value["data"]["path"] = str(data)
    value["seed"] = seed
    if side == "scratch":
        value["defence"] = None
        value.setdefault("train", {})["objective"] = objective
    else:
        value["defence"] = {"kind": "cwrf"} | value.get("defence", {}) | changes
        value["defence"].setdefault("finetune", {})["objective"] = objective
    return value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("setting", choices=SETTINGS)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--data", type=Path, help="Parquet file of location30 or cifar10")
    parser.add_argument("--most", type=int, default=len(VARIANTS), help="only the first so many variants")
    parser.add_argument("--store")
    given = parser.parse_args()
    store, started, rows = Store(given.store), time.time(), []
    for seed in range(given.seeds):
        for variant in list(VARIANTS)[: given.most]:
            summary = run(parse(experiment(given.setting, variant, seed, given.data)), store, TerminalProgress())
            side = summary["after" if VARIANTS[variant][0] == "after" else "before"]
            loss = side["attacks"]["loss"]
            rows.append({"variant": variant, "seed": seed, "train": side["train_accuracy"]})
            rows[-1] |= {"accuracy": [side[f"test_accuracy{end}"] for end in ("", "_low", "_high")]}
            rows[-1] |= {"auc": [loss[f"auc{end}"] for end in ("", "_low", "_high")]}
            print(json.dumps(rows[-1]), flush=True)
    print(table(pd.DataFrame(rows), given.seeds))
    print(f"\n{given.seeds} seeds; torch {torch.__version__}, {torch.get_num_threads()} threads, {platform.machine()},")
    print(f"{time.time() - started:.0f} s")


def table(rows: pd.DataFrame, seeds: int) -> str:
    """Markdown: one line per variant."""
    lines = ["| | members, accuracy | test accuracy | AUC, loss attack |", "|---|---|---|---|"]
    for variant, part in rows.groupby("variant", sort=False):
        cells = []
        for name, write in (("accuracy", n.accuracy), ("auc", n.auc)):
            if seeds > 1:
                found = mean_interval([value[0] for value in part[name]])
                cells.append(write(found.value, found.low, found.high))
            else:
                cells.append(write(*part[name].iloc[0]))
        lines.append(f"| {variant} | {n.accuracy(part['train'].mean())} | {cells[0]} | {cells[1]} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
