"""Variations of records: which they are follows from the query's number, on whatever device they are asked."""

from __future__ import annotations

import pytest
import torch

from core.queries import vary


@pytest.mark.parametrize("shape", [(5, 1, 8, 8), (40, 30)])
def test_what_is_asked_does_not_depend_on_the_device(shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    class Generator(torch.Generator):
        def __init__(self, device="cpu") -> None:
            made.append(torch.device(device).type)

    monkeypatch.setattr(torch, "Generator", Generator)
    x = torch.rand(shape)
    first = vary(x, 3)
    assert not torch.equal(first, x) and torch.equal(first, vary(x, 3)) and not torch.equal(first, vary(x, 4))
    assert vary(x.to("meta"), 3).shape == shape  # no device but the CPU draws
    assert set(made) == {"cpu"}
