"""One layer of a stored model in numbers: initial, trained and vulnerability of each of its weights. Free of torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from safetensors import safe_open

from core.config import BadInput

POINTS = 600
"""Most rows of a sample: enough to see a cloud's shape, and few enough that a browser draws them at once."""


@dataclass(frozen=True)
class Layer:
    """The weights of one parameter tensor; the three arrays have its shape."""

    initial: np.ndarray
    """Values before training, float32."""
    trained: np.ndarray
    """Values after training, float32."""
    vulnerability: np.ndarray
    """Accumulated |g·w| of the PVE run, ≥ 0."""

    def sample(self, critical: np.ndarray, most: int = POINTS) -> pd.DataFrame:
        """At most `most` weights as rows with initial, trained and critical (bool), in the order of the tensor.

        Each group is thinned evenly along the tensor. Critical weights are few and the reason to look: they may take
        half of the rows, and whatever the others leave free.
        """
        flat = np.asarray(critical, bool).ravel()
        marked, others = np.flatnonzero(flat), np.flatnonzero(~flat)
        marked = _evenly(marked, max(most // 2, most - len(others)))
        rows = np.sort(np.concatenate([marked, _evenly(others, most - len(marked))]))
        return pd.DataFrame(
            {"initial": self.initial.ravel()[rows], "trained": self.trained.ravel()[rows], "critical": flat[rows]}
        )

    def facts(self, critical: np.ndarray) -> dict[str, float]:
        """How the critical weights of this layer differ from its others, over all weights; nan for an empty group.

        critical_moved, others_moved: mean |trained − initial|. among_largest: share of the critical weights that are
        also among the equally many largest trained magnitudes (1: size tells which weights are critical).
        """
        flat = np.asarray(critical, bool).ravel()
        moved = np.abs(self.trained.astype(np.float64) - self.initial).ravel()
        size, number = np.abs(self.trained).ravel(), int(flat.sum())
        among = float("nan")
        if number:
            largest = np.argpartition(size, size.size - number)[size.size - number :]
            among = float(flat[largest].mean())
        return {
            "critical_moved": float(moved[flat].mean()) if number else float("nan"),
            "others_moved": float(moved[~flat].mean()) if number < flat.size else float("nan"),
            "among_largest": among,
        }


def read_layer(name: str, *, trained: Path, vulnerability: Path) -> Layer:
    """Read one parameter and its scores, and nothing else, from two stage folders.

    trained: holds initial.safetensors and final.safetensors. vulnerability: holds scores.safetensors.
    BadInput where one of the files does not have this parameter.
    """
    return Layer(
        initial=_tensor(trained / "initial.safetensors", name),
        trained=_tensor(trained / "final.safetensors", name),
        vulnerability=_tensor(vulnerability / "scores.safetensors", name),
    )


def _tensor(file: Path, name: str) -> np.ndarray:
    with safe_open(file, framework="numpy") as opened:
        if name not in opened.keys():  # noqa: SIM118 (the handle is no mapping)
            raise BadInput(f"{file.name} has no layer '{name}'")
        return opened.get_tensor(name)


def _evenly(rows: np.ndarray, most: int) -> np.ndarray:
    return rows if len(rows) <= most else rows[np.linspace(0, len(rows) - 1, max(most, 0)).astype(np.int64)]
