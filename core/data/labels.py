"""Labels and member flags out of whatever a file holds: checked, integer, and named."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from core.config import BadInput


def class_labels(
    column: np.ndarray, *, path: Path, names: tuple[str, ...] | None = None
) -> tuple[np.ndarray, tuple[str, ...]]:
    """(y [N] int64, K class names) of a label column: whole numbers 0…K−1, or texts, numbered in sorted order.

    With `names` (from the file's own schema) K is their number; without, every class up to the largest occurs.
    """
    column = np.asarray(column)
    if column.ndim != 1:
        raise BadInput(f"{path}: labels have {column.ndim} dimensions; expected one label per record")
    if len(column) == 0:
        raise BadInput(f"{path}: holds no records")
    if column.dtype.kind in "OUS":
        return _text_labels(column, path)
    if column.dtype.kind not in "biuf":
        raise BadInput(f"{path}: labels are of type {column.dtype}; expected whole numbers 0…K−1 or texts")
    if column.dtype.kind == "f":
        bad = np.flatnonzero(~np.isfinite(column) | (column != np.round(column)))
        if len(bad):
            raise BadInput(f"{path}: the label in row {bad[0]} is {column[bad[0]]}; expected a whole number 0…K−1")
    low, high = column.min(), column.max()
    if low < 0 or high > np.iinfo(np.int32).max:
        worst = low if low < 0 else high
        hint = " (−1 marks unlabelled records)" if worst == -1 else ""
        raise BadInput(f"{path}: found the label {worst}{hint}; expected whole numbers 0…K−1")
    y = column.astype(np.int64)
    if names is not None:
        if high >= len(names):
            raise BadInput(f"{path}: found the label {int(high)}, but the file names only {len(names)} classes")
        return y, names
    present = np.unique(y)
    if len(present) != high + 1:
        missing = int(np.flatnonzero(np.append(present, -1)[: len(present)] != np.arange(len(present)))[0])
        raise BadInput(
            f"{path}: labels go up to {int(high)} but {missing} never occurs; expected whole numbers 0…K−1 without "
            "gaps, or a Parquet file that names all classes as Hugging Face's datasets do"
        )
    return y, tuple(str(k) for k in range(int(high) + 1))


def _text_labels(column: np.ndarray, path: Path) -> tuple[np.ndarray, tuple[str, ...]]:
    for row, label in enumerate(column):
        if not isinstance(label, str):
            raise BadInput(f"{path}: the label in row {row} is {label!r}; expected a text in every row")
    names, y = np.unique(column.astype(str), return_inverse=True)
    return y.astype(np.int64), tuple(str(name) for name in names)


def member_flags(column: np.ndarray, *, path: Path) -> np.ndarray:
    """[N] bool of a `member` column: true and false, or 1 and 0."""
    column = np.asarray(column)
    if column.dtype.kind == "b":
        return column
    if column.dtype.kind in "iuf" and np.isin(column, (0, 1)).all():
        return column.astype(bool)
    raise BadInput(f"{path}: the column member is not true or false in every row; expected a boolean column")
