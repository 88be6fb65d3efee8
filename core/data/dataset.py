"""The dataset of a run: the records its splits took, with flipped labels, normalisation, and a folder on disk."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

from core.config import BadInput
from core.data.config import DataConfig
from core.data.loading import load
from core.data.members import read_member_indices
from core.data.source import Source
from core.data.splits import SPLITS, flip, split

RECORDS, DESCRIPTION = "records.safetensors", "dataset.json"


@dataclass(frozen=True)
class Dataset:
    """n records in the order members, non-members, reference, population."""

    x: np.ndarray
    """uint8 [n, C, H, W] images or float32 [n, F] tables; empty [0, …] where read without records."""
    y: np.ndarray
    """[n] int64 labels, flips included: what the model sees."""
    clean_y: np.ndarray
    """[n] int64 labels before the flips."""
    row: np.ndarray
    """[n] int64 row of each record in its source."""
    splits: dict[str, np.ndarray]
    """Positions into x of each split, int64."""
    classes: tuple[str, ...]
    """K class names."""
    kind: Literal["image", "table"]
    mean: np.ndarray
    """[C] of x / 255, or [F]: what normalisation subtracts, float32."""
    std: np.ndarray
    """[C] or [F]: what normalisation then divides by, float32."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one record: (C, H, W) or (F,)."""
        return self.x.shape[1:]

    @property
    def canaries(self) -> np.ndarray:
        """[n] bool, the records whose label was flipped."""
        return self.y != self.clean_y

    @property
    def audited(self) -> np.ndarray:
        """Positions of the audited records: members, then non-members."""
        return np.concatenate([self.splits["members"], self.splits["non_members"]])

    @property
    def is_member(self) -> np.ndarray:
        """[audited] bool, in the order of `audited`."""
        return np.arange(len(self.audited)) < len(self.splits["members"])

    def save(self, folder: Path) -> None:
        """Write records.safetensors and dataset.json into an existing folder."""
        arrays = {"x": self.x, "y": self.y, "clean_y": self.clean_y, "row": self.row, "mean": self.mean}
        arrays |= {"std": self.std} | {f"splits.{name}": positions for name, positions in self.splits.items()}
        save_file({name: np.ascontiguousarray(a) for name, a in arrays.items()}, folder / RECORDS)
        description = {"kind": self.kind, "classes": list(self.classes), "shape": list(self.shape)}
        (folder / DESCRIPTION).write_text(json.dumps(description, ensure_ascii=False, indent=1), encoding="utf-8")

    @classmethod
    def read(cls, folder: Path, *, records: bool = True) -> Dataset:
        """The dataset saved in the folder; with records=False x is empty [0, …] and the file's pixels stay unread."""
        description = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        with safe_open(folder / RECORDS, framework="numpy") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys() if name != "x"}  # noqa: SIM118 (no dict)
            x = file.get_tensor("x") if records else file.get_slice("x")[:0]
        return cls(
            x=x,
            splits={name: arrays.pop(f"splits.{name}") for name in SPLITS},
            classes=tuple(description["classes"]),
            kind=description["kind"],
            **arrays,
        )


def read_records(folder: Path, positions: np.ndarray) -> np.ndarray:
    """x [len(positions), …] of a few records of a saved dataset, without reading the others."""
    with safe_open(folder / RECORDS, framework="numpy") as file:
        x = file.get_slice("x")
        return np.concatenate([x[int(p) : int(p) + 1] for p in positions]) if len(positions) else x[:0]


def build(config: DataConfig) -> Dataset:
    """Load, split, flip labels, decode the rows taken and measure their normalisation; BadInput in one line."""
    source = load(config)
    if len(source.classes) < 2:
        raise BadInput(f"the data have one class only ({source.classes[0]}); a classifier needs at least two")
    rows = split(len(source.y), config, **_pools(config, source))
    ends = np.cumsum([len(rows[name]) for name in SPLITS])
    splits = dict(zip(SPLITS, np.split(np.arange(ends[-1]), ends[:-1]), strict=True))
    row = np.concatenate([rows[name] for name in SPLITS])
    clean_y = source.y[row]
    y = flip(clean_y, splits, classes=len(source.classes), share=config.label_noise, seed=config.seed)
    x = source.records(row)
    mean, std = _normalisation(x, config)
    return Dataset(x, y, clean_y, row, splits, source.classes, source.kind, mean, std)


def _pools(config: DataConfig, source: Source) -> dict[str, np.ndarray | None]:
    if config.member_indices is None:
        return {"members": source.member_flags}
    if source.member_flags is not None:
        raise BadInput("the data have a column member and member_indices is given too; give one of the two")
    members, non_members = read_member_indices(config.member_indices, len(source.y))
    return {"members": members, "non_members": non_members}


def _normalisation(x: np.ndarray, config: DataConfig) -> tuple[np.ndarray, np.ndarray]:
    """Mean and std [C or F] float32: those of the config, else over all splits, so that they say nothing of members."""
    size = x.shape[1]
    given = []
    for name, values in (("mean", config.mean), ("std", config.std)):
        if len(values) not in (0, 1, size):
            what = "channel" if x.ndim == 4 else "feature"
            raise BadInput(f"{name} has {len(values)} values; expected one, or one for each {what} ({size})")
        given.append(np.broadcast_to(np.asarray(values, np.float32), (size,)).copy() if values else None)
    measured = pixel_statistics(x) if x.ndim == 4 else table_statistics(x)
    mean, std = (measured[i] if value is None else value for i, value in enumerate(given))
    return mean, std


def pixel_statistics(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and std [C] float32 over x / 255, exact: from counts of the 256 values. A constant channel has std 1."""
    counts = np.zeros((x.shape[1], 256), np.int64)
    for start in range(0, len(x), 1000):  # bincount widens its input eightfold
        for c in range(x.shape[1]):
            counts[c] += np.bincount(x[start : start + 1000, c].ravel(), minlength=256)
    values = np.arange(256) / 255
    total = counts.sum(axis=1)
    mean = counts @ values / total
    variance = (counts * (values - mean[:, None]) ** 2).sum(axis=1) / total
    return mean.astype(np.float32), _no_zero(np.sqrt(variance))


def table_statistics(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and std [F] float32 per feature; 0 and 1 where all values lie in [0, 1]. A constant feature has std 1."""
    if x.min() >= 0 and x.max() <= 1:
        return np.zeros(x.shape[1], np.float32), np.ones(x.shape[1], np.float32)
    constant = (x == x[0]).all(axis=0)  # rounding would leave such a feature a tiny std
    return x.mean(axis=0, dtype=np.float64).astype(np.float32), _no_zero(
        np.where(constant, 0, x.std(axis=0, dtype=np.float64))
    )


def _no_zero(std: np.ndarray) -> np.ndarray:
    std = std.astype(np.float32)
    return np.where(std == 0, np.float32(1), std)
