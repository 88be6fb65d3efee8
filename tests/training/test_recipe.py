"""Bounds of the recipe."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from core.training import TrainConfig


@pytest.mark.parametrize(
    "field",
    [{"epochs": 0}, {"epochs": -3}, {"lr": 0}, {"lr": float("nan")}, {"momentum": 1}, {"batch_size": 1}, {"typo": 1}],
)
def test_refused(field):
    with pytest.raises(ValidationError):
        TrainConfig(**field)


def test_every_field_has_help():
    assert all(field.description for field in TrainConfig.model_fields.values())
