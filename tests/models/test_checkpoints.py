import io
import os
import pickle
import zipfile

import pytest
import torch
from safetensors import safe_open

from core.config import BadInput
from core.models import MLP, ConvNet
from core.models import checkpoints as checkpoints_module
from core.models.build import build
from core.models.checkpoints import fit, read, save

SHAPE = (1, 8, 8)


@pytest.fixture
def model():
    return build(ConvNet(), SHAPE, 10, 0)


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_safetensors_round_trip_with_buffers_and_metadata(model, tmp_path):
    model(torch.randn(4, *SHAPE))  # moves the running statistics
    save(model.to(memory_format=torch.channels_last), tmp_path / "w.safetensors", {"mean": "0.5"})
    assert same(read(tmp_path / "w.safetensors"), model.state_dict())
    with safe_open(tmp_path / "w.safetensors", framework="pt") as file:
        assert file.metadata() == {"mean": "0.5"}


def test_tensors_that_share_memory_can_be_saved(tmp_path):
    weight = torch.arange(6.0)
    save({"a": weight, "b": weight[:2]}, tmp_path / "w")
    assert torch.equal(read(tmp_path / "w")["b"], torch.tensor([0.0, 1.0]))


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model_state_dict", "model"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_state_dicts_are_unwrapped(model, tmp_path, wrapper, prefix):
    state = {f"{prefix}{name}": value for name, value in model.state_dict().items()}
    torch.save({wrapper: state, "epoch": 3} if wrapper else state, tmp_path / "w.pt")
    assert same(read(tmp_path / "w.pt"), model.state_dict())


def test_a_prefix_of_some_names_only_stays(tmp_path):
    torch.save({"module.a": torch.ones(1), "b": torch.ones(1)}, tmp_path / "w.pt")
    assert set(read(tmp_path / "w.pt")) == {"module.a", "b"}


def test_the_old_file_format_is_read_too(model, tmp_path):
    torch.save(model.state_dict(), tmp_path / "w.pth", _use_new_zipfile_serialization=False)
    assert same(read(tmp_path / "w.pth"), model.state_dict())


class Malicious:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("how", ["zip", "legacy", "bare pickle"])
def test_a_malicious_pickle_is_refused_and_does_not_run(tmp_path, how):
    marker, path = tmp_path / "ran", tmp_path / "w.pt"
    content = {"a": torch.ones(1), "b": Malicious(marker)}
    if how == "bare pickle":
        path.write_bytes(pickle.dumps(Malicious(marker)))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=how == "zip")
    with pytest.raises(BadInput, match=r"cannot be read without running code|not a readable checkpoint") as error:
        read(path)
    assert not marker.exists() and "\n" not in str(error.value)
    if how == "zip":
        assert "posix.system" in str(error.value) and "state_dict" in str(error.value)


def test_a_whole_pickled_model_is_refused_with_advice(model, tmp_path):
    torch.save(model, tmp_path / "w.pt")
    with pytest.raises(BadInput, match=r"asks for core\.models\.build\.ConvNetNet.*torch\.save\(model\.state_dict"):
        read(tmp_path / "w.pt")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([torch.ones(1)], "holds a list"),
        ({}, "holds nothing"),
        ({"a": 3}, "a is a int, not a tensor"),
        ({3: torch.ones(1)}, "not a tensor"),
        ({"a": torch.eye(2).to_sparse()}, "a is sparse"),
        (torch.ones(1), "holds a Tensor"),
    ],
)
def test_other_contents_are_refused(tmp_path, content, message):
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(BadInput, match=message):
        read(tmp_path / "w.pt")


def test_missing_empty_damaged_and_too_large_files(model, tmp_path, monkeypatch):
    path = tmp_path / "w"
    with pytest.raises(BadInput, match="no such file"):
        read(path)
    path.write_bytes(b"")
    with pytest.raises(BadInput, match="is empty"):
        read(path)
    for junk in (b"hello world, no weights here", b"\x10" + bytes(7) + b"{not json and short", os.urandom(2000)):
        path.write_bytes(junk)
        with pytest.raises(BadInput, match=r"damaged|not a readable checkpoint|running code"):
            read(path)
    save(model, path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(BadInput, match="damaged safetensors"):
        read(path)
    torch.save(model.state_dict(), path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(BadInput, match="not a readable checkpoint"):
        read(path)
    monkeypatch.setattr(checkpoints_module, "LIMIT_BYTES", 1000)
    with pytest.raises(BadInput, match="the limit is"):
        read(path)


def test_a_zip_that_unpacks_to_too_much_is_refused_unread(tmp_path, monkeypatch):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(100_000))
    (tmp_path / "w.pt").write_bytes(out.getvalue())
    monkeypatch.setattr(checkpoints_module, "LIMIT_BYTES", 10_000)
    with pytest.raises(BadInput, match="unpacks to"):
        read(tmp_path / "w.pt")


def test_fit_loads_what_fits(model):
    other = build(ConvNet(), SHAPE, 10, 1)
    fit(
        model,
        {name: value.double() if value.is_floating_point() else value for name, value in other.state_dict().items()},
    )
    assert same(model.state_dict(), other.state_dict())
    assert model.head.weight.dtype == torch.float32


def changed(model, **changes):
    state = model.state_dict() | changes
    return {name: value for name, value in state.items() if value is not None}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"head.bias": None}, "do not fit this architecture: head.bias is missing$"),
        ({"fc.bias": torch.ones(1)}, "fc.bias is unexpected"),
        ({"block1.conv.weight": torch.ones(16, 1, 3, 3)}, "block1.conv.weight is 16×1×3×3 instead of 32×1×3×3"),
        ({"head.bias": torch.ones(10, dtype=torch.int64)}, "head.bias holds int64 instead of float32"),
        ({"head.bias": torch.full((10,), torch.nan)}, "head.bias holds values that are not finite"),
        ({"head.bias": torch.full((10,), 1e300, dtype=torch.float64)}, "head.bias holds values that are not finite"),
        ({"block1.norm.running_var": torch.full((32,), torch.inf)}, "running_var holds values that are not finite"),
    ],
)
def test_fit_names_the_first_differences(model, changes, message):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(BadInput, match=message):
        fit(model, changed(model, **changes))
    assert same(model.state_dict(), before)


def test_fit_says_when_only_the_number_of_classes_differs(model):
    with pytest.raises(BadInput, match=r"^initial weights are for 100 classes, the data have 10; where"):
        fit(model, build(ConvNet(), SHAPE, 100, 0).state_dict(), "initial weights")
    with pytest.raises(BadInput, match=r"^weights are for 7 classes, the data have 10$"):
        fit(model, build(ConvNet(), SHAPE, 7, 0).state_dict(), "weights")


def test_fit_shortens_a_long_list(model):
    # 18 of the ConvNet's 20 tensors are missing, 4 of the MLP's are unexpected, and head.weight differs in shape
    with pytest.raises(BadInput, match="and 20 more differences"):
        fit(model, build(MLP(), SHAPE, 10, 0).state_dict())
