"""Where and in which format the engine computes."""

from __future__ import annotations

import torch

from core.training.device import autocast, device, fast_layout, low_precision


def test_autocast_of_nothing_is_nothing():
    with autocast(None):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32
    with autocast(torch.bfloat16):
        assert torch.ones(2, 2, device=device()).matmul(torch.ones(2, 2, device=device())).dtype == torch.bfloat16


def test_low_precision_is_bfloat16_or_nothing():
    assert low_precision() in (torch.bfloat16, None)


def test_layout_changes_nothing_but_the_order_in_memory():
    images, table = torch.randn(2, 3, 4, 4), torch.randn(2, 5)
    assert torch.equal(fast_layout(images), images)
    assert fast_layout(images).is_contiguous(memory_format=torch.channels_last)
    assert fast_layout(table) is table
