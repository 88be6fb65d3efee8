from pathlib import Path

import numpy as np
import pytest

from core.config import BadInput
from core.data import (
    Dataset,
    Digits,
    ImageParquet,
    TableParquet,
    TorchvisionData,
    build,
    load,
    read_records,
)
from core.data import builtin as builtin_module
from core.data.dataset import pixel_statistics, table_statistics
from core.data.splits import SPLITS

SHARED = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture(scope="module")
def digits():
    return build(Digits())


def test_the_default_digits(digits):
    assert digits.shape == (1, 8, 8) and digits.x.dtype == np.uint8 and digits.x.max() == 240
    assert [len(digits.splits[name]) for name in SPLITS] == [500, 500, 400, 300]
    assert [int(digits.canaries[digits.splits[name]].sum()) for name in SPLITS] == [50, 50, 40, 30]
    assert len(np.unique(digits.row)) == 1700
    source = load(Digits())
    assert (digits.x == source.x[digits.row]).all() and (digits.clean_y == source.y[digits.row]).all()


def test_the_audit_takes_members_then_non_members(digits):
    assert (digits.audited == np.concatenate([digits.splits["members"], digits.splits["non_members"]])).all()
    assert digits.is_member.sum() == 500 and digits.is_member[:500].all()


def test_label_noise_leaves_splits_and_records_alone(digits):
    clean = build(Digits(label_noise=0))
    assert (clean.row == digits.row).all() and (clean.x == digits.x).all() and not clean.canaries.any()


def test_save_and_read(digits, tmp_path):
    digits.save(tmp_path)
    back, light = Dataset.read(tmp_path), Dataset.read(tmp_path, records=False)
    for name in ("x", "y", "clean_y", "row", "mean", "std"):
        assert getattr(back, name).dtype == getattr(digits, name).dtype
        assert (getattr(back, name) == getattr(digits, name)).all()
    assert all((light.splits[name] == digits.splits[name]).all() for name in SPLITS)
    assert (back.classes, back.kind, back.shape) == (digits.classes, "image", (1, 8, 8))
    assert len(light.x) == 0 and light.shape == (1, 8, 8) and (light.canaries == digits.canaries).all()
    assert (read_records(tmp_path, np.array([7, 3])) == digits.x[[7, 3]]).all()
    assert read_records(tmp_path, np.array([], int)).shape == (0, 1, 8, 8)


def test_pixel_statistics_by_hand_and_against_numpy():
    x = np.array([[[[0, 255]], [[51, 51]]]], np.uint8)  # one image, two channels: (0, 1) and (.2, .2)
    mean, std = pixel_statistics(x)
    np.testing.assert_allclose(mean, [0.5, 0.2], rtol=1e-6)
    np.testing.assert_allclose(std, [0.5, 1])  # a constant channel is left as it is
    x = np.random.default_rng(0).integers(0, 256, (2500, 3, 4, 5), np.uint8)
    mean, std = pixel_statistics(x)
    np.testing.assert_allclose(mean, (x / 255).mean((0, 2, 3)), rtol=1e-6)
    np.testing.assert_allclose(std, (x / 255).std((0, 2, 3)), rtol=1e-6)


def test_table_statistics_by_hand():
    mean, std = table_statistics(np.array([[0, 0.5], [1, 1]], np.float32))
    assert mean.tolist() == [0, 0] and std.tolist() == [1, 1]
    mean, std = table_statistics(np.array([[2, 0.1], [6, 0.1], [4, 0.1]], np.float32))
    np.testing.assert_allclose(mean, [4, 0.1])
    np.testing.assert_allclose(std, [np.sqrt(8 / 3), 1], rtol=1e-6)


def test_normalisation_of_a_brought_model_is_taken_as_given():
    given = build(Digits(mean=(0.25,), std=(0.5,)))
    assert given.mean.tolist() == [0.25] and given.std.tolist() == [0.5]
    with pytest.raises(BadInput, match=r"mean has 3 values; expected one, or one for each channel \(1\)"):
        build(Digits(mean=(0.1, 0.2, 0.3)))


def test_more_records_than_there_are_and_one_class(tmp_path):
    with pytest.raises(BadInput, match=r"there are 1797 records, but 2200 are needed .*members 1000"):
        build(Digits(members=1000))
    np.savez(tmp_path / "t.npz", x=np.ones((4, 2)), y=np.zeros(4, int))
    with pytest.raises(BadInput, match="one class only"):
        build(TableParquet(path=tmp_path / "t.npz", members=1, non_members=1))


@pytest.mark.parametrize("error", [OSError("no route"), RuntimeError("Dataset not found or corrupted")])
def test_offline_says_so(monkeypatch, tmp_path, error):
    def fail(kind, folder):
        raise error

    monkeypatch.setattr(builtin_module, "_download", fail)
    with pytest.raises(BadInput, match=r"SVHN is not in .* could not be downloaded .* connect to the internet once"):
        build(TorchvisionData(kind="svhn", folder=tmp_path))


class Part:
    """What torchvision's data sets have in common."""

    def __init__(self, data, labels, name):
        self.data, self.classes = data, ("a", "b")
        setattr(self, name, labels)


@pytest.mark.parametrize(
    ("kind", "shape", "name", "expected"),
    [
        ("cifar10", (4, 6, 6, 3), "targets", (8, 3, 6, 6)),
        ("fashion_mnist", (4, 7, 7), "targets", (8, 1, 7, 7)),
        ("svhn", (4, 3, 6, 6), "labels", (8, 3, 6, 6)),
    ],
)
def test_train_and_test_parts_are_merged_in_order(monkeypatch, kind, shape, name, expected):
    parts = [Part(np.full(shape, i, np.uint8), np.array([i, i, 0, 1]), name) for i in (0, 1)]
    monkeypatch.setattr(builtin_module, "_download", lambda kind, folder: parts)
    source = load(TorchvisionData(kind=kind))
    assert source.x.shape == expected and source.x[:4].max() == 0 and source.x[4:].min() == 1
    assert source.y.tolist() == [0, 0, 0, 1, 1, 1, 0, 1] and source.classes == ("a", "b")


@pytest.mark.skipif(not SHARED.exists(), reason="the shared data are not beside this checkout")
def test_real_files():
    sizes = {"members": 300, "non_members": 300, "reference": 100, "population": 50}
    cifar = build(ImageParquet(path=SHARED / "cifar10-train.parquet", **sizes))
    assert cifar.x.shape == (750, 3, 32, 32) and not cifar.canaries.any()
    np.testing.assert_allclose(cifar.mean, [0.491, 0.482, 0.447], atol=0.02)  # the set's well-known mean
    location = build(TableParquet(path=SHARED / "location30.parquet", label_noise=0.1, **sizes))
    assert location.shape == (446,) and location.std.tolist() == [1] * 446
    assert location.canaries[location.splits["members"]].sum() == 30
