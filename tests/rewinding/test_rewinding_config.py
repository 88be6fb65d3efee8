"""Bounds of the rewind."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from core.rewinding import CWRF, Finetune


@pytest.mark.parametrize(
    "field",
    [
        {"fraction": 0},
        {"fraction": 1},
        {"fraction": -1},
        {"mode": "A4"},
        {"base": "new"},
        {"layer_fractions": {"a": 2}},
    ],
)
def test_refused(field):
    with pytest.raises(ValidationError):
        CWRF(**field)


def test_no_fine_tuning_is_allowed_and_negative_is_not():
    assert Finetune(epochs=0).epochs == 0
    with pytest.raises(ValidationError):
        Finetune(epochs=-1)
