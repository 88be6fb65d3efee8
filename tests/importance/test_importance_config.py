"""Bounds of the scoring config."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from core.importance import ImportanceConfig


@pytest.mark.parametrize("field", [{"lam": -0.1}, {"lam": 1.1}, {"kl": "both"}, {"epochs": 0}])
def test_refused(field):
    with pytest.raises(ValidationError):
        ImportanceConfig(**field)


def test_the_defaults_are_the_papers_reading():
    assert ImportanceConfig() == ImportanceConfig(lam=0.5, kl="initial||trained", epochs=None)
