"""Parquet, opened with every failure in words, and the class names that public hubs keep in its schema."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from core.config import BadInput
from core.data.source import existing_file


def open_parquet(path: Path, expected: str) -> pq.ParquetFile:
    """The opened file; BadInput where it is missing, not Parquet, damaged, or names a column twice."""
    path = existing_file(path, expected)
    try:
        file = pq.ParquetFile(path)
        names = file.schema_arrow.names
    except (pa.ArrowException, OSError) as error:
        raise BadInput(f"{path}: is not a readable Parquet file ({_first_line(error)}); expected {expected}") from None
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise BadInput(f"{path}: names the column {twice[0]} twice; expected {expected}")
    if file.metadata.num_rows == 0:
        raise BadInput(f"{path}: holds no records; expected {expected}")
    return file


def read_column(file: pq.ParquetFile, name: str, path: Path, row_group: int | None = None) -> pa.ChunkedArray:
    """One column of one row group, or of the whole file."""
    try:
        table = file.read(columns=[name]) if row_group is None else file.read_row_group(row_group, columns=[name])
    except (pa.ArrowException, OSError) as error:
        raise BadInput(f"{path}: the column {name} is damaged ({_first_line(error)})") from None
    return table.column(0)


def as_numpy(column: pa.ChunkedArray) -> np.ndarray:
    """The column as an array; categories as their values, missing numbers as NaN, missing texts as None."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    return column.to_numpy()


def class_names(schema: pa.Schema) -> tuple[str, ...] | None:
    """Names of the classes of `label`, where a public hub wrote them into the schema's metadata."""
    try:
        info = json.loads((schema.metadata or {})[b"huggingface"])
        names = info["info"]["features"]["label"]["names"]
    except (KeyError, TypeError, ValueError):
        return None
    well_formed = isinstance(names, list) and names and all(isinstance(name, str) for name in names)
    return tuple(names) if well_formed else None


def found_columns(names: list[str]) -> str:
    """The columns of a file as words, shortened."""
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:160] if str(error).strip() else type(error).__name__
