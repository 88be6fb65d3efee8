"""HAMP's outputs at test time: by hand, and labels kept, answers repeatable, confidence gone."""

from __future__ import annotations

import hashlib
import time

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from core.defenses import CCL, HAMP
from core.defenses.hamp_output import RandomisedOutput, random_inputs, reordered
from core.models import MLP, ConvNet
from core.models.build import build
from core.training.loop import predict


def test_reordering_by_hand():
    own = torch.tensor([[3.0, -1.0, 2.0], [0.0, 5.0, 1.0]])
    other = torch.tensor([[0.1, 0.9, 0.5], [7.0, -7.0, 0.0]])
    expected = torch.tensor([[0.9, 0.1, 0.5], [-7.0, 7.0, 0.0]])
    assert torch.equal(reordered(own=own, other=other), expected)


def test_ties_keep_the_label_that_argmax_gives():
    own = torch.tensor([[1.0, 2.0, 2.0], [0.0, 0.0, 0.0], [1.0, 2.0, 3.0]])
    other = torch.tensor([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0], [4.0, 4.0, 4.0]])
    found = reordered(own=own, other=other)
    assert found.argmax(1).tolist() == own.argmax(1).tolist() == [1, 0, 2]
    assert found[:2].tolist() == [[1, 3, 2], [3, 2, 1]]
    # the only change to the other's values: the least step above
    assert found[2, :2].tolist() == [4, 4] and found[2, 2].item() == np.nextafter(np.float32(4), np.float32(5))


@given(st.lists(st.lists(st.integers(-2, 2), min_size=4, max_size=4), min_size=2, max_size=2))
def test_labels_and_order_always_stay(rows):
    own, other = torch.tensor(rows, dtype=torch.float32).unsqueeze(1)
    found = reordered(own=own, other=other)[0]
    assert found.argmax() == own[0].argmax()
    for i in range(4):
        for j in range(4):
            assert own[0, i] <= own[0, j] or found[i] >= found[j]
    np.testing.assert_allclose(found.sort().values, other[0].sort().values, rtol=1e-6, atol=1e-6)


def test_one_class_passes():
    assert reordered(own=torch.tensor([[2.0]]), other=torch.tensor([[5.0]])).tolist() == [[5]]


def test_random_inputs_by_hand():
    """The bytes spelled out: a keyed hash of the record, stretched to one byte per entry."""
    key = hashlib.blake2b(b"k").digest()
    x = np.array([[-1.0, 0.5, 2.0], [0.0, 1.0, 0.25]], np.float32)
    found = random_inputs(x, key)
    for record, noise, standardised in zip(x, found, (True, False), strict=True):
        seed = hashlib.blake2b(record.tobytes(), key=key, digest_size=32).digest()
        drawn = list(hashlib.shake_256(seed).digest(3))
        expected = [(b - 127.5) / 73.9002 if standardised else float(b >= 128) for b in drawn]
        np.testing.assert_allclose(noise, expected, rtol=1e-5)


def test_random_inputs_look_like_inputs():
    rng = np.random.default_rng(0)
    images = random_inputs(rng.standard_normal((50, 3, 8, 8), np.float32), b"key")
    assert abs(images.mean()) < 0.05 and abs(images.std() - 1) < 0.02 and np.abs(images).max() < 1.74
    assert len(np.unique(images[:, 0, 0, 0])) > 30  # other records, other inputs
    tables = random_inputs(rng.integers(0, 2, (50, 40)).astype(np.float32), b"key")
    assert set(np.unique(tables)) == {0, 1} and abs(tables.mean() - 0.5) < 0.05


def test_the_key_and_each_bit_of_the_record_decide_the_input_but_not_its_neighbours_or_the_sign_of_zero():
    x = np.random.default_rng(0).standard_normal((4, 30), np.float32)
    x[2, 3] = 0
    found = random_inputs(x, b"key")
    np.testing.assert_array_equal(random_inputs(x[2:3], b"key")[0], found[2])
    minus = x.copy()
    minus[2, 3] = -0.0
    np.testing.assert_array_equal(random_inputs(minus, b"key"), found)
    minus[2, 3] = 1e-30
    changed = (random_inputs(minus, b"key") != found).any(1)
    assert changed.tolist() == [False, False, True, False]
    assert (random_inputs(x, b"other") != found).any(1).all()


IMAGES, TABLES = (ConvNet(channels=(4, 4)), (3, 6, 6)), (MLP(hidden=(16,)), (20,))


def trained(config, shape) -> tuple[nn.Module, torch.Tensor]:
    """A network with used batch norm statistics, and records."""
    model = build(config, shape, 5, 0)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn((64, *shape), generator=generator)
    if len(shape) == 1:
        x = (x > 0).float()
    model.train()(x)
    return model.eval(), x


@pytest.mark.parametrize(("config", "shape"), [IMAGES, TABLES], ids=["images", "tables"])
def test_a_released_model(config, shape):
    model, x = trained(config, shape)
    released = HAMP(test_time=True).release(model)
    own, answers = predict(model, x), predict(released, x)
    assert torch.equal(answers.argmax(1), own.argmax(1))
    assert (answers - own).abs().amax(1).min() > 1e-4
    # the same question gets the same answer, whoever else is asked about and in whatever layout
    assert torch.equal(predict(released, x), answers)
    turned = predict(released, x.flip(0)).flip(0)
    np.testing.assert_allclose(turned, answers, atol=1e-5)
    np.testing.assert_allclose(predict(released, x, size=7), answers, atol=1e-5)
    np.testing.assert_allclose(torch.cat([released(row[None]) for row in x[:9]]).detach(), answers[:9], atol=1e-5)
    if len(shape) == 3:
        turned = predict(released, x.contiguous(memory_format=torch.channels_last))
        np.testing.assert_allclose(turned, answers, atol=1e-5)
    # another key, other answers
    assert not torch.allclose(predict(HAMP(test_time=True, key="other").release(model), x), answers)
    # the answers are outputs of the model, on other inputs
    noise = torch.from_numpy(random_inputs(x.numpy(), released.key))
    np.testing.assert_allclose(answers.sort(1).values, predict(model, noise).sort(1).values, atol=1e-5)


def test_confidence_no_longer_tells_members():
    """A model that is sure of members only: its own confidence separates them, the released one's does not."""

    class Sure(nn.Module):
        def forward(self, x):
            base = torch.nn.functional.one_hot((x.flatten(1)[:, 0] > 0).long(), 2).float()
            return base * torch.where(x.flatten(1).mean(1).abs() > 0.9, 5.0, 0.5)[:, None]

    generator = torch.Generator().manual_seed(0)
    x = torch.randn((400, 50), generator=generator)
    x[:200] += 2
    member = torch.arange(400) < 200
    own, answers = (predict(m, x).softmax(1).amax(1) for m in (Sure(), RandomisedOutput(Sure(), "k")))
    assert own[member].min() > own[~member].max()
    assert abs((answers[member].mean() - answers[~member].mean()).item()) < 0.02


def test_evaluation_mode_for_good():
    model, x = trained(*IMAGES)
    before = {name: b.clone() for name, b in model.named_buffers()}
    released = HAMP(test_time=True).release(model).train()
    released(x)
    assert not released.training and not model.training
    assert all(torch.equal(b, before[name]) for name, b in model.named_buffers())


def test_only_hamp_with_the_switch_changes_the_model():
    model, _ = trained(*TABLES)
    assert HAMP().release(model) is model and CCL().release(model) is model


def test_eight_thousand_images_in_seconds():
    x = np.random.default_rng(0).standard_normal((8000, 3, 32, 32), np.float32)
    start = time.process_time()
    random_inputs(x, b"key")
    assert time.process_time() - start < 10
