"""Distillation: the loss by hand, the teacher it trains, and that the student never sees the members."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn

from core.config import BadInput
from core.defenses import CrossEntropy, Distillation, Setting, Step
from core.models import MLP, ConvNet
from core.models.build import build
from core.training import TrainConfig
from core.training.loop import fit
from tests.defenses.one_batch import LOGITS, softmax, some


def records(count: int, seed: int, shape: tuple[int, ...] = (5,)) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn((count, *shape), generator=generator), torch.randint(3, (count,), generator=generator)


def test_the_divergence_by_hand():
    # the teacher says (½, ¼, ¼) twice, Σ q·log q = −1.039721;
    # −Σ q·log p = ½·.239545 + ½·2.239545 and ¾·1.551445 + ¼·.551445
    teacher = torch.tensor([[0.5, 0.25, 0.25]] * 2).log()
    by_hand = (1.239545 + 1.301445) / 2 - 1.039721
    student = torch.tensor(LOGITS, requires_grad=True)
    found = Distillation().divergence(teacher=teacher, student=student)
    assert found.item() == pytest.approx(by_hand, abs=1e-6)
    # twice the temperature on twice the logits: the same distributions, four times the loss
    warm = Distillation(temperature=2).divergence(teacher=2 * teacher, student=2 * student)
    assert warm.item() == pytest.approx(4 * by_hand, abs=4e-6)
    found.backward()  # ∂/∂z = (p − q)/B
    np.testing.assert_allclose(student.grad, (softmax(torch.tensor(LOGITS)) - [0.5, 0.25, 0.25]) / 2, atol=1e-6)


def test_the_divergence_record_by_record():
    z, _ = some()
    other = z.flip(1)
    p, q = softmax(z / 3), softmax(other / 3)
    slow = 9 * np.mean([sum(q[i] * np.log(q[i] / p[i])) for i in range(len(p))])
    found = Distillation(temperature=3).divergence(teacher=other, student=z).item()
    assert found == pytest.approx(slow, abs=1e-5)


def linear(weight: float) -> nn.Linear:
    layer = nn.Linear(1, 2, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[weight], [0.0]]))
    return layer


def test_the_teacher_is_a_trained_copy_and_the_loss_is_on_reference_records():
    def train(model: nn.Module) -> None:
        assert model is not student and model.weight[0, 0] == 0
        with torch.no_grad():
            model.weight[0, 0] = np.log(3)

    student = linear(0)
    reference = torch.ones((2, 1)), torch.tensor([0, 0])
    loss = Distillation().start(Setting(student, reference, torch.Generator(), train=train))
    # at x = 1 the teacher says (.75, .25), the student (.5, .5); what the members say does not matter
    by_hand = 0.75 * np.log(1.5) + 0.25 * np.log(0.5)
    for members in (torch.zeros((4, 1)), 5 * torch.ones((2, 1))):
        step = Step(student, members, torch.zeros(len(members), dtype=torch.int64), student(members), 0)
        assert loss(step).item() == pytest.approx(by_hand, abs=1e-6)
    assert student.weight[0, 0] == 0

    own = Distillation(on="members").start(Setting(student, None, torch.Generator(), train=train))
    x, y = torch.tensor([[1.0], [0.0]]), torch.tensor([1, 1])
    assert own(Step(student, x, y, student(x), 0)).item() == pytest.approx(by_hand / 2, abs=1e-6)


@pytest.mark.parametrize("on", ["reference", "members"])
def test_the_teacher_is_what_plain_training_gives(on, monkeypatch):
    """A student with the teacher's weights has loss zero, so rebuild the teacher by a plain run and compare."""
    seen = {}
    original = Distillation.divergence

    def spy(self, *, teacher, student):
        seen.setdefault("teacher", teacher)
        return original(self, teacher=teacher, student=student)

    monkeypatch.setattr(Distillation, "divergence", spy)
    members, reference = records(20, 0), records(12, 1)
    recipe = TrainConfig(epochs=2, batch_size=20)
    start = build(MLP(hidden=(6,)), (5,), 3, 0)
    plain = copy.deepcopy(start)
    fit(plain, members=members, recipe=recipe, seed=4, objective=CrossEntropy())
    student = copy.deepcopy(start)
    fit(student, members=members, recipe=recipe, seed=3, objective=Distillation(on=on), reference=reference)
    x = {"reference": reference, "members": members}[on][0]
    logits = plain(x).detach()
    for row in seen["teacher"]:
        assert (logits - row).abs().amax(1).min() < 1e-5


@pytest.mark.parametrize("config", [MLP(hidden=(6,)), ConvNet(channels=(4, 4))], ids=lambda c: c.kind)
def test_the_student_sees_members_only_through_the_teacher(config, monkeypatch):
    """With the teacher's answers fixed, other members give the same student, batch norm's statistics included."""
    shape = (1, 6, 6)
    reference = records(16, 1, shape)
    fixed = torch.randn((16, 3), generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr("core.training.loop.predict", lambda model, x, size=1024: fixed)
    students = []
    for seed in (5, 6):
        model = build(config, shape, 3, 0)
        fit(
            model,
            members=records(24, seed, shape),
            recipe=TrainConfig(epochs=2, batch_size=8),
            seed=0,
            objective=Distillation(),
            reference=reference,
        )
        students.append(model.state_dict())
    initial = build(config, shape, 3, 0).state_dict()
    for name, value in students[0].items():
        assert torch.equal(value, students[1][name])
        assert not torch.equal(value, initial[name])


def test_a_reference_set_is_needed_for_the_reference_set_only():
    settings = Setting(linear(0), None, torch.Generator(), train=lambda model: None)
    with pytest.raises(
        BadInput, match=r"distillation needs a reference set of at least 2 records: raise data\.reference"
    ):
        Distillation().start(settings)
    Distillation(on="members").start(settings)


@pytest.mark.parametrize("wrong", [{"temperature": 0}, {"temperature": 1001}, {"on": "population"}])
def test_bounds(wrong):
    with pytest.raises(ValidationError):
        Distillation(**wrong)
