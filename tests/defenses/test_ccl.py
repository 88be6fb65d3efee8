"""CCL on a batch worked out by hand, its closed-form gradient and a slow formula."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from core.defenses import CCL
from tests.defenses.one_batch import gradients_fit, loss_of, softmax, some


def test_the_exponential_form():
    # ½·.239545 − ½·e^.786986 = .119772 − 1.098383 and ½·1.551445 − ½·e^.211942 = .775723 − .618038
    by_hand = (0.119772 - 1.098383 + 0.775723 - 0.618038) / 2
    assert loss_of(CCL(beta=1)).item() == pytest.approx(by_hand, abs=2e-6)
    assert loss_of(CCL()).item() == pytest.approx(0.05 * by_hand, abs=1e-6)
    assert by_hand < 0


def test_the_quadratic_form():
    # p + p²/2 = 1.096659 and .234402
    by_hand = (0.119772 - 0.548330 + 0.775723 - 0.117201) / 2
    assert loss_of(CCL(form="ccql", beta=1)).item() == pytest.approx(by_hand, abs=2e-6)


def test_alpha_weighs_the_two_parts():
    assert loss_of(CCL(alpha=1, beta=1)).item() == pytest.approx(0.895495, abs=1e-6)
    assert loss_of(CCL(alpha=0, beta=1, form="ccql")).item() == pytest.approx(-(1.096659 + 0.234402) / 2, abs=1e-6)


@pytest.mark.parametrize("form", ["ccel", "ccql"])
def test_the_closed_form_gradient(form):
    """∂/∂z = β·(p − 1_y)·[α + (1 − α)·p_y·c′(p_y)], with c′ = e^p_y or 1 + p_y."""
    z, y = some()
    loss_of(CCL(form=form, alpha=0.3, beta=0.7), z.requires_grad_(), y).backward()
    p, own = softmax(z), np.eye(5)[y.numpy()]
    p_y = (p * own).sum(1, keepdims=True)
    slope = np.exp(p_y) if form == "ccel" else 1 + p_y
    expected = 0.7 * (p - own) * (0.3 + 0.7 * p_y * slope) / len(p)
    np.testing.assert_allclose(z.grad.numpy(), expected, atol=1e-7)


@pytest.mark.parametrize("form", ["ccel", "ccql"])
def test_a_slow_formula_record_by_record(form):
    z, y = some()
    total = 0.0
    for p, label in zip(softmax(z), y.tolist(), strict=True):
        concave = math.exp(p[label]) if form == "ccel" else p[label] + p[label] ** 2 / 2
        total += 0.2 * (0.6 * -math.log(p[label]) - 0.4 * concave)
    assert loss_of(CCL(form=form, alpha=0.6, beta=0.2), z, y).item() == pytest.approx(total / len(y), abs=1e-6)


@pytest.mark.parametrize("form", ["ccel", "ccql"])
def test_gradients_by_finite_differences(form):
    assert gradients_fit(CCL(form=form, beta=1))


def test_the_least_value_is_at_certainty():
    certain = torch.tensor([[100.0, 0.0, 0.0]] * 2)
    assert loss_of(CCL(beta=1), certain).item() == pytest.approx(-math.e / 2, abs=1e-6)
    assert loss_of(CCL(beta=1, form="ccql"), certain).item() == pytest.approx(-0.75, abs=1e-6)


@pytest.mark.parametrize("wrong", [{"alpha": -0.1}, {"alpha": 1.1}, {"beta": 0}, {"form": "cubic"}])
def test_bounds(wrong):
    with pytest.raises(ValidationError):
        CCL(**wrong)
