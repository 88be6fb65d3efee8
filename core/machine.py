"""What this machine has to compute with. Free of torch."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

from core.config import whole_number

ON_GPU = 4
"""Processes that share a GPU: a small model leaves most of it idle, but each process takes memory of its own there."""


def workers() -> int:
    """Processes that train reference models and points of sweeps at once: REWINDLAB_WORKERS, else one per core, with a
    GPU at most four (a run uses one GPU, also where there are more)."""
    cores = os.cpu_count() or 1
    return whole_number("REWINDLAB_WORKERS") or (min(cores, ON_GPU) if gpus() else cores)


def gpus() -> list[str]:
    """Names of the CUDA devices this process may use, found without importing torch."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [name.strip() for name in visible.split(",") if name.strip() not in ("", "-1")]
    return [str(number) for number in range(_installed())]


@cache
def _installed() -> int:
    """GPUs in this machine; asked once, for the driver's tool takes its time."""
    if shutil.which("nvidia-smi"):
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            done = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=20, check=False)
            return sum(line.startswith("GPU ") for line in done.stdout.splitlines())
    driver = Path("/proc/driver/nvidia/gpus")
    return sum(1 for _ in driver.iterdir()) if driver.is_dir() else 0
