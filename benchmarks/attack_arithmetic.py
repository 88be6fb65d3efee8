"""Claim: LiRA and RMIA, online and offline, on 64 reference models × 50 000 records take at most 3 s and 1 GiB, and
their cost grows in proportion to the number of models M and of records N (`--grid` prints the table).

Arithmetic only, on drawn scaled logits; one process. Run: python benchmarks/attack_arithmetic.py [--grid]
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from core.attacks import ATTACKS, Signals, design_matrix

NAMES = ("lira", "lira_offline", "rmia", "rmia_offline")
SECONDS, GIBIBYTES = 3.0, 1.0


def drawn(*, models: int, records: int, population: int, seed: int = 0) -> tuple[Signals, np.ndarray]:
    """(signals, membership): Gaussian φ around a level per record, members one higher."""
    generator = np.random.default_rng(seed)
    rows = design_matrix(models=models, points=records, seed=seed)
    member = generator.permutation(records) < records // 2
    level = 3 * generator.standard_normal(records, np.float32)
    target = level + member + generator.standard_normal(records, np.float32)
    references = np.empty((models, records, 1), np.float32)
    for row, out in zip(rows, references, strict=True):
        out[:, 0] = level + row + generator.standard_normal(records, np.float32)
    known = 3 * generator.standard_normal((1, population, 1), np.float32)
    return (
        Signals(
            logits=np.stack([target, np.zeros_like(target)], 1),
            labels=np.zeros(records, np.int64),
            population_logits=np.concatenate([known[0], np.zeros_like(known[0])], 1),
            population_labels=np.zeros(population, np.int64),
            reference_phi=references,
            reference_in=rows,
            reference_population_phi=known + generator.standard_normal((models, population, 1), np.float32),
        ),
        member,
    )


def peak_gibibytes() -> float:
    """Largest resident size of this process so far."""
    # bytes on macOS, kibibytes elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**30 if sys.platform == "darwin" else 2**20)


def grid(models: int, records: int, population: int, repeats: int) -> int:
    """Seconds of the four attacks at M, M/2, M/4 and N, N/2, N/4, and the ratio to the full size over M·N's own."""
    print("| M | N | seconds | share of the largest | share of M × N |")
    print("|---|---|---|---|---|")
    sizes = [(models // k, records // j) for k, j in ((1, 1), (2, 1), (4, 1), (1, 2), (1, 4))]
    largest = 0.0
    for m, count in sizes:
        signals, _ = drawn(models=m, records=count, population=population)
        took = []
        for _ in range(repeats):
            start = time.process_time()
            for name in NAMES:
                ATTACKS[name]()(signals)
            took.append(time.process_time() - start)
        seconds = min(took)
        largest = largest or seconds
        share = m * count / (models * records)
        print(f"| {m} | {count} | {seconds:.2f} | {seconds / largest:.2f} | {share:.2f} |")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, default=64)
    parser.add_argument("--records", type=int, default=50_000)
    parser.add_argument("--population", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--grid", action="store_true", help="time halves and quarters of M and of N instead")
    options = parser.parse_args()
    if options.grid:
        return grid(options.models, options.records, options.population, options.repeats)
    signals, _ = drawn(models=options.models, records=options.records, population=options.population)
    print(f"{options.models} references × {options.records} records, {os.cpu_count()} cores, {platform.machine()}")
    total = 0.0
    for name in NAMES:
        attack = ATTACKS[name]()
        seconds = []
        for _ in range(options.repeats):
            start = time.perf_counter()
            assert attack.is_compatible(signals) is None
            attack(signals)
            if name.startswith("rmia"):
                attack.calibrated(signals)
            seconds.append(time.perf_counter() - start)
        total += sorted(seconds)[len(seconds) // 2]
        spread = f"{min(seconds):.2f} to {max(seconds):.2f}"
        print(f"{name:13s} {sorted(seconds)[len(seconds) // 2]:.2f} s (median of {len(seconds)}, {spread})")
    peak = peak_gibibytes()
    print(f"all four      {total:.2f} s (goal {SECONDS:.0f}), peak memory {peak:.2f} GiB of the whole process (goal 1)")
    return int(total > SECONDS or peak > GIBIBYTES)


if __name__ == "__main__":
    raise SystemExit(main())
