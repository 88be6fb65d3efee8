"""Which rows a brought model was trained on, from a small file of row numbers."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from core.config import BadInput
from core.data.source import existing_file
from core.data.tables import read_npz

EXPECTED = "a JSON, CSV or NPZ file with row numbers under the name members, and optionally non_members"
LIMIT_BYTES = 200 * 2**20


def read_member_indices(path: Path, count: int) -> tuple[np.ndarray, np.ndarray | None]:
    """(member flags [count] bool, non-member flags or None) of a file of row numbers 0…count−1.

    JSON: a list of members, or {"members": […], "non_members": […]}; CSV: columns of these names, or one column
    without a name; NPZ: arrays of these names.
    """
    path = existing_file(path, EXPECTED)
    if path.stat().st_size > LIMIT_BYTES:
        raise BadInput(f"{path}: is larger than {LIMIT_BYTES // 2**20} MB; expected {EXPECTED}")
    readers: dict[str, Callable[[Path], dict[str, Any]]] = {
        ".json": _from_json,
        ".csv": _from_csv,
        ".npz": lambda p: dict(read_npz(p, EXPECTED)),
    }
    if path.suffix.lower() not in readers:
        raise BadInput(f"{path}: ends in {path.suffix or 'nothing'}; expected {EXPECTED}")
    lists = readers[path.suffix.lower()](path)
    if "members" not in lists:
        found = ", ".join(sorted(lists)[:5]) or "nothing"
        raise BadInput(f"{path}: has no members (found {found}); expected {EXPECTED}")
    members = _flags(lists["members"], "members", count, path)
    if not members.any():
        raise BadInput(f"{path}: members is empty; a model is trained on at least one record")
    if "non_members" not in lists:
        return members, None
    non_members = _flags(lists["non_members"], "non_members", count, path)
    both = np.flatnonzero(members & non_members)
    if len(both):
        raise BadInput(f"{path}: row {both[0]} is listed as a member and as a non-member")
    return members, non_members


def _flags(rows: object, name: str, count: int, path: Path) -> np.ndarray:
    try:
        values = np.asarray(rows)
    except ValueError:  # lists of unequal length
        values = np.empty(0, object)
    if values.size == 0 and values.dtype.kind != "O":
        values = values.astype(np.int64).reshape(-1)
    if values.ndim != 1 or values.dtype.kind not in "iu":
        raise BadInput(f"{path}: {name} is not a list of row numbers; expected whole numbers from 0")
    outside = values[(values < 0) | (values >= count)]
    if len(outside):
        raise BadInput(f"{path}: {name} lists row {outside[0]}, but the data have rows 0 to {count - 1}")
    flags = np.zeros(count, bool)
    flags[values] = True
    return flags


def _from_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{path}: is not readable JSON ({error}); expected {EXPECTED}") from None
    if isinstance(content, list):
        return {"members": content}
    if not isinstance(content, dict):
        raise BadInput(f"{path}: holds a {type(content).__name__}; expected {EXPECTED}")
    return content


def _from_csv(path: Path) -> dict[str, Any]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = [row for row in csv.reader(file) if row]
        if rows and len(rows[0]) == 1 and rows[0][0].strip().isdigit():
            rows.insert(0, ["members"])
        header = [name.strip() for name in rows[0]]
        # the columns may differ in length: blanks end the shorter one
        return {
            name: [int(row[j]) for row in rows[1:] if j < len(row) and row[j].strip()]
            for j, name in enumerate(header)
            if name in ("members", "non_members")
        }
    except (ValueError, csv.Error, IndexError) as error:
        raise BadInput(f"{path}: is not a CSV file of row numbers ({error}); expected {EXPECTED}") from None
