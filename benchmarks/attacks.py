"""LiRA and RMIA before and after a defence, adaptive and not, as a Markdown table per target.

    python benchmarks/attacks.py demo
    python benchmarks/attacks.py location30 --data location30.parquet --seeds 3
    python benchmarks/attacks.py demo --defence HAMP --how scratch
    python benchmarks/attacks.py demo --defence cross-entropy --how cwrf control --seeds 3

RMIA with 4 and 16 reference models, LiRA with 16. The target and all references train anew where the store lacks them.
Brackets are 95 % intervals: DeLong for AUC and paired differences of AUCs, Clopper-Pearson for TPR; over several seeds
(each another split, initial weights and batch order) a further table has means with Student's t interval. Of two ways
to use a defence a last one has the differences, paired by seed: after CWRF and its control (the same start and the same
fine-tuning, nothing rewound), that is what the rewind alone does.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from sweeps import SETTINGS, experiment

from core.audit import NON_ADAPTIVE, adaptive_advantage
from core.experiment import Experiment, plan, run
from core.figures import numbers as n
from core.figures.roc import FEW
from core.metrics import mean_interval
from core.progress import TerminalProgress
from core.report import tpr
from core.store import Store
from core.sweeps.presets import HOW, PRESETS, RIVALS
from core.sweeps.sweep import points

ATTACKS = {16: ("loss", "lira", "lira_offline", "rmia", "rmia_offline"), 4: ("rmia", "rmia_offline")}
SIDES = ("before", "after, adaptive", "after, non-adaptive")
GAIN = "adaptive − non-adaptive"
RATES = {"0.01": "1 %", "0.001": "0.1 %"}


def experiments(
    setting: str, records: Path | None, seed: int, defence: str = "", how: str = "cwrf"
) -> dict[int, Experiment]:
    """Number of reference models → the experiment that is audited with so many. defence: another objective than the
    setting's, by its name in `RIVALS`, with the strength and use (`how`) that the sweep of every defence gives it."""
    data = {"kind": "digits"} | SETTINGS[setting].get("data", {}) | {"seed": seed}
    found = {}
    for models, attacks in ATTACKS.items():
        audit = {"attacks": list(attacks), "shadows": {"models": models}, "gradient_records": 0}
        found[models] = experiment(setting, records, audit=audit, data=data, seed=seed)
        if defence:
            way = next(words for kind, words, _ in HOW if kind == how)
            every = points(PRESETS["defences"].make(found[models], 1))
            found[models] = next(
                p.experiment for p in every if (p.label.get("objective"), p.label["how"]) == (defence, way)
            )
    return found


def measured(e: Experiment, store: Store, summary: dict[str, Any]) -> list[dict[str, Any]]:
    """Per attack: references, what it achieved on each of `SIDES` (None: not run), and the paired difference `GAIN`."""
    before, after = summary["before"]["attacks"], summary["after"]["attacks"]
    names = {attack: f"{attack}:{NON_ADAPTIVE}" for attack in e.audit.attacks}
    records = pd.read_parquet(store.path(plan(e)["after"]) / "records.parquet")
    gains = adaptive_advantage(records, list(names.values())).set_index("attack").to_dict("index")
    rows = []
    for attack, blind in names.items():
        sides = dict(zip(SIDES, (before.get(attack), after.get(attack), after.get(blind)), strict=True))
        models = 0 if attack == "loss" else e.audit.shadows.models
        rows.append({"attack": attack, "references": models, "seed": e.seed, **sides, GAIN: gains.get(blind)})
    return rows


def rate(found: dict[str, Any] | None, fpr: str) -> str:
    """TPR with its interval where so many non-members resolve the FPR."""
    unresolved = fpr == "0.001" and found and found["non_members"] * float(fpr) < FEW - 1e-9
    return "not resolvable" if unresolved else tpr(found, fpr)


def difference(*ends: float) -> str:
    """A difference of AUCs with its interval."""
    return "{} [{}, {}]".format(*map(n.difference, ends))


def table(rows: list[dict[str, Any]]) -> str:
    """The attacks on one target."""
    heads = ["attack", "references", *(f"AUC {side}" for side in SIDES), GAIN]
    heads += [f"TPR at {words} FPR, before → adaptive / non-adaptive" for words in RATES.values()]
    lines = [heads, ["---"] * len(heads)]
    for row in rows:
        cells = [row["attack"], str(row["references"])]
        cells += [n.auc(s["auc"], s["auc_low"], s["auc_high"]) if (s := row[side]) else n.MISSING for side in SIDES]
        gain = row[GAIN]
        cells.append(difference(gain["difference"], gain["low"], gain["high"]) if gain else n.MISSING)
        for fpr in RATES:
            was, adaptive, blind = (rate(row[side], fpr) for side in SIDES)
            cells.append(was if was == adaptive == "not resolvable" else f"{was} → {adaptive} / {blind}")
        lines.append(cells)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def settings(e: Experiment, store: Store) -> str:
    """What the attacks with so many references chose and were given, in one line."""
    told = pd.read_parquet(store.path(plan(e)["after"]) / "attacks.parquet")
    told = told[(told["group"] == "all") & told["attack"].isin(e.audit.attacks)].set_index("attack")["chosen"]
    parts = [
        f"{name} {part}"
        for name, chosen in told.items()
        for part in str(chosen).split(", ")
        if part.startswith(("variance ", "a "))
    ]
    audit = e.audit
    return ", ".join([*parts, f"γ {n.plain(audit.rmia_gamma)}", f"questions per record {audit.shadows.queries}"])


def means(rows: list[dict[str, Any]]) -> str:
    """Every attack over the seeds: mean with Student's t interval."""
    heads = ["attack", "references", *(f"AUC {side}" for side in SIDES), GAIN]
    heads += [f"TPR at {words} FPR, {side}" for words in RATES.values() for side in SIDES]
    lines = [heads, ["---"] * len(heads)]
    for (attack, models), part in pd.DataFrame(rows).groupby(["attack", "references"], sort=False):
        cells = [str(attack), str(models)]
        for side in SIDES:
            found = [side["auc"] for side in part[side] if side]
            cells.append(_mean(found, n.auc))
        cells.append(_mean([gain["difference"] for gain in part[GAIN] if gain], difference, low=-1.0))
        for fpr in RATES:
            for side in SIDES:
                found = [s for s in part[side] if s]
                resolved = all(rate(s, fpr) != "not resolvable" for s in found)
                shares = [s["tpr_at_fpr"][fpr] for s in found]
                cells.append(_mean(shares, n.accuracy) if resolved else "not resolvable")
        lines.append(cells)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def contrast(rows: list[dict[str, Any]], others: list[dict[str, Any]]) -> str:
    """AUC after the first way minus after the other, paired by seed: mean with Student's t interval."""
    lines = [["attack", "references", *(f"AUC {side}" for side in SIDES[1:])]]
    lines.append(["---"] * len(lines[0]))
    pairs = pd.DataFrame(rows).join(pd.DataFrame(others)[list(SIDES)].add_suffix(" of the other"))
    for (attack, models), part in pairs.groupby(["attack", "references"], sort=False):
        cells = [str(attack), str(models)]
        for side in SIDES[1:]:
            both = [(a, b) for a, b in zip(part[side], part[f"{side} of the other"], strict=True) if a and b]
            cells.append(_mean([a["auc"] - b["auc"] for a, b in both], difference, low=-1.0))
        lines.append(cells)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _mean(values: list[float], write: Any, low: float = 0.0, high: float = 1.0) -> str:
    if not values:
        return n.MISSING
    found = mean_interval(values, low=low, high=high)
    return write(found.value, found.low, found.high)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("setting", choices=SETTINGS)
    parser.add_argument("--seed", type=int, default=0, help="the first one")
    parser.add_argument("--seeds", type=int, default=1, help="how many targets")
    choices = [*RIVALS, "cross-entropy"]
    parser.add_argument("--defence", choices=choices, default="", help="another objective than the setting's RelaxLoss")
    ways = [kind for kind, _, _ in HOW]
    parser.add_argument("--how", choices=ways, nargs="+", default=["cwrf"], help="how --defence is used; two: compared")
    parser.add_argument("--data", type=Path, help="Parquet file of location30 or cifar10")
    parser.add_argument("--store")
    given = parser.parse_args()
    if not given.defence and given.how != ["cwrf"]:
        parser.error("--how says how --defence is used: name one")
    found = {how: audited(given, how) for how in given.how}
    if len(found) == 2 and given.seeds > 1:
        print(f"\n{' minus '.join(found)}, paired by seed:\n\n{contrast(*found.values())}")


def audited(given: argparse.Namespace, how: str) -> list[dict[str, Any]]:
    """The rows of every target, printed on the way."""
    store, progress, rows = Store(given.store), TerminalProgress(), []
    for seed in range(given.seed, given.seed + given.seeds):
        started, found = time.time(), []
        by_models = experiments(given.setting, given.data, seed, given.defence, how)
        for e in by_models.values():
            found += measured(e, store, run(e, store, progress))
        rows += found
        print(f"\n{table(found)}\n")
        for models, e in by_models.items():
            print(f"{models} references: {settings(e, store)}")
        one = found[0]["before"]
        sizes = f"{one['members']} members, {one['non_members']} non-members"
        print(f"{sizes}, seed {seed}, {how}; torch {torch.__version__}; {time.time() - started:.0f} s", flush=True)
    if given.seeds > 1:
        print(f"\nMeans over {given.seeds} seeds:\n\n{means(rows)}")
    return rows


if __name__ == "__main__":
    main()
