import json
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from core.config import BadInput
from core.data import ImageParquet, load
from core.data import images as images_module
from core.data import source as source_module

SHARED = Path(__file__).parents[3] / "shared" / "data"


def png(pixels: np.ndarray) -> bytes:
    out = BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def write(path, raw, labels, *, names=None, extra=None, row_group_size=None):
    columns = {"img": [{"bytes": data, "path": None} for data in raw], "label": labels, **(extra or {})}
    table = pa.table(columns)
    if names is not None:
        info = {"info": {"features": {"label": {"names": names, "_type": "ClassLabel"}}}}
        table = table.replace_schema_metadata({"huggingface": json.dumps(info)})
    pq.write_table(table, path, row_group_size=row_group_size)
    return ImageParquet(path=path)


@pytest.fixture
def rgb():
    return np.random.default_rng(0).integers(0, 256, (7, 6, 5, 3), np.uint8)


def test_round_trip_of_colour_images_over_several_row_groups(tmp_path, rgb):
    config = write(tmp_path / "a.parquet", [png(p) for p in rgb], [0, 1, 0, 1, 0, 1, 0], row_group_size=3)
    source = load(config)
    assert (source.x == rgb.transpose(0, 3, 1, 2)).all() and source.x.dtype == np.uint8
    order = np.array([6, 0, 4, 4])
    assert (source.records(order) == rgb.transpose(0, 3, 1, 2)[order]).all()
    assert source.classes == ("0", "1") and source.kind == "image" and source.member_flags is None


def test_grey_images_have_one_channel_and_one_colour_image_makes_all_three(tmp_path, rgb):
    grey = rgb[:2, :, :, 0]
    assert load(write(tmp_path / "g.parquet", [png(p) for p in grey], [0, 1])).x.shape == (2, 1, 6, 5)
    mixed = load(write(tmp_path / "m.parquet", [png(grey[0]), png(rgb[1])], [0, 1])).x
    assert mixed.shape == (2, 3, 6, 5)
    assert (mixed[0] == grey[0]).all() and (mixed[1] == rgb[1].transpose(2, 0, 1)).all()


def test_class_names_come_from_the_schema_and_flags_from_the_column(tmp_path, rgb):
    raw = [png(p) for p in rgb[:3]]
    config = write(tmp_path / "a.parquet", raw, [0, 2, 0], names=["a", "b", "c"], extra={"member": [True, False, True]})
    source = load(config)
    assert source.classes == ("a", "b", "c")
    assert source.member_flags.tolist() == [True, False, True]


def test_only_the_rows_asked_for_are_decoded(tmp_path, rgb, monkeypatch):
    source = load(write(tmp_path / "a.parquet", [png(rgb[0]), b"not an image", png(rgb[2])], [0, 1, 1]))
    assert (source.records(np.array([2])) == rgb[2].transpose(2, 0, 1)).all()
    with pytest.raises(BadInput, match="row 1 is not a readable image"):
        _ = source.x


def bad_files():
    ok = png(np.zeros((4, 4, 3), np.uint8))
    torn = png(np.random.default_rng(0).integers(0, 256, (4, 4, 3), np.uint8))[:60]
    small = png(np.zeros((4, 3, 3), np.uint8))
    deep = png(np.zeros((4, 4), np.uint16))
    yield "size", [ok, ok, small], [0, 1, 1], {}, "row 2 is 3×4, that in row 0 is 4×4"
    yield "damaged", [ok, torn], [0, 1], {}, "the image in row 1 is damaged"
    yield "no bytes", [ok, None], [0, 1], {}, "row 1 has no image bytes"
    yield "16 bit", [ok, deep], [0, 1], {}, "row 1 has more than 8 bits"
    yield "unlabelled", [ok, ok], [-1, 0], {}, r"label -1 \(−1 marks unlabelled"
    yield "gap", [ok, ok], [0, 2], {}, "go up to 2 but 1 never occurs"
    yield "starts at 1", [ok, ok], [1, 2], {}, "go up to 2 but 0 never occurs"
    yield "half a class", [ok, ok], [0.5, 1], {}, "label in row 0 is 0.5"
    yield "no label", [ok, ok], [0, None], {}, "label in row 1 is nan"
    yield "names", [ok, ok], [0, 3], {"names": ["a", "b"]}, "found the label 3, but the file names only 2 classes"
    yield "flags", [ok, ok], [0, 1], {"extra": {"member": [True, None]}}, "expected a boolean column"
    yield "flag text", [ok, ok], [0, 1], {"extra": {"member": ["yes", "no"]}}, "expected a boolean column"


@pytest.mark.parametrize(("raw", "labels", "more", "message"), [pytest.param(*b[1:], id=b[0]) for b in bad_files()])
def test_bad_files_are_refused_in_one_line(tmp_path, raw, labels, more, message):
    config = write(tmp_path / "bad.parquet", raw, labels, **more)
    with pytest.raises(BadInput, match=message) as error:
        _ = load(config).x
    assert "bad.parquet" in str(error.value) and "\n" not in str(error.value)


def test_missing_empty_corrupt_and_wrong_columns(tmp_path, rgb):
    path = tmp_path / "a.parquet"
    with pytest.raises(BadInput, match=r"a\.parquet: no such file; expected a Parquet file"):
        load(ImageParquet(path=path))
    with pytest.raises(BadInput, match="is a folder"):
        load(ImageParquet(path=tmp_path))
    path.write_bytes(b"")
    with pytest.raises(BadInput, match="is empty"):
        load(ImageParquet(path=path))
    path.write_bytes(b"PAR1 and then nothing sensible")
    with pytest.raises(BadInput, match="not a readable Parquet"):
        load(ImageParquet(path=path))
    pq.write_table(pa.table({"image": [1], "label": [0]}), path)
    with pytest.raises(BadInput, match=r"lacks the column img \(found image, label\)"):
        load(ImageParquet(path=path))
    pq.write_table(pa.table({"img": ["a.png"], "label": [0]}), path)
    with pytest.raises(BadInput, match="the column img is string, without bytes"):
        load(ImageParquet(path=path))
    with pytest.raises(BadInput, match="holds no records"):
        load(write(path, [], []))


def test_damage_in_the_middle_of_the_file(tmp_path, rgb):
    config = write(tmp_path / "a.parquet", [png(p) for p in rgb], [0, 1, 0, 1, 0, 1, 0])
    data = bytearray(config.path.read_bytes())
    data[20:400] = bytes(380)
    config.path.write_bytes(bytes(data))
    with pytest.raises(BadInput):
        _ = load(config).x


def test_sizes_are_bounded_before_decoding(tmp_path, rgb, monkeypatch):
    config = write(tmp_path / "a.parquet", [png(p) for p in rgb], [0, 1, 0, 1, 0, 1, 0])
    raw, rows = images_module.encoded(config.path, np.arange(7))
    monkeypatch.setattr(source_module, "LIMIT_BYTES", 600)
    monkeypatch.setattr(images_module, "_pixels", lambda *a: pytest.fail("decoded before the size was known"))
    with pytest.raises(BadInput, match="7 records of 3×6×5 values"):
        images_module.decode(raw, rows, path=config.path)


def test_a_decompression_bomb_is_refused_from_its_header(tmp_path):
    bomb = png(np.zeros((1, 1), np.uint8)).replace(
        b"IHDR\x00\x00\x00\x01\x00\x00\x00\x01", b"IHDR" + b"\x00\x00\xf0\x00" * 2
    )
    with pytest.raises(BadInput, match="row 0 is not a readable image"):
        _ = load(write(tmp_path / "a.parquet", [bomb, bomb], [0, 1])).x


@pytest.mark.skipif(not SHARED.exists(), reason="the shared CIFAR-10 file is not beside this checkout")
def test_cifar10_file():
    source = load(ImageParquet(path=SHARED / "cifar10-test.parquet"))
    assert len(source.y) == 10_000 and source.classes[3] == "cat"
    assert (np.bincount(source.y) == 1000).all()
    x = source.records(np.array([9_999, 3]))
    assert x.shape == (2, 3, 32, 32) and x.std() > 10
