from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from core.config import BadInput
from core.data import TableParquet, load
from core.data import tables as tables_module

SHARED = Path(__file__).parents[3] / "shared" / "data"
FRAME = pd.DataFrame({"b": [0.5, 2, -1], "label": [1, 0, 1], "a": [1, 2, 3], "member": [True, False, True]})


def save(frame: pd.DataFrame, path: Path) -> TableParquet:
    if path.suffix == ".csv":
        frame.to_csv(path, index=False)
    elif path.suffix == ".npz":
        features = frame.drop(columns=["label", "member"], errors="ignore")
        rest = {"member": frame["member"].to_numpy()} if "member" in frame else {}
        np.savez(path, x=features.to_numpy(), y=frame["label"].to_numpy(), **rest)
    else:
        frame.to_parquet(path)
    return TableParquet(path=path)


@pytest.mark.parametrize("name", ["t.parquet", "t.csv", "t.npz"])
def test_round_trip(tmp_path, name):
    source = load(save(FRAME, tmp_path / name))
    assert source.x.dtype == np.float32 and source.x.tolist() == [[0.5, 1], [2, 2], [-1, 3]]
    assert source.y.tolist() == [1, 0, 1] and source.y.dtype == np.int64 and source.classes == ("0", "1")
    assert source.member_flags.tolist() == [True, False, True] and source.kind == "table"
    assert source.records(np.array([2, 0])).tolist() == [[-1, 3], [0.5, 1]]


@pytest.mark.parametrize("name", ["t.parquet", "t.csv"])
@pytest.mark.parametrize("dtype", ["object", "category"])
def test_text_labels_are_numbered_in_sorted_order(tmp_path, name, dtype):
    frame = FRAME.assign(label=pd.Series(["yes", "no", "yes"], dtype=dtype))
    source = load(save(frame, tmp_path / name))
    assert source.classes == ("no", "yes") and source.y.tolist() == [1, 0, 1]


BAD = {
    "nan": (FRAME.assign(a=[1, np.nan, 3]), "feature a is missing or not finite in row 1"),
    "inf": (FRAME.assign(a=[1, 2, np.inf], b=[1, 2, np.inf]), "feature b .* in row 2, and 1 more such value"),
    "text": (FRAME.assign(city=["x", "y", "z"]), "column city is .*string, not numbers"),
    "no label": (FRAME.drop(columns="label"), r"lacks the column label \(found b, a, member\)"),
    "no features": (FRAME[["label", "member"]], "has no column beside label, member"),
    "no rows": (FRAME.iloc[:0], "holds no records"),
    "negative": (FRAME.assign(label=[0, 1, -2]), "found the label -2"),
    "mixed": (FRAME.assign(label=["a", None, "b"]), "label in row 1 is (None|''|nan)"),
}


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
@pytest.mark.parametrize("name", BAD)
def test_bad_tables_are_refused_in_one_line(tmp_path, name, suffix):
    frame, message = BAD[name]
    with pytest.raises(BadInput, match=message) as error:
        load(save(frame, tmp_path / f"bad{suffix}"))
    assert f"bad{suffix}" in str(error.value) and "\n" not in str(error.value)


def test_too_large_for_float32(tmp_path):
    for suffix in (".parquet", ".npz"):
        with pytest.raises(BadInput, match="not finite in row 0"):
            load(save(FRAME.assign(a=[1e300, 1, 1]), tmp_path / f"t{suffix}"))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.ones((3, 2))}, r"lacks the array y \(found x\)"),
        ({"x": np.ones(3), "y": np.arange(3)}, r"x is float64 \[3\]"),
        ({"x": np.ones((3, 2)), "y": np.arange(2)}, "x has 3 records and y has 2"),
        ({"x": np.array([[1, None]], object), "y": np.arange(1)}, "it holds Python objects"),
        ({"x": np.ones((2, 2)), "y": np.arange(2), "member": np.ones(3, bool)}, r"member is \[3\] for 2 records"),
        ({"x": np.ones((2, 2)), "y": np.ones((2, 2), int)}, "labels have 2 dimensions"),
        ({"x": np.ones((2, 2)), "y": np.ones(2, complex)}, "labels are of type complex128"),
    ],
)
def test_bad_npz(tmp_path, arrays, message):
    np.savez(tmp_path / "bad.npz", **arrays)
    with pytest.raises(BadInput, match=message):
        load(TableParquet(path=tmp_path / "bad.npz"))


@pytest.mark.parametrize("suffix", [".parquet", ".npz", ".csv"])
def test_files_that_are_something_else(tmp_path, suffix):
    path = tmp_path / f"t{suffix}"
    with pytest.raises(BadInput, match="no such file"):
        load(TableParquet(path=path))
    path.write_bytes(bytes(range(256)))
    with pytest.raises(BadInput, match=r"readable|lacks the column label|holds no records"):
        load(TableParquet(path=path))


def test_an_npz_that_unpacks_to_too_much_is_refused_unread(tmp_path, monkeypatch):
    config = save(FRAME, tmp_path / "t.npz")
    monkeypatch.setattr(tables_module, "LIMIT_BYTES", 100)
    monkeypatch.setattr(np, "load", lambda *a, **k: pytest.fail("read before its size was known"))
    with pytest.raises(BadInput, match="unpacks to"):
        load(config)


@pytest.mark.skipif(not SHARED.exists(), reason="the shared Location-30 file is not beside this checkout")
def test_location30_file():
    source = load(TableParquet(path=SHARED / "location30.parquet"))
    assert source.x.shape == (5010, 446) and set(np.unique(source.x)) == {0, 1}
    assert len(source.classes) == 30
