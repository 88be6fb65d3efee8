"""Images from Parquet, the layout of public dataset hubs: labels first, pixels only for the rows asked for."""

from __future__ import annotations

import warnings
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from core.config import BadInput
from core.data.config import ImageParquet
from core.data.labels import class_labels, member_flags
from core.data.parquet import as_numpy, class_names, found_columns, open_parquet, read_column
from core.data.source import LIMIT_BYTES, Source, check_size

EXPECTED = "a Parquet file with the columns img (struct with bytes) and label"
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF")
GREY = {"1", "L", "LA"}
DEEP = {"I", "F", "I;16", "I;16B", "I;16L", "I;16N"}


def load_images(config: ImageParquet) -> Source:
    """Labels, class names and member flags of the file; its pixels are decoded when rows are asked for."""
    path = config.path.expanduser()
    file = open_parquet(path, EXPECTED)
    schema = file.schema_arrow
    missing = [name for name in ("img", "label") if name not in schema.names]
    if missing:
        found = found_columns(schema.names)
        raise BadInput(f"{path}: lacks the column {missing[0]} (found {found}); expected {EXPECTED}")
    image_type = schema.field("img").type
    if not pa.types.is_struct(image_type) or image_type.get_field_index("bytes") < 0:
        raise BadInput(f"{path}: the column img is {image_type}, without bytes; expected {EXPECTED}")
    labels = as_numpy(read_column(file, "label", path))
    y, classes = class_labels(labels, path=path, names=class_names(schema))
    flags = None
    if "member" in schema.names:
        flags = member_flags(as_numpy(read_column(file, "member", path)), path=path)
    return Source("image", y, classes, lambda rows: decode(*encoded(path, rows), path=path), flags)


def encoded(path: Path, rows: np.ndarray) -> tuple[list[bytes], np.ndarray]:
    """(encoded images of the rows asked for, the rows), reading only the row groups that hold them."""
    file = open_parquet(path, EXPECTED)
    raw: dict[int, bytes] = {}
    wanted = np.unique(rows)
    start = kept = 0
    for group in range(file.metadata.num_row_groups):
        meta = file.metadata.row_group(group)
        here = wanted[(wanted >= start) & (wanted < start + meta.num_rows)]
        if len(here):
            _check_group(meta, path)
            column = read_column(file, "img.bytes", path, group).combine_chunks()
            values = column.field("bytes").take(pa.array(here - start)).to_pylist()
            raw.update(zip(here.tolist(), values, strict=True))
            kept += sum(len(value or b"") for value in values)
            if kept > LIMIT_BYTES:
                raise BadInput(f"{path}: the images asked for are over {LIMIT_BYTES / 2**30:g} GB; ask for fewer")
        start += meta.num_rows
    for row in wanted.tolist():
        if not isinstance(raw[row], bytes) or not raw[row]:
            raise BadInput(f"{path}: row {row} has no image bytes; expected {EXPECTED}")
    return [raw[row] for row in np.asarray(rows).tolist()], np.asarray(rows)


def _check_group(meta: pq.RowGroupMetaData, path: Path) -> None:
    columns = (meta.column(i) for i in range(meta.num_columns))
    size = sum(c.total_uncompressed_size for c in columns if c.path_in_schema.startswith("img.bytes"))
    if size > LIMIT_BYTES:
        raise BadInput(f"{path}: one row group of images is {size / 2**30:.1f} GB; write it with smaller row groups")


def decode(raw: list[bytes], rows: np.ndarray, *, path: Path) -> np.ndarray:
    """uint8 [n, C, H, W] of n encoded images, C = 1 where all are grey, else 3.

    Sizes come from the headers, and are compared and bounded before the first pixel is decoded.
    """
    if not raw:
        return np.empty((0, 3, 0, 0), np.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        images = [_open(data, int(row), path) for data, row in zip(raw, rows, strict=True)]
        first = int(np.argmin(rows))
        width, height = images[first].size
        for i in np.argsort(rows, kind="stable"):
            if images[i].size != (width, height):
                w, h = images[i].size
                raise BadInput(
                    f"{path}: the image in row {rows[i]} is {w}×{h}, that in row {rows[first]} is {width}×{height}; "
                    "expected one size for all (width×height)"
                )
        grey = all(image.mode in GREY for image in images)
        channels = 1 if grey else 3
        check_size(len(raw), (channels, height, width), itemsize=1, where=str(path))
        x = np.empty((len(raw), channels, height, width), np.uint8)
        for i, image in enumerate(images):
            x[i] = _pixels(image, "L" if grey else "RGB", int(rows[i]), path)
    return x


def _open(data: bytes, row: int, path: Path) -> Image.Image:
    try:
        image = Image.open(BytesIO(data), formats=FORMATS)
    except Exception as error:  # image parsers raise many kinds of error on damaged bytes
        raise BadInput(f"{path}: row {row} is not a readable image ({_reason(error)})") from None
    if image.mode in DEEP:
        raise BadInput(f"{path}: the image in row {row} has more than 8 bits per channel; save it with 8 bits")
    return image


def _pixels(image: Image.Image, mode: str, row: int, path: Path) -> np.ndarray:
    """uint8 [C, H, W]; the image is closed, so that only the array stays in memory."""
    try:
        with image:
            pixels = np.asarray(image.convert(mode))
    except Exception as error:  # image parsers raise many kinds of error on damaged bytes
        raise BadInput(f"{path}: the image in row {row} is damaged ({_reason(error)})") from None
    return pixels[None] if mode == "L" else pixels.transpose(2, 0, 1)


def _reason(error: Exception) -> str:
    if "cannot identify" in str(error):
        return f"expected {', '.join(FORMATS)}"
    return str(error).splitlines()[0][:120] if str(error) else type(error).__name__
