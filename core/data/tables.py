"""Tables of numbers from Parquet, CSV or NPZ: every column but `label` and `member` is a feature."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv

from core.config import BadInput
from core.data.config import TableParquet
from core.data.labels import class_labels, member_flags
from core.data.parquet import as_numpy, class_names, found_columns, open_parquet
from core.data.source import LIMIT_BYTES, Source, check_size, existing_file

EXPECTED = "a Parquet or CSV file with a column label and numeric features, or an NPZ file with the arrays x and y"
NOT_FEATURES = ("label", "member")


def load_table(config: TableParquet) -> Source:
    """Labels, class names, member flags and features float32 of the file; BadInput names what does not fit."""
    path = existing_file(config.path, EXPECTED)
    if path.suffix.lower() == ".npz":
        return _from_npz(path)
    if path.suffix.lower() == ".csv":
        return _from_arrow(_read_csv(path), path)
    file = open_parquet(path, EXPECTED)
    check_size(file.metadata.num_rows, (len(file.schema_arrow.names),), itemsize=4, where=str(path))
    try:
        return _from_arrow(file.read(), path)
    except (pa.ArrowException, OSError) as error:
        raise BadInput(f"{path}: the file is damaged ({str(error).splitlines()[0][:160]})") from None


def _read_csv(path: Path) -> pa.Table:
    try:
        # a missing text is missing, not a class of its own
        options = pyarrow.csv.ConvertOptions(strings_can_be_null=True)
        table = pyarrow.csv.read_csv(path, convert_options=options)
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0][:160]
        raise BadInput(f"{path}: is not a readable CSV file ({reason}); expected {EXPECTED}") from None
    twice = sorted({name for name in table.column_names if table.column_names.count(name) > 1})
    if twice:
        raise BadInput(f"{path}: names the column {twice[0]!r} twice; expected {EXPECTED}")
    if table.num_rows == 0:
        raise BadInput(f"{path}: holds no records; expected {EXPECTED}")
    return table


def _from_arrow(table: pa.Table, path: Path) -> Source:
    if "label" not in table.column_names:
        found = found_columns(table.column_names)
        raise BadInput(f"{path}: lacks the column label (found {found}); expected {EXPECTED}")
    features = [name for name in table.column_names if name not in NOT_FEATURES]
    if not features:
        raise BadInput(f"{path}: has no column beside {found_columns(table.column_names)}; expected {EXPECTED}")
    check_size(table.num_rows, (len(features),), itemsize=4, where=str(path))
    x = np.empty((table.num_rows, len(features)), np.float32)
    for j, name in enumerate(features):
        x[:, j] = _feature(table.column(name), name, path)
    _check_finite(x, features, path)
    y, classes = class_labels(as_numpy(table.column("label")), path=path, names=class_names(table.schema))
    flags = None
    if "member" in table.column_names:
        flags = member_flags(as_numpy(table.column("member")), path=path)
    return Source("table", y, classes, lambda rows: x[rows], flags)


def _feature(column: pa.ChunkedArray, name: str, path: Path) -> np.ndarray:
    kind = column.type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
        # leaving it out would audit another model than the one the person has in mind
        raise BadInput(f"{path}: the column {name} is {kind}, not numbers; turn it into numbers or remove it")
    return column.cast(pa.float32(), safe=False).to_numpy()


def _check_finite(x: np.ndarray, features: list[str], path: Path) -> None:
    bad = np.argwhere(~np.isfinite(x))
    if len(bad):
        row, column = bad[0]
        more = f", and {len(bad) - 1} more such values" if len(bad) > 1 else ""
        raise BadInput(
            f"{path}: the feature {features[column]} is missing or not finite in row {row}{more}; "
            "expected a number in every row"
        )


def _from_npz(path: Path) -> Source:
    arrays = read_npz(path, EXPECTED)
    missing = [name for name in ("x", "y") if name not in arrays]
    if missing:
        found = found_columns(sorted(arrays)) or "nothing"
        raise BadInput(f"{path}: lacks the array {missing[0]} (found {found}); expected {EXPECTED}")
    x, y = arrays["x"], arrays["y"]
    if x.ndim != 2 or x.dtype.kind not in "biuf" or 0 in x.shape:
        raise BadInput(f"{path}: x is {x.dtype} {list(x.shape)}; expected numbers [records, features]")
    if len(y) != len(x):
        raise BadInput(f"{path}: x has {len(x)} records and y has {len(y)}; expected one label per record")
    with np.errstate(over="ignore"):  # what does not fit float32 becomes infinite and is refused below
        x = x.astype(np.float32)
    _check_finite(x, [str(j) for j in range(x.shape[1])], path)
    labels, classes = class_labels(y, path=path)
    flags = member_flags(arrays["member"], path=path) if "member" in arrays else None
    if flags is not None and flags.shape != labels.shape:
        raise BadInput(f"{path}: member is {list(flags.shape)} for {len(labels)} records; expected one flag per record")
    return Source("table", labels, classes, lambda rows: x[rows], flags)


def read_npz(path: Path, expected: str) -> dict[str, np.ndarray]:
    """The arrays of an NPZ file, without pickle; its unpacked size is bounded before it is read."""
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(info.file_size for info in archive.infolist())
        if size > LIMIT_BYTES:
            raise BadInput(f"{path}: unpacks to {size / 2**30:.1f} GB, the limit is {LIMIT_BYTES / 2**30:g} GB")
        with np.load(path, allow_pickle=False) as archive:
            return {name: np.atleast_1d(archive[name]) for name in archive.files}
    except BadInput:
        raise
    except (ValueError, OSError, EOFError, MemoryError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        reason = "it holds Python objects" if "allow_pickle" in str(error) else str(error).splitlines()[0][:120]
        raise BadInput(f"{path}: is not a readable NPZ file ({reason}); expected {expected}") from None
