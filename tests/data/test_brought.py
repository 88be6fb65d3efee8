from io import BytesIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from core.config import BadInput
from core.data import Digits, ImageParquet, TableParquet, TorchvisionData, brought, load
from core.data.brought import has_member_column, kind_of, merge
from core.data.facts import KNOWN, Facts, check_sizes, facts, suggested_sizes


def png(pixels):
    out = BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def table(path, row_group_size=None, **columns):
    pq.write_table(pa.table(columns), path, row_group_size=row_group_size)
    return path


@pytest.fixture
def pair(tmp_path):
    """Two members, three non-members whose columns come in another order and with another number type."""
    members = table(tmp_path / "in.parquet", a=[1, 2], b=[0.5, 0.25], label=[0, 1])
    others = table(tmp_path / "out.parquet", 2, label=[1, 1, 0], b=[9.0, 8.0, 7.0], a=[3.5, 4.5, 5.5])
    return members, others


def merged(tmp_path, members, non_members):
    path = tmp_path / "both.parquet"
    path.write_bytes(merge(members, non_members))
    return path


def test_two_tables_become_one_with_flags_and_columns_by_name(tmp_path, pair):
    path = merged(tmp_path, *pair)
    source = load(TableParquet(path=path))
    assert source.member_flags.tolist() == [True, True, False, False, False]
    assert source.x.tolist() == [[1, 0.5], [2, 0.25], [3.5, 9], [4.5, 8], [5.5, 7]]
    assert source.y.tolist() == [0, 1, 1, 1, 0]
    assert kind_of(path) == "table" and has_member_column(path) and not has_member_column(pair[0])


def test_the_same_files_give_the_same_bytes(pair):
    assert merge(*pair) == merge(*pair) != merge(*reversed(pair))


def test_images_keep_their_bytes_and_drop_what_else_was_there(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (4, 5, 5), np.uint8)
    raw = [{"bytes": png(p), "path": "x.png"} for p in pixels]
    members = table(tmp_path / "in.parquet", img=raw[:1], label=["cat"], comment=["mine"])
    others = table(tmp_path / "out.parquet", 1, label=["dog", "cat", "dog"], img=raw[1:])
    path = merged(tmp_path, members, others)
    source = load(ImageParquet(path=path))
    assert (source.x[:, 0] == pixels).all() and source.classes == ("cat", "dog")
    assert source.member_flags.tolist() == [True, False, False, False]
    assert facts(ImageParquet(path=path)) == Facts((1, 5, 5), 2, 4, 1)
    assert kind_of(path) == "images"


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"a": [1], "label": [0]}, r"only .*in.parquet has the column 'b'"),
        (
            {"a": [1], "b": [1.0], "c": [1], "d": [1], "label": [0]},
            r"only .*bad.parquet has the column 'c', and 1 more",
        ),
        ({"a": [1], "b": [1.0], "label": ["cat"]}, "the column label is int64 in .* and string in"),
        ({"a": [1], "b": [1.0], "label": [0], "member": [True]}, "already has a column member; give it alone"),
        ({"a": [1], "b": [1.0]}, r"lacks the column label \(found a, b\)"),
        ({"img": [{"bytes": b"x"}], "label": [0]}, "holds table, .*bad.parquet holds images"),
    ],
)
def test_files_that_do_not_go_together(tmp_path, pair, columns, message):
    with pytest.raises(BadInput, match=message):
        merge(pair[0], table(tmp_path / "bad.parquet", **columns))


def test_other_files_that_are_no_use(tmp_path, pair, monkeypatch):
    (tmp_path / "text.parquet").write_text("hello")
    with pytest.raises(BadInput, match=r"text\.parquet: is not a readable Parquet file"):
        merge(pair[0], tmp_path / "text.parquet")
    with pytest.raises(BadInput, match="the same file"):
        merge(pair[0], pair[0])
    monkeypatch.setattr(brought, "LIMIT_BYTES", 100)
    with pytest.raises(BadInput, match="the limit is"):
        merge(*pair)


def test_facts_of_built_in_sets_are_those_of_the_sets():
    source = load(Digits())
    assert facts(Digits()) == Facts(source.x.shape[1:], len(source.classes), len(source.y))
    assert set(KNOWN) == {"digits", *TorchvisionData.names}


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".npz"])
def test_facts_of_tables_are_those_of_the_loaded_source(tmp_path, suffix):
    path = tmp_path / f"t{suffix}"
    if suffix == ".parquet":
        table(path, f=[0.1, 0.2, 0.3], g=[1, 2, 3], label=["a", "b", "a"], member=[True, False, False])
    elif suffix == ".csv":
        path.write_text("f,g,label,member\n.1,1,a,1\n.2,2,b,0\n.3,3,a,0\n")
    else:
        np.savez(path, x=np.ones((3, 2)), y=np.array([0, 1, 0]), member=np.array([True, False, False]))
    assert facts(TableParquet(path=path)) == Facts((2,), 2, 3, members=1)


def test_facts_with_member_rows(tmp_path):
    rows = tmp_path / "rows.json"
    rows.write_text('{"members": [0, 1, 2], "non_members": [7, 8]}')
    found = facts(Digits(member_indices=rows))
    assert (found.members, found.non_members, found.outside) == (3, 2, 1794)
    path = table(tmp_path / "t.parquet", f=[1, 2], label=[0, 1], member=[True, False])
    with pytest.raises(BadInput, match="give one of the two"):
        facts(TableParquet(path=path, member_indices=rows))
    with pytest.raises(BadInput, match=r"gone\.parquet: no such file"):
        facts(ImageParquet(path=tmp_path / "gone.parquet"))


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (Facts((2,), 2, 300, 100), {"members": 100, "non_members": 100, "reference": 60, "population": 40}),
        (Facts((2,), 2, 300, 100, 150), {"members": 100, "non_members": 150, "reference": 30, "population": 20}),
        (Facts((2,), 2, 300, 100, 200), {"members": 100, "non_members": 100, "reference": 60, "population": 40}),
        (Facts((2,), 2, 60_000, 100), {"members": 100, "non_members": 29_950, "reference": 100, "population": 100}),
    ],
)
def test_suggested_sizes_use_what_is_there(found, expected):
    assert suggested_sizes(found) == expected
    check_sizes(Digits(**expected), found)


@pytest.mark.parametrize(
    ("found", "sizes", "message"),
    [
        (KNOWN["digits"], {"members": 2000}, "the data have 1797 records, 3200 are asked for"),
        (Facts((2,), 2, 300, 100), {"members": 101}, "members: 101 asked for, but the model was trained on 100"),
        (Facts((2,), 2, 900, 500, 50), {"non_members": 51}, "non_members: 51 asked for, but the file lists 50"),
        (Facts((2,), 2, 900, 500), {}, "together 1200, but only 400 records are not members"),
    ],
)
def test_sizes_that_are_not_there_are_refused_by_name(found, sizes, message):
    with pytest.raises(BadInput, match=message):
        check_sizes(Digits(**sizes), found)
