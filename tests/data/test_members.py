import json

import numpy as np
import pytest

from core.config import BadInput
from core.data import Digits, TableParquet, build
from core.data.members import read_member_indices


def write(path, members, non_members):
    if path.suffix == ".json":
        path.write_text(json.dumps({"members": members, "non_members": non_members}))
    elif path.suffix == ".npz":
        np.savez(path, members=members, non_members=non_members)
    else:
        longest = max(len(members), len(non_members))
        pad = [[*map(str, rows), *[""] * (longest - len(rows))] for rows in (members, non_members)]
        path.write_text("members,non_members\n" + "".join(f"{a},{b}\n" for a, b in zip(*pad, strict=True)))
    return path


@pytest.mark.parametrize("suffix", [".json", ".csv", ".npz"])
def test_the_three_formats_say_the_same(tmp_path, suffix):
    members, non_members = read_member_indices(write(tmp_path / f"rows{suffix}", [4, 0, 4], [1]), 5)
    assert members.tolist() == [True, False, False, False, True]
    assert non_members.tolist() == [False, True, False, False, False]


def test_members_alone_as_a_list_or_a_column(tmp_path):
    (tmp_path / "a.json").write_text("[1, 2]")
    (tmp_path / "a.csv").write_text("1\n2\n")
    for name in ("a.json", "a.csv"):
        members, non_members = read_member_indices(tmp_path / name, 3)
        assert members.tolist() == [False, True, True] and non_members is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"members": [1, 5]}', "members lists row 5, but the data have rows 0 to 4"),
        ('{"members": [-1]}', "members lists row -1"),
        ('{"members": [0.5]}', "not a list of row numbers"),
        ('{"members": [true]}', "not a list of row numbers"),
        ('{"members": [[1], [2, 3]]}', "not a list of row numbers"),
        ('{"members": []}', "members is empty"),
        ('{"rows": [1]}', r"has no members \(found rows\)"),
        ('{"members": [1], "non_members": [1]}', "row 1 is listed as a member and as a non-member"),
        ("{", "not readable JSON"),
        ("3", "holds a int"),
    ],
)
def test_bad_row_files(tmp_path, content, message):
    (tmp_path / "rows.json").write_text(content)
    with pytest.raises(BadInput, match=message):
        read_member_indices(tmp_path / "rows.json", 5)


def test_other_bad_files(tmp_path):
    (tmp_path / "rows.txt").write_text("1")
    (tmp_path / "rows.csv").write_text("members\nx\n")
    with pytest.raises(BadInput, match=r"ends in \.txt"):
        read_member_indices(tmp_path / "rows.txt", 5)
    with pytest.raises(BadInput, match="not a CSV file of row numbers"):
        read_member_indices(tmp_path / "rows.csv", 5)
    np.savez(tmp_path / "rows.npz", members=np.array([1, None], object))
    with pytest.raises(BadInput, match="it holds Python objects"):
        read_member_indices(tmp_path / "rows.npz", 5)


def test_a_brought_models_members_are_the_only_members(tmp_path):
    path = write(tmp_path / "rows.json", list(range(100, 400)), list(range(1000, 1200)))
    sizes = {"members": 250, "non_members": 200, "reference": 50, "population": 20}
    data = build(Digits(member_indices=path, **sizes))
    members, non_members = (data.row[data.splits[name]] for name in ("members", "non_members"))
    assert members.min() >= 100 and members.max() < 400
    assert sorted(non_members) == list(range(1000, 1200))
    rest = data.row[np.concatenate([data.splits["reference"], data.splits["population"]])]
    assert not np.isin(rest, np.arange(100, 400)).any()


def test_a_member_column_and_a_row_file_contradict(tmp_path):
    np.savez(tmp_path / "t.npz", x=np.ones((4, 2)), y=[0, 1, 0, 1], member=[True, True, False, False])
    rows = write(tmp_path / "rows.json", [0], [1])
    with pytest.raises(BadInput, match="give one of the two"):
        build(TableParquet(path=tmp_path / "t.npz", member_indices=rows, members=1, non_members=1))
