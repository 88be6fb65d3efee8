"""A source: labels of all records at once, the records themselves only for the rows that were selected."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Literal

import numpy as np

from core.config import BadInput

LIMIT_BYTES = 4 * 2**30
"""The most that one set of decoded records, or one file that is read whole, may take in memory."""


@dataclass(frozen=True)
class Source:
    """N labelled records. Splits are drawn from the labels; `records` then decodes only the rows they took."""

    kind: Literal["image", "table"]
    y: np.ndarray
    """[N] int64, 0…K−1."""
    classes: tuple[str, ...]
    """K class names."""
    records: Callable[[np.ndarray], np.ndarray]
    """Rows [n] → uint8 [n, C, H, W] for images, float32 [n, F] for tables, in the order asked."""
    member_flags: np.ndarray | None = None
    """[N] bool, the records a brought model was trained on."""

    @property
    def x(self) -> np.ndarray:
        """All records, decoded."""
        return self.records(np.arange(len(self.y)))


def check_size(rows: int, shape: tuple[int, ...], *, itemsize: int, where: str) -> None:
    """BadInput where rows × shape would not fit LIMIT_BYTES, asked before anything is decoded."""
    size = rows * prod(shape) * itemsize
    if size > LIMIT_BYTES:
        each = "×".join(str(side) for side in shape)
        raise BadInput(
            f"{where}: {rows} records of {each} values need {size / 2**30:.1f} GB in memory, "
            f"the limit is {LIMIT_BYTES / 2**30:g} GB; ask for fewer or smaller records"
        )


def existing_file(path: Path, expected: str) -> Path:
    """The path with ~ expanded; BadInput where it is missing, a folder, empty or too large."""
    path = path.expanduser()
    if not path.exists():
        raise BadInput(f"{path}: no such file; expected {expected}")
    if not path.is_file():
        raise BadInput(f"{path}: is a folder; expected {expected}")
    try:
        size = path.stat().st_size
        with path.open("rb"):
            pass
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror}); expected {expected}") from None
    if size == 0:
        raise BadInput(f"{path}: is empty; expected {expected}")
    if size > LIMIT_BYTES:
        raise BadInput(f"{path}: is {size / 2**30:.1f} GB, the limit is {LIMIT_BYTES / 2**30:g} GB")
    return path
