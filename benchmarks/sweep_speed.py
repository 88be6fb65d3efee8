"""Claim: a 12-point sweep over the fraction r on the demo takes at most 60 s on two cores, from an empty store.

    python benchmarks/sweep_speed.py

The demo's whole audit is run at every point. Prints seconds, and how often each kind of stage was computed: training
and scores once, a rewind and an audit per point.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from core.experiment import Experiment
from core.progress import Progress
from core.store import Store
from core.sweeps.presets import PRESETS
from core.sweeps.run import run_sweep


def main() -> None:
    sweep = PRESETS["fraction"].make(Experiment(), 1)
    with tempfile.TemporaryDirectory() as folder:
        store, start = Store(folder), time.perf_counter()
        run_sweep(sweep, store, Progress())
        seconds = time.perf_counter() - start
        kinds = Counter(path.name.split("-")[0] for path in store.root.glob("*-*") if path.is_dir())
    print(f"{sweep.size} points in {seconds:.1f} s; stages computed: {dict(kinds)}")
    print(json.dumps({"seconds": seconds, "cores": os.cpu_count(), "stages": dict(kinds)}))


if __name__ == "__main__":
    main()
