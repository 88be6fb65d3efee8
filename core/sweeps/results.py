"""The results of a sweep: nothing but those of its experiments, so that finished points show at once and stay."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from core.experiment import finished
from core.store import Store, digest, read_json
from core.sweeps.sweep import Point, Sweep, points

if TYPE_CHECKING:
    from core.metrics import Interval


def results(store: Store, sweep: Sweep, attack: str = "") -> pd.DataFrame:
    """One row per finished point and seed, and one per seed for the model before any defence (method "none").

    attack: which one's results; empty: the first of the audit with a result. Columns: method, strength (nan: none),
    seed, the labels; with _low and _high test_accuracy, auc, tpr_01 and tpr_001 (TPR at 1 % and 0.1 % FPR) and epsilon
    (empirical lower bound) and test_calibration_error; train_accuracy, train_loss and test_loss
    (nats); dp_epsilon and dp_delta (guarantee of DP-SGD, nan: none), tuning_epsilon and tuning_delta (one that covers
    the fine-tuning alone); experiment (hash), audit (folder), adaptive (what the attack's reference models know).
    """
    rows: list[dict[str, Any]] = []
    seen: set[str] = set()
    plainly: dict[str, str] = {}
    for point in points(sweep):
        key = point.experiment.hash
        if not finished(store, key):
            continue
        folder = store.root / f"experiment-{key}"
        summary, stages = read_json(folder / "summary.json"), read_json(folder / "stages.json")
        name = attack or next(iter(summary["before"]["attacks"]), point.experiment.audit.attacks[0])
        common = {"seed": point.seed, "experiment": key}
        if stages["before"] not in seen:
            seen.add(stages["before"])
            base = {"method": _baseline(point, plainly), "strength": math.nan}
            rows.append({**base, **common, **_measured(store, stages["before"], summary["before"], name)})
        side = "after" if "after" in stages else "before"
        label = {"strength": math.nan, **point.label}
        rows.append({**label, **common, **_measured(store, stages[side], summary[side], name)})
    return pd.DataFrame(rows, columns=None if rows else ["method", "strength", "seed", "test_accuracy", "auc"])


def bootstrapped(store: Store, rows: pd.DataFrame, attack: str, resamples: int = 300) -> dict[tuple, Interval]:
    """AUC of each (method, strength or None) in `results`, with a percentile interval over models, then records.

    Needs every seed's scores of that attack; points without them are left out. As in an audit, records without a score
    (gradient norms of some are not computed) play no part.
    """
    from core.metrics import auc, bootstrap

    found = {}
    for (method, strength), part in rows.groupby(["method", "strength"], sort=False, dropna=False):
        tables = [pd.read_parquet(store.root / audit / "records.parquet") for audit in part["audit"]]
        if all(f"score_{attack}" in table for table in tables):
            tables = [table[np.isfinite(table[f"score_{attack}"])] for table in tables]
            found[method, None if math.isnan(strength) else strength] = bootstrap(
                statistic=lambda scores, is_member: auc(scores=scores, is_member=is_member).value,
                scores=[table[f"score_{attack}"].to_numpy() for table in tables],
                is_member=[table["member"].to_numpy(bool) for table in tables],
                resamples=resamples,
            )
    return found


def _baseline(point: Point, known: dict[str, str]) -> str:
    """The undefended model's name: "none", and where points train differently, what tells the others from the first."""
    e = point.experiment
    data = e.data.model_dump(mode="json", exclude={"seed"})
    signature = digest([e.model.model_dump(mode="json"), e.train.model_dump(mode="json"), data])
    if signature not in known:
        norm = "group norm" if getattr(e.model, "norm", "batch") == "group" else ""
        fields = ("model.", "train.", "data.")
        words = [norm] * bool(norm) + [f"{k} {v}" for k, v in point.label.items() if k.startswith(fields)]
        name = ", ".join(["none", *words])
        # two that differ must not be averaged as if they were seeds
        known[signature] = f"{name}, {len(known) + 1}" if name in known.values() else name
    return known[signature]


def _measured(store: Store, audit: str, side: dict[str, Any], attack: str) -> dict[str, Any]:
    table = pd.read_parquet(store.root / audit / "attacks.parquet")
    found = table[(table["attack"] == attack) & (table["group"] == "all")].to_dict("records")
    row = found[0] if found else {"adaptive": ""}  # not every point needs to have run it
    out = {  # summaries of earlier versions have no calibration error
        f"{name}{end}": side.get(f"{name}{end}", math.nan)
        for name in ("test_accuracy", "test_calibration_error")
        for end in ("", "_low", "_high")
    }
    out |= {"train_accuracy": side["train_accuracy"], "train_loss": side["train_loss"], "test_loss": side["test_loss"]}
    for name in ("auc", "tpr_01", "tpr_001", "epsilon"):
        out |= {f"{name}{end}": row.get(f"{name}{end}", math.nan) for end in ("", "_low", "_high")}
    out |= {"audit": audit, "adaptive": row["adaptive"]}
    privacy = side.get("privacy") or {}
    # after a fine-tuning ε says nothing of the model as a whole: it has columns of its own, and no axis
    for covers, name in (("training", "dp"), ("fine-tuning", "tuning")):
        given = privacy if privacy.get("covers") == covers else {}
        for number in ("epsilon", "delta"):
            value = given.get(number)
            out[f"{name}_{number}"] = math.nan if value is None else value
    return out
