"""The records of a model somebody brings: members and non-members in two Parquet files become one with both."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from core.config import BadInput
from core.data.parquet import class_names, found_columns, open_parquet
from core.data.source import LIMIT_BYTES, check_size

EXPECTED = "a Parquet file with a column label and images (img.bytes) or numeric features"


def kind_of(path: Path) -> str:
    """ "images" where the Parquet file has a column img, else "table"; BadInput for a file without labels."""
    names = open_parquet(path, EXPECTED).schema_arrow.names
    if "label" not in names:
        raise BadInput(f"{path}: lacks the column label (found {found_columns(names)}); expected {EXPECTED}")
    return "images" if "img" in names else "table"


def has_member_column(path: Path) -> bool:
    """Whether the Parquet file says of every record whether it is a member."""
    return "member" in open_parquet(path, EXPECTED).schema_arrow.names


def merge(members: Path, non_members: Path) -> bytes:
    """One Parquet file with the members first and a boolean column `member`, row group by row group.

    The same two files give the same bytes. BadInput where their columns, types or class names differ, where one of
    them already has a column `member`, or where they are too large.
    """
    files = {path: open_parquet(path, EXPECTED) for path in (members, non_members)}
    if members == non_members:
        raise BadInput("members and non-members are the same file; expected two")
    kinds = {path: kind_of(path) for path in files}
    if len(set(kinds.values())) > 1:
        raise BadInput(f"{members} holds {kinds[members]}, {non_members} holds {kinds[non_members]}; expected one kind")
    schema = _schema(files, images=kinds[members] == "images")
    size = sum(
        file.metadata.row_group(i).total_byte_size for file in files.values() for i in range(file.num_row_groups)
    )
    rows = sum(file.metadata.num_rows for file in files.values())
    if size > LIMIT_BYTES:
        raise BadInput(f"both files unpack to {size / 2**30:.1f} GB, the limit is {LIMIT_BYTES / 2**30:g} GB")
    check_size(rows, (len(schema),), itemsize=4, where="both files together")
    out = BytesIO()
    with pq.ParquetWriter(out, schema) as writer:
        for path, file in files.items():
            for group in range(file.num_row_groups):
                writer.write_table(_rows(file, group, schema, path, member=path == members))
    return out.getvalue()


def _schema(files: dict[Path, pq.ParquetFile], *, images: bool) -> pa.Schema:
    """The columns of the result in the order of the members' file, each with a type that holds both."""
    (members, first), (non_members, second) = ((path, file.schema_arrow) for path, file in files.items())
    for path, schema in ((members, first), (non_members, second)):
        if "member" in schema.names:
            raise BadInput(f"{path}: already has a column member; give it alone, as one file with members and others")
    names = ["img", "label"] if images else first.names
    if not images and set(first.names) != set(second.names):
        only = sorted(set(first.names) ^ set(second.names))
        where = members if only[0] in first.names else non_members
        more = f", and {len(only) - 1} more such columns" if len(only) > 1 else ""
        raise BadInput(f"only {where} has the column {only[0]!r}{more}; expected the same columns in both files")
    if class_names(first) != class_names(second):
        raise BadInput(f"{members} and {non_members} name their classes differently; expected the same classes")
    fields = [pa.field(name, _common(name, first, second, members, non_members)) for name in names]
    return pa.schema([*fields, pa.field("member", pa.bool_())], first.metadata if class_names(first) else None)


def _common(name: str, first: pa.Schema, second: pa.Schema, members: Path, non_members: Path) -> pa.DataType:
    if name == "img":
        for path, schema in ((members, first), (non_members, second)):
            kind = schema.field("img").type
            if not pa.types.is_struct(kind) or kind.get_field_index("bytes") < 0:
                raise BadInput(f"{path}: the column img is {kind}, without bytes; expected {EXPECTED}")
        return pa.struct([pa.field("bytes", pa.binary())])
    kinds = [_plain(schema.field(name).type) for schema in (first, second)]
    try:
        both = pa.unify_schemas([pa.schema([(name, kind)]) for kind in kinds], promote_options="permissive")
    except pa.ArrowException:
        raise BadInput(
            f"the column {name} is {kinds[0]} in {members} and {kinds[1]} in {non_members}; expected one type"
        ) from None
    return both.field(name).type


def _plain(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _rows(file: pq.ParquetFile, group: int, schema: pa.Schema, path: Path, *, member: bool) -> pa.Table:
    wanted = [name for name in schema.names if name != "member"]
    try:
        table = file.read_row_group(group, columns=["img.bytes", "label"] if "img" in wanted else wanted)
        columns = [table.column(name).cast(schema.field(name).type) for name in wanted]
    except (pa.ArrowException, OSError) as error:
        raise BadInput(f"{path}: the file is damaged ({str(error).splitlines()[0][:160]})") from None
    flags = pa.array([member]).take(pa.array([0] * table.num_rows, pa.int32()))
    return pa.table([*columns, flags], schema=schema)
