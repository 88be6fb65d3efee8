"""LiRA and RMIA before and after CWRF, adaptive and not, as a Markdown table with DeLong intervals of one target.

    python benchmarks/attacks.py demo
    python benchmarks/attacks.py location30 --data location30.parquet

RMIA with 4 and 16 reference models, LiRA with 16. The target and all references train anew where the store lacks them.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from sweeps import SETTINGS, experiment

from core.experiment import run
from core.figures import numbers as n
from core.progress import TerminalProgress
from core.store import Store

ATTACKS = {16: ("loss", "lira", "lira_offline", "rmia", "rmia_offline"), 4: ("rmia", "rmia_offline")}


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
    for models, attacks in ATTACKS.items():
        audit = {"attacks": list(attacks), "shadows": {"models": models}, "gradient_records": 0}
        data = {"kind": "digits"} | SETTINGS[given.setting].get("data", {}) | {"seed": given.seed}
        summary = run(experiment(given.setting, given.data, audit=audit, data=data, seed=given.seed), store, progress)
        before, after = summary["before"]["attacks"], summary["after"]["attacks"]
        for attack in attacks:
            sides = [before[attack], after[attack], after.get(f"{attack}:non-adaptive")]
            cells = [n.auc(s["auc"], s["auc_low"], s["auc_high"]) if s else n.MISSING for s in sides]
            tpr = " → ".join(n.accuracy(s["tpr_at_fpr"]["0.01"]) for s in sides[:2])
            print(f"| {attack} | {models if attack != 'loss' else 0} | {' | '.join(cells)} | {tpr} |", flush=True)
    sizes = f"{before[attack]['members']} members, {before[attack]['non_members']} non-members"
    print(f"\n{sizes}, seed {given.seed}; torch {torch.__version__}; {time.time() - started:.0f} s")


if __name__ == "__main__":
    main()
