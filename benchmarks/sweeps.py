"""The tables of both READMEs: ready-made sweeps (`core.sweeps.presets`), one recipe per data set, several seeds each.

    python benchmarks/sweeps.py demo ablation defences selection location rounds fraction lambda modes --seeds 5
    python benchmarks/sweeps.py location30 ablation defences selection --seeds 3 --data location30.parquet
    python benchmarks/sweeps.py cifar10 ablation defences selection --seeds 3 --data cifar10-train.parquet

Per sweep a Markdown table (mean over seeds, Student's t interval) and the paired differences to its first method.
Seeds change the split, the initial weights and the batch order; a whole table takes minutes to an hour on two cores.
Results already in the store are not computed again.
"""

from __future__ import annotations

import argparse
import platform
import re
import sys
import time
from pathlib import Path

import pandas as pd
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from core.config import BadInput
from core.defence import CWRF
from core.experiment import Experiment, parse
from core.figures import numbers as n
from core.metrics import mean_interval, over_seeds, paired_differences, pareto_front
from core.progress import TerminalProgress
from core.report import sweep_text
from core.store import Store, read_json
from core.sweeps.presets import HOW, PRESETS
from core.sweeps.results import results
from core.sweeps.run import run_sweep
from core.sweeps.sweep import Sweep

SETTINGS = {
    "demo": {"defence": {"finetune": {"objective": {"kind": "relaxloss", "variant": "flatten-all", "alpha": 0.5}}}},
    "location30": {
        "data": {"kind": "table", "members": 1500, "non_members": 1500, "reference": 1000, "population": 1000},
        "model": {"kind": "mlp", "hidden": [256, 128]},
        "train": {"epochs": 50, "lr": 0.1},
        "defence": {
            "fraction": 0.03,
            "finetune": {"epochs": 20, "objective": {"kind": "relaxloss", "variant": "flatten-all", "alpha": 0.8}},
        },
    },
    "cifar10": {
        "data": {"kind": "images", "members": 4000, "non_members": 4000, "reference": 4000, "population": 2000},
        "model": {"kind": "convnet", "channels": [16, 16, 32, 32, 64]},
        "train": {"epochs": 15, "lr": 0.05, "batch_size": 64},
        "defence": {
            "fraction": 0.03,
            "finetune": {"epochs": 8, "objective": {"kind": "relaxloss", "variant": "flatten-all", "alpha": 1.0}},
        },
    },
}
"""Recipes: plain SGD with momentum .9, weight decay 5e-4, cosine, no augmentation; batches of 128 unless said."""

AUDIT = {"attacks": ["loss", "label_only"], "shadows": {"queries": 4}, "gradient_records": 0}
"""The loss attack, and the label-only attack that outputs cannot be dressed up for. Neither knows of the defence:
benchmarks/attacks.py has the adaptive attacks. No gradients: they would be most of an audit's time."""


ONION = ("layers", "overlap")
SCORED = {"vulnerability": "first scoring", "onion_before": "control scored again", "onion_after": "CWRF scored again"}
ENDS = ("value", "low", "high")


def experiment(setting: str, data: Path | None, /, **changes: object) -> Experiment:
    """The experiment of a setting, with the file its records are in."""
    value: dict = {"data": {"kind": "digits"}} | SETTINGS[setting] | changes
    if data:
        value["data"] = value["data"] | {"path": str(data)}
    return parse(value)


def only(sweep: Sweep, names: str) -> Sweep:
    """The sweep with those points alone whose method has one of these names in it, as in "HAMP;CCL"."""
    words = set(names.split(";"))
    kept = [p for p in sweep.points if words & set(re.split(r" \+ |, |: ", str(p.label["method"])))]
    return sweep.model_copy(update={"points": tuple(kept)})


def differences(rows: pd.DataFrame) -> str:
    """Every method minus the first one, and minus the undefended model, paired by seed."""
    methods = [name for name in dict.fromkeys(rows["method"]) if not name.startswith("none")]
    lines = []
    for reference in (methods[0], "none"):
        lines.append(f"Against {reference}, paired by seed:")
        found = paired_differences(rows.assign(strength=0.0), reference=reference)
        for row in found[found["method"].isin(methods) & (found["method"] != reference)].to_dict("records"):
            accuracy = "{} [{}, {}]".format(*(n.points(row[f"test_accuracy{end}"]) for end in ("", "_low", "_high")))
            auc = "{} [{}, {}]".format(*(n.difference(row[f"auc{end}"]) for end in ("", "_low", "_high")))
            lines.append(f"- {row['method']}: test accuracy {accuracy}, AUC {auc}")
    return "\n".join(lines)


def front(rows: pd.DataFrame) -> str:
    """The methods that no other one beats in both mean test accuracy and mean AUC, from the most accurate down."""
    means = over_seeds(rows)
    best = means[pareto_front(accuracy=means["test_accuracy"].to_numpy(), risk=means["auc"].to_numpy())]
    lines = ["On the Pareto front of the means, from the most accurate down:"]
    for row in best.sort_values("test_accuracy", ascending=False).to_dict("records"):
        lines.append(f"- {row['method']}: {n.accuracy(row['test_accuracy'])}, AUC {n.auc(row['auc'])}")
    return "\n".join(lines)


def matrix(rows: pd.DataFrame) -> str:
    """Objective × way of using it: test accuracy and, after the stroke, AUC; means over seeds."""
    ways = [how for _, how, _ in HOW]
    lines = [f"| | {' | '.join(ways)} |", "|---" * (len(ways) + 1) + "|"]
    for name, part in rows.dropna(subset=["objective"]).groupby("objective", sort=False):
        cells = []
        for way in ways:
            these = part[part["how"] == way]
            pair = [(these["test_accuracy"], n.accuracy), (these["auc"], n.auc)]
            ends = [(mean_interval(v.tolist(), low=0.0, high=1.0), write) for v, write in pair if len(v)]
            cells.append(" / ".join(write(found.value, found.low, found.high) for found, write in ends))
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def rewind_alone(rows: pd.DataFrame) -> str:
    """Per objective, CWRF minus the same base fine-tuned with nothing rewound, paired by seed."""
    ways = {kind: how for kind, how, _ in HOW}
    lines = ["| CWRF minus its base fine-tuned | test accuracy | AUC |", "|---|---|---|"]
    for name, part in rows.dropna(subset=["objective"]).groupby("objective", sort=False):
        found = paired_differences(part.assign(method=part["how"], strength=0.0), reference=ways["control"])
        for row in found[found["method"] == ways["cwrf"]].to_dict("records"):
            accuracy = "{} [{}, {}]".format(*(n.points(row[f"test_accuracy{end}"]) for end in ("", "_low", "_high")))
            auc = "{} [{}, {}]".format(*(n.difference(row[f"auc{end}"]) for end in ("", "_low", "_high")))
            lines.append(f"| {name} | {accuracy} | {auc} |")
    return "\n".join(lines)


def peeled(store: Store, rows: pd.DataFrame) -> str:
    """Of the models that were scored again after one round: what the rewound weights carry, what the others do."""
    found: dict[str, list[float]] = {}
    for key in rows.loc[rows["strength"] == 1, "experiment"]:
        stages = read_json(store.root / f"experiment-{key}" / "stages.json")
        layers, overlap = (pd.read_parquet(store.root / stages["onion"] / f"{name}.parquet") for name in ONION)
        free = overlap[overlap["free"] & (overlap["fraction"] == 0.05) & (overlap["old"] == "vulnerability")]
        kept = dict(zip(free["new"], free["overlap"], strict=True))
        for kind, words in SCORED.items():
            found.setdefault(f"{words}: share of the rewound weights", []).append(layers[f"{kind}_rewound"].sum())
            if kind in kept:
                found.setdefault(f"{words}: of the free weights' top 5 % still there", []).append(kept[kind])
    return "\n".join(
        f"- {words}: {n.accuracy(*(getattr(mean_interval(values, low=0.0, high=1.0), end) for end in ENDS))}"
        for words, values in found.items()
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("setting", choices=SETTINGS)
    parser.add_argument("sweeps", nargs="+", choices=PRESETS)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--data", type=Path, help="Parquet file of location30 or cifar10")
    parser.add_argument("--only", default="", help='only methods of these names, as in "HAMP;CCL"')
    parser.add_argument("--base", choices=("pve", "trained"), default="pve", help="what CWRF rewinds")
    parser.add_argument("--objective", help="fine-tune with this kind of objective instead of RelaxLoss, as in ce")
    parser.add_argument("--store")
    given = parser.parse_args()
    store = Store(given.store)
    for name in given.sweeps:
        base = experiment(given.setting, given.data, audit=AUDIT)
        assert isinstance(base.defence, CWRF)
        tuning = base.defence.finetune.model_dump() | (
            {"objective": {"kind": given.objective}} if given.objective else {}
        )
        own = base.defence.model_dump() | {"base": given.base, "finetune": tuning}
        base = parse(base.model_dump(mode="json") | {"defence": own})
        sweep, started = PRESETS[name].make(base, given.seeds), time.time()
        if given.only:
            sweep = only(sweep, given.only)
        failed = ""
        try:
            run_sweep(sweep, store, TerminalProgress())
        except BadInput as error:
            failed = f"\n{error}\n"
        for attack in AUDIT["attacks"]:
            rows = results(store, sweep, attack)
            print(f"\n## {given.setting}: {PRESETS[name].title}, {given.seeds} seeds, attack {attack}\n{failed}")
            print(sweep_text(rows, "markdown"))
            if "how" in rows:
                print(f"\n{matrix(rows)}\n\n{rewind_alone(rows)}")
            if name == "rounds":
                print(f"\nOne round, {len(rows[rows['strength'] == 1])} seeds:\n{peeled(store, rows)}")
            if rows["strength"].isna().all():
                print(f"\n{differences(rows)}\n\n{front(rows)}")
        print(f"\ntorch {torch.__version__}, {platform.machine()}; {time.time() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()
