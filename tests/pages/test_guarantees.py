"""(ε, δ) of DP-SGD on every page that shows the models it was used for."""

from __future__ import annotations

import pytest

from core.sweeps.sweep import points
from tests.pages.conftest import said


@pytest.mark.parametrize("page", ["overview.py", "model.py", "rewind.py"])
def test_a_guarantee_is_told_wherever_the_result_is(private, open_page, page) -> None:
    store, sweep = private
    found = {point.label["method"]: point.experiment.hash for point in points(sweep)}
    app = open_page(store.root, found["CWRF"], page)
    assert not app.exception
    assert "**Guarantee of DP-SGD**, after the defence: ε = " in said(app)
    assert "It covers the fine-tuning alone" in said(app)
    app = open_page(store.root, found["no DP-SGD"], page)
    assert not app.exception and "Guarantee of DP-SGD" not in said(app)


@pytest.mark.parametrize("page", ["overview.py", "model.py"])
def test_a_guarantee_of_the_training_is_told_without_a_defence(private, open_page, page) -> None:
    store, sweep = private
    found = {point.label["method"]: point.experiment.hash for point in points(sweep)}
    app = open_page(store.root, found["no defence"], page)
    assert not app.exception
    assert "**Guarantee of DP-SGD**: ε = " in said(app) and "fine-tuning alone" not in said(app)
