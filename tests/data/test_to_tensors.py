import numpy as np
import pytest
import torch

from core.data import Digits, TableParquet, build
from core.data.to_tensors import augment, tensors


def test_images_are_normalised_to_mean_zero_and_std_one():
    data = build(Digits())
    x, y = tensors(data, np.arange(len(data.y)))
    assert x.dtype == torch.float32 and x.shape == (1700, 1, 8, 8)
    assert abs(x.mean()) < 1e-5 and abs(x.std(correction=0) - 1) < 1e-5
    members, labels = tensors(data, "members")
    assert torch.equal(members, x[data.splits["members"]]) and torch.equal(labels, y[:500])
    raw = torch.from_numpy(data.x[:1]).double()
    torch.testing.assert_close(x[:1].double(), (raw / 255 - data.mean[0].item()) / data.std[0].item())


def test_tables_are_normalised_per_feature(tmp_path):
    x = np.array([[0, 10], [2, 10], [4, 10], [6, 10]])
    np.savez(tmp_path / "t.npz", x=x, y=[0, 1, 0, 1])
    data = build(TableParquet(path=tmp_path / "t.npz", members=2, non_members=2, reference=0, population=0))
    out, _ = tensors(data, np.argsort(data.row))
    torch.testing.assert_close(out, torch.tensor([[-3, 0], [-1, 0], [1, 0], [3, 0]]) / 5**0.5)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_augmentation_is_a_reflected_crop_and_a_flip_of_each_image_on_its_own():
    x = torch.rand(64, 2, 11, 12, generator=generator())
    out = augment(x, generator(1))
    padded = torch.nn.functional.pad(x, (4, 4, 4, 4), mode="reflect")
    found = set()
    for i in range(len(x)):
        crops = {
            (down, across, flip): padded[i, :, down : down + 11, across : across + 12].flip(2 if flip else ())
            for down in range(9)
            for across in range(9)
            for flip in (False, True)
        }
        match = [key for key, crop in crops.items() if torch.equal(crop, out[i])]
        assert len(match) == 1
        found |= set(match)
    assert len(found) > 30 and {flip for *_, flip in found} == {False, True}
    assert {down for down, *_ in found} == set(range(9))


def test_augmentation_is_seeded_and_leaves_its_input_and_the_global_state_alone():
    x = torch.rand(8, 3, 32, 32, generator=generator())
    before, state = x.clone(), torch.get_rng_state()
    assert torch.equal(augment(x, generator(1)), augment(x, generator(1)))
    assert not torch.equal(augment(x, generator(1)), augment(x, generator(2)))
    assert torch.equal(x, before) and torch.equal(state, torch.get_rng_state())


def test_augmentation_refuses_tables_and_tiny_images():
    with pytest.raises(ValueError, match="shifts and mirrors images"):
        augment(torch.zeros(3, 5), generator())
    with pytest.raises(ValueError, match="too small"):
        augment(torch.zeros(3, 1, 4, 4), generator())
