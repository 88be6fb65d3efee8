"""What can be said of a source before anything big is read: record shape, classes, number of records, members."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from core.config import BadInput
from core.data.config import DataConfig, Digits, ImageParquet, TableParquet, TorchvisionData
from core.data.images import decode, encoded
from core.data.images import load_images as open_images
from core.data.labels import class_labels, member_flags
from core.data.members import read_member_indices
from core.data.parquet import as_numpy, class_names, open_parquet, read_column
from core.data.source import existing_file
from core.data.tables import EXPECTED, NOT_FEATURES, load_table


@dataclass(frozen=True)
class Facts:
    """A source in a few numbers."""

    shape: tuple[int, ...]
    """Of one record: (C, H, W) or (F,)."""
    classes: int
    records: int
    members: int | None = None
    """Records that a brought model was trained on; None where the data do not say."""
    non_members: int | None = None
    """Records listed as its non-members; None where every other record is one."""

    @property
    def outside(self) -> int:
        """Records that are not members."""
        return self.records - (self.members or 0)


KNOWN = {
    "digits": Facts((1, 8, 8), 10, 1797),
    "cifar10": Facts((3, 32, 32), 10, 60_000),
    "cifar100": Facts((3, 32, 32), 100, 60_000),
    "fashion_mnist": Facts((1, 28, 28), 10, 70_000),
    "svhn": Facts((3, 32, 32), 10, 99_289),
}
"""Built-in sets, train and test rows together."""


def facts(config: DataConfig) -> Facts:
    """The source's facts; BadInput where its file or the file of member rows is no use.

    Of Parquet files only labels and one record are read, of CSV and NPZ tables everything, once.
    """
    match config:
        case Digits() | TorchvisionData():
            found = KNOWN[config.kind]
        case ImageParquet():
            found = _cached(_images, config.path)
        case TableParquet():
            found = _cached(_table, config.path)
        case _:
            raise BadInput(f"unknown kind of data: {type(config).__name__}")
    if config.member_indices is None:
        return found
    if found.members is not None:
        raise BadInput("the data have a column member and member_indices is given too; give one of the two")
    members, listed = read_member_indices(config.member_indices, found.records)
    return Facts(
        found.shape,
        found.classes,
        found.records,
        int(members.sum()),
        None if listed is None else int(listed.sum()),
    )


def suggested_sizes(found: Facts) -> dict[str, int]:
    """How many records each split of a brought model's data takes: all its members, the others divided.

    Listed non-members are audited as they are if anybody else is left; otherwise half of all others are, and the
    rest goes 3 : 2 to reference and population, neither larger than the members.
    """
    members, outside = found.members or 1, found.outside
    listed = found.non_members
    audited = listed if listed and outside - listed >= 2 else max(1, min(listed or outside, outside // 2))
    rest = max(0, outside - audited)
    reference = min(members, -(-rest * 3 // 5))
    return {
        "members": members,
        "non_members": audited,
        "reference": reference,
        "population": min(members, rest - reference),
    }


def check_sizes(config: DataConfig, found: Facts) -> None:
    """The refusals of `core.data.splits.split`, before anything is decoded; BadInput names the field."""
    others = {name: getattr(config, name) for name in ("non_members", "reference", "population")}
    if found.members is None:
        asked = config.members + sum(others.values())
        if asked > found.records:
            sizes = ", ".join(f"{name} {size}" for name, size in {"members": config.members, **others}.items())
            raise BadInput(f"the data have {found.records} records, {asked} are asked for ({sizes}); ask for fewer")
        return
    if config.members > found.members:
        raise BadInput(
            f"members: {config.members} asked for, but the model was trained on {found.members} of these records"
        )
    if found.non_members is not None and config.non_members > found.non_members:
        raise BadInput(f"non_members: {config.non_members} asked for, but the file lists {found.non_members}")
    if sum(others.values()) > found.outside:
        sizes = ", ".join(f"{name} {size}" for name, size in others.items())
        raise BadInput(
            f"{sizes}: together {sum(others.values())}, but only {found.outside} records are not members; ask for fewer"
        )


def _cached(read: Callable[[Path], Facts], path: Path) -> Facts:
    path = path.expanduser()
    if not path.is_file():
        raise BadInput(f"{path}: no such file")
    stat = os.stat(path)
    return _remembered(read, path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=32)
def _remembered(read: Callable[[Path], Facts], path: Path, mtime_ns: int, size: int) -> Facts:
    return read(path)


def _images(path: Path) -> Facts:
    source = open_images(ImageParquet(path=path))
    # whether all images are grey shows only when all are decoded; the first one is a good guess
    shape = decode(*encoded(path, np.array([0])), path=path).shape[1:]
    return Facts(shape, len(source.classes), len(source.y), _members(source.member_flags))


def _table(path: Path) -> Facts:
    path = existing_file(path, EXPECTED)
    if path.suffix.lower() in (".csv", ".npz"):
        source = load_table(TableParquet(path=path))
        return Facts(source.x.shape[1:], len(source.classes), len(source.y), _members(source.member_flags))
    file = open_parquet(path, EXPECTED)
    names = file.schema_arrow.names
    features = [name for name in names if name not in NOT_FEATURES]
    if "label" not in names or not features:
        load_table(TableParquet(path=path))  # says what is missing
    labels = as_numpy(read_column(file, "label", path))
    y, classes = class_labels(labels, path=path, names=class_names(file.schema_arrow))
    flags = None
    if "member" in names:
        flags = member_flags(as_numpy(read_column(file, "member", path)), path=path)
    return Facts((len(features),), len(classes), len(y), _members(flags))


def _members(flags: np.ndarray | None) -> int | None:
    return None if flags is None else int(flags.sum())
