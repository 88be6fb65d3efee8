"""LiRA and RMIA before and after CWRF, adaptive and not, as a Markdown table of one target.

    python benchmarks/attacks.py demo
    python benchmarks/attacks.py location30 --data location30.parquet

RMIA with 4 and 16 reference models, LiRA with 16. The target and all references train anew where the store lacks them.
Brackets are 95 % intervals: DeLong for AUC, Clopper-Pearson for TPR.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from sweeps import SETTINGS, experiment

from core.experiment import Experiment, run
from core.figures import numbers as n
from core.progress import TerminalProgress
from core.report import tpr
from core.store import Store

ATTACKS = {16: ("loss", "lira", "lira_offline", "rmia", "rmia_offline"), 4: ("rmia", "rmia_offline")}


def experiments(setting: str, records: Path | None, seed: int) -> dict[int, Experiment]:
    """Number of reference models → the experiment that is audited with so many."""
    data = {"kind": "digits"} | SETTINGS[setting].get("data", {}) | {"seed": seed}
    audits = {
        models: {"attacks": list(attacks), "shadows": {"models": models}, "gradient_records": 0}
        for models, attacks in ATTACKS.items()
    }
    return {models: experiment(setting, records, audit=audit, data=data, seed=seed) for models, audit in audits.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("setting", choices=SETTINGS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", type=Path, help="Parquet file of location30 or cifar10")
    parser.add_argument("--store")
    given = parser.parse_args()
    store, progress, started = Store(given.store), TerminalProgress(), time.time()
    print("| attack | references | before | after, adaptive | after, non-adaptive | TPR at 1 % FPR before → after |")
    print("|---|---|---|---|---|---|")
    for models, audited in experiments(given.setting, given.data, given.seed).items():
        summary = run(audited, store, progress)
        before, after = summary["before"]["attacks"], summary["after"]["attacks"]
        for attack in ATTACKS[models]:
            sides = [before[attack], after[attack], after.get(f"{attack}:non-adaptive")]
            cells = [n.auc(s["auc"], s["auc_low"], s["auc_high"]) if s else n.MISSING for s in sides]
            cells.append(" → ".join(tpr(side) for side in sides[:2]))
            print(f"| {attack} | {models if attack != 'loss' else 0} | {' | '.join(cells)} |", flush=True)
    sizes = f"{before[attack]['members']} members, {before[attack]['non_members']} non-members"
    print(f"\n{sizes}, seed {given.seed}; torch {torch.__version__}; {time.time() - started:.0f} s")


if __name__ == "__main__":
    main()
