"""Adversarial regularisation: the model's loss rebuilt from the attack it hides, and what the attack learns."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from torch import nn

from core.config import BadInput
from core.defenses import AdversarialRegularisation, Setting, Step
from core.defenses.adversarial import attack_input
from core.defenses.endless import endless_rows
from core.models import ConvNet
from core.models.build import build
from tests.defenses.one_batch import LABELS, LOGITS


def records(count: int, seed: int, shape: tuple[int, ...] = (4,)) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn((count, *shape), generator=generator), torch.randint(3, (count,), generator=generator)


def layer() -> nn.Linear:
    torch.manual_seed(4)
    return nn.Linear(4, 3)


def started(objective: AdversarialRegularisation, model: nn.Module, members, reference, monkeypatch):
    """The loss, and the attack network it made."""
    made = []
    original = nn.Sequential.__init__

    def spy(self, *parts):
        original(self, *parts)
        made.append(self)

    monkeypatch.setattr(nn.Sequential, "__init__", spy)
    torch.manual_seed(0)
    loss = objective.start(Setting(model, reference, torch.Generator().manual_seed(7), members))
    monkeypatch.undo()
    return loss, made[0]


def test_what_the_attack_sees_by_hand():
    found = attack_input(torch.tensor(LOGITS), torch.tensor(LABELS))
    by_hand = [[0.786986, 0.106507, 0.106507, 1, 0, 0], [0.211942, 0.576117, 0.211942, 1, 0, 0]]
    np.testing.assert_allclose(found, by_hand, atol=1e-6)


def test_the_loss_by_hand(monkeypatch):
    """With an attack whose last layer says log 3 to everybody, h = ¾."""
    model, members = layer(), records(6, 0)
    loss, attack = started(
        AdversarialRegularisation(lam=2, attack_lr=1e-12), model, members, records(5, 1), monkeypatch
    )
    with torch.no_grad():
        attack[-1].weight.zero_()
        attack[-1].bias.fill_(np.log(3))
    x, y = members
    plain = F.cross_entropy(model(x), y).item()
    assert loss(Step(model, x, y, model(x), 0)).item() == pytest.approx(plain, abs=1e-6)  # the first epoch
    assert loss(Step(model, x, y, model(x), 1)).item() == pytest.approx(plain + 2 * (0.75 - 0.5), abs=1e-6)


def test_a_step_against_the_attack_trained_by_hand(monkeypatch):
    """The same draws, a copy of the same network, Adam's steps written out one after the other."""
    model, members, reference = layer(), records(6, 0), records(5, 1)
    objective = AdversarialRegularisation(lam=1.5, attack_lr=0.01, attack_steps=3)
    loss, attack = started(objective, model, members, reference, monkeypatch)
    twin = copy.deepcopy(attack)
    x, y = records(4, 2)
    z = model(x)
    found = loss(Step(model, x, y, z, 1))

    optimizer = torch.optim.Adam(twin.parameters(), 0.01)
    generator = torch.Generator().manual_seed(7)
    rows = [endless_rows(len(part[1]), generator)(12) for part in (members, reference)]
    for step in range(3):
        total = torch.zeros(())
        for part, drawn, member in zip((members, reference), rows, (1, 0), strict=True):
            for i in drawn[4 * step : 4 * step + 4].tolist():
                p = model(part[0][i]).detach().softmax(0)
                h = twin(torch.cat([p, torch.eye(3)[part[1][i]]])).sigmoid()[0]
                total = total - (h.log() if member else (1 - h).log()) / 8
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
    for ours, theirs in zip(attack.parameters(), twin.parameters(), strict=True):
        np.testing.assert_allclose(ours.detach(), theirs.detach(), atol=1e-5)
    gain = twin(attack_input(z, y)).sigmoid().mean() - 0.5
    assert found.item() == pytest.approx((F.cross_entropy(z, y) + 1.5 * gain).item(), abs=1e-5)
    expected = torch.autograd.grad(F.cross_entropy(z, y) + 1.5 * gain, model.weight, retain_graph=True)[0]
    np.testing.assert_allclose(torch.autograd.grad(found, model.weight)[0], expected, atol=1e-5)


def test_every_layer_of_the_attack_learns_and_the_attack_gets_better(monkeypatch):
    """Members have confident outputs, reference records do not: soon the attack tells them apart."""
    model = layer()
    members, reference = records(40, 0), records(40, 1)
    members = 8 * members[0], members[1]
    loss, attack = started(AdversarialRegularisation(attack_lr=0.01), model, members, reference, monkeypatch)
    before = [p.detach().clone() for p in attack.parameters()]
    assert len(before) == 6
    for _ in range(20):
        loss(Step(model, *members, model(members[0]), 1))
    assert all(not torch.equal(p, old) for p, old in zip(attack.parameters(), before, strict=True))
    inside, outside = (attack(attack_input(model(x), y)).detach() for x, y in (members, reference))
    assert (inside > 0).float().mean() > 0.8 and (outside < 0).float().mean() > 0.8


def test_asking_the_model_changes_neither_its_statistics_nor_its_gradients():
    model = build(ConvNet(channels=(4, 4)), (1, 6, 6), 3, 0).train()
    members, reference = records(12, 0, (1, 6, 6)), records(9, 1, (1, 6, 6))
    loss = AdversarialRegularisation().start(Setting(model, reference, torch.Generator().manual_seed(0), members))
    x, y = members
    z = model(x)
    before = {name: b.clone() for name, b in model.named_buffers()}
    loss(Step(model, x, y, z, 1))
    assert model.training and all(p.grad is None for p in model.parameters())
    assert all(torch.equal(b, before[name]) for name, b in model.named_buffers())


def test_a_reference_set_is_needed():
    members = records(6, 0)
    for reference in (None, records(1, 1)):
        with pytest.raises(BadInput, match="adversarial regularisation needs a reference set of at least 2 records"):
            AdversarialRegularisation().start(Setting(layer(), reference, torch.Generator(), members))


@pytest.mark.parametrize("wrong", [{"lam": -0.1}, {"attack_lr": 0}, {"attack_steps": 0}, {"attack_steps": 101}])
def test_bounds(wrong):
    with pytest.raises(ValidationError):
        AdversarialRegularisation(**wrong)
