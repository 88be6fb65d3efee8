"""PAST's γ and loss: by hand on one layer, against plain loops, and what they must not disturb."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from torch import nn

from core.config import BadInput
from core.defenses import PAST, Setting, Step, past
from core.defenses.past import gamma
from core.models import ConvNet
from core.models.build import build


def linear(weights: list[list[float]], bias: list[float] | None = None) -> nn.Linear:
    layer = nn.Linear(len(weights[0]), len(weights), bias=bias is not None)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(weights))
        if bias is not None:
            layer.bias.copy_(torch.tensor(bias))
    return layer


def batch(rows: list[list[float]], labels: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.tensor(rows), torch.tensor(labels)


def setting(model: nn.Module, members, reference) -> Setting:
    return Setting(model, reference, torch.Generator().manual_seed(0), members)


# Two classes, logits 0: ∂l/∂W = (p − e_y)·xᵀ with p = (½, ½).
# Member x = (2, 0) of class 0: rows (−1, 0) and (1, 0). Reference x = (0, 1) and (0, 3), both of class 1, mean (0, 2):
# rows (0, 1) and (0, −1). |difference| = 1 in all four, bias: |(½, −½) − (−½, ½)| = (1, 1).
MEMBERS = batch([[2.0, 0.0]], [0])
REFERENCE = batch([[0.0, 1.0], [0.0, 3.0]], [1, 1])


def test_gamma_by_hand():
    found = gamma(linear([[0.0, 0.0], [0.0, 0.0]]), MEMBERS, REFERENCE)
    assert found["weight"].tolist() == [[1, 1], [1, 1]]
    # a member three times as long: |difference| (3, 1) in each row, γ = 4·(3, 1)/8
    found = gamma(linear([[0.0, 0.0], [0.0, 0.0]]), batch([[6.0, 0.0]], [0]), REFERENCE)
    assert found["weight"].tolist() == [[1.5, 0.5], [1.5, 0.5]]


def test_weight_and_bias_of_a_layer_are_one_module():
    # |difference| (3, 1), (3, 1) and bias (1, 1): sum 10 over 6 weights
    found = gamma(linear([[0.0, 0.0], [0.0, 0.0]], [0.0, 0.0]), batch([[6.0, 0.0]], [0]), REFERENCE)
    np.testing.assert_allclose(found["weight"], [[1.8, 0.6], [1.8, 0.6]], rtol=1e-6)
    np.testing.assert_allclose(found["bias"], [0.6, 0.6], rtol=1e-6)


def test_the_loss_by_hand():
    model = linear([[0.0, 0.0], [0.0, 0.0]])
    loss = PAST(lam=0.1).start(setting(model, batch([[6.0, 0.0]], [0]), REFERENCE))
    x, y = batch([[1.0, 1.0]], [1])
    assert loss(Step(model, x, y, model(x), 0)).item() == pytest.approx(np.log(2), abs=1e-6)  # all weights are 0
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1.0, -2.0], [0.0, 4.0]]))
    # logits (−1, 4), −log p_1 = log(1 + e^−5); γ is still that of the epoch's first step
    penalty = 0.1 * (1.5 * 1 + 0.5 * 2 + 0.5 * 4)
    found = loss(Step(model, x, y, model(x), 0))
    assert found.item() == pytest.approx(np.log1p(np.exp(-5)) + penalty, abs=1e-6)
    found.backward()
    # γ is a constant: beside λ·γ·sign(θ) only the gradient of cross-entropy, (p − e_y)·xᵀ
    p = 1 / (1 + np.exp(5))
    expected = np.array([[p, p], [-p, -p]]) + 0.1 * np.array([[1.5, -0.5], [0, 0.5]])
    np.testing.assert_allclose(model.weight.grad, expected, atol=1e-6)


def test_gamma_is_refreshed_once_an_epoch(monkeypatch):
    model, calls = linear([[1.0, 0.0], [0.0, 1.0]]), []
    monkeypatch.setattr(past, "gamma", lambda *a: calls.append(1) or gamma(*a))
    loss = PAST(plain_epochs=1).start(setting(model, MEMBERS, REFERENCE))
    x, y = MEMBERS
    seen = []
    for epoch in (0, 0, 1, 1, 1, 2):
        loss(Step(model, x, y, model(x), epoch))
        seen.append(len(calls))
    assert seen == [0, 0, 1, 1, 1, 2]


def test_plain_epochs_and_strength_zero_are_cross_entropy():
    model = linear([[1.0, -2.0], [0.5, 4.0]])
    x, y = REFERENCE
    plain = F.cross_entropy(model(x), y).item()
    for objective in (PAST(lam=0), PAST(lam=1, plain_epochs=1)):
        loss = objective.start(setting(model, MEMBERS, REFERENCE))
        assert loss(Step(model, x, y, model(x), 0)).item() == pytest.approx(plain, abs=1e-7)


@pytest.fixture(scope="module")
def convnet():
    """A small network with used batch norm statistics, and its records."""
    model = build(ConvNet(channels=(4, 4)), (1, 6, 6), 3, 0)
    generator = torch.Generator().manual_seed(1)
    parts = []
    for count in (13, 9):
        x = torch.randn((count, 1, 6, 6), generator=generator)
        parts.append((x, torch.randint(3, (count,), generator=generator)))
    model.train()
    for _ in range(5):
        model(2 * torch.randn((8, 1, 6, 6), generator=generator) + 1)
    return model, *parts


def test_gamma_record_by_record_in_double_precision(convnet):
    """The definition with the sign of the gap, one record at a time, module by module."""
    model, members, reference = convnet
    slow = copy.deepcopy(model).double().eval()
    means = []
    for x, y in (members, reference):
        losses = [F.cross_entropy(slow(x[i : i + 1].double()), y[i : i + 1]) for i in range(len(y))]
        means.append(sum(losses) / len(y))
    (means[1] - means[0]).abs().backward()
    found = gamma(model, members, reference)
    assert set(found) == {name for name, _ in slow.named_parameters()}
    for module in slow.modules():
        own = dict(module.named_parameters(recurse=False))
        total, count = (sum(f(p) for p in own.values()) for f in (lambda p: p.grad.abs().sum(), lambda p: p.numel()))
        for p in own.values():
            name = next(n for n, q in slow.named_parameters() if q is p)
            np.testing.assert_allclose(found[name], count * p.grad.abs() / total, rtol=2e-3, atol=1e-4)
            assert found[name].dtype == torch.float32 and not found[name].requires_grad


def test_gamma_does_not_depend_on_batches_and_disturbs_nothing(convnet, monkeypatch):
    model, members, reference = convnet
    model.train()
    before = copy.deepcopy(model.state_dict())
    whole = gamma(model, members, reference)
    monkeypatch.setattr(past, "BATCH", 4)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):  # as inside a training step
        parts = gamma(model, members, reference)
    for name, value in whole.items():
        np.testing.assert_allclose(parts[name], value, rtol=1e-3, atol=1e-4)
    assert model.training and all(p.grad is None for p in model.parameters())
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in before.items())


def test_a_module_without_gradient_has_gamma_zero():
    model = nn.Sequential(linear([[1.0, 0.0]], [-100.0]), nn.ReLU(), linear([[1.0], [0.0]], [0.0, 0.0]))
    found = gamma(model, MEMBERS, REFERENCE)
    assert not found["0.weight"].any() and not found["0.bias"].any()
    assert found["2.bias"].mean() + found["2.weight"].mean() == pytest.approx(2, abs=1e-6)


def test_the_gap_shrinks_where_gamma_points():
    """Shrinking only the weights of highest γ changes the gap more than shrinking as many of lowest γ."""
    generator = torch.Generator().manual_seed(0)
    parts = [(torch.randn((40, 10), generator=generator), torch.randint(3, (40,), generator=generator)) for _ in "mr"]
    model = nn.Linear(10, 3)
    with torch.no_grad():
        model.weight.copy_(torch.randn((3, 10), generator=generator))

    def gap(weight: torch.Tensor) -> float:
        losses = [F.cross_entropy(x @ weight.T + model.bias, y) for x, y in parts]
        return (losses[1] - losses[0]).abs().item()

    weight = model.weight.detach()
    order = gamma(model, *parts)["weight"].flatten().argsort()
    changes = []
    for chosen in (order[:10], order[-10:]):
        mask = torch.zeros(30).index_fill(0, chosen, 1).view(3, 10)
        changes.append(abs(gap(weight + 1e-2 * mask * torch.sign(weight)) - gap(weight)))
    assert changes[1] > changes[0]


def test_a_reference_set_is_needed():
    model = linear([[0.0, 0.0], [0.0, 0.0]])
    for reference in (None, MEMBERS):
        with pytest.raises(BadInput, match=r"PAST needs a reference set of at least 2 records: raise data\.reference"):
            PAST().start(setting(model, MEMBERS, reference))


@pytest.mark.parametrize("wrong", [{"lam": -1e-9}, {"lam": 1.1}, {"plain_epochs": -1}])
def test_bounds(wrong):
    with pytest.raises(ValidationError):
        PAST(**wrong)
