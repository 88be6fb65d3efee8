"""CRL: both relaxed losses by hand, against RelaxLoss and a slow formula, and the centres' own training."""

from __future__ import annotations

import gc
import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn

from core.config import BadInput
from core.defenses import CRL, RelaxLoss, Setting, Step
from core.defenses.crl import last_linear, shrunk
from core.models import MLP, ConvNet, ResNet18, ViT
from core.models.build import build
from tests.defenses.one_batch import LABELS, LOGITS, softmax, some

Z, Y = torch.tensor(LOGITS), torch.tensor(LABELS)
# t = ½: (2, 0, 0)/2 = (1, 0, 0) and (0, 1, 0)/1.5 = (0, ⅔, 0)
# −log p_0 = log(1 + 2/e) = .551445 and log(2 + e^⅔) = 1.373142, mean .962293
SHORT = 0.962293


def test_shrinking_by_hand():
    assert shrunk(Z, 0.5).tolist() == [[1, 0, 0], [0, pytest.approx(2 / 3), 0]]
    assert shrunk(torch.tensor([[3.0, 4.0]]), 1).tolist() == [[pytest.approx(0.5), pytest.approx(4 / 6)]]
    assert torch.equal(shrunk(Z, 0), Z)
    origin = torch.zeros((2, 3), requires_grad=True)
    shrunk(origin, 1.0).sum().backward()
    assert torch.isfinite(origin.grad).all()


def test_the_relaxed_cross_entropy_by_hand():
    # epochs count from 1: the second epoch is the first even one
    assert CRL(t=0.5, alpha=2).relaxed_cross_entropy(Z, Y, 1).item() == pytest.approx(2 - SHORT, abs=1e-6)
    assert CRL(t=0.5, alpha=0.5).relaxed_cross_entropy(Z, Y, 0).item() == pytest.approx(SHORT, abs=1e-6)
    # flattening: soft labels of the plain logits, (.786986, .106507, .106507) and (.211942, .394029, .394029), against
    # −log p of the short ones: (.551445, 1.551445, 1.551445) and (1.373142, .706475, 1.373142)
    first = 0.786986 * 0.551445 + 0.213014 * 1.551445
    second = 0.211942 * 1.373142 + 0.394029 * (0.706475 + 1.373142)
    found = CRL(t=0.5, alpha=2).relaxed_cross_entropy(Z, Y, 0).item()
    assert found == pytest.approx((first + second) / 2, abs=2e-6)


def test_the_relaxed_distance_by_hand():
    features, centres = torch.tensor([[3.0, 4.0], [1.0, 0.0]]), torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    # t = 1: (½, ⅔) and (½, 0), centres (0, ½) and (½, 0): half squared distances (¼ + 1/36)/2 = .138889 and 0
    near, far = CRL(centre_alpha=0.05), CRL(centre_alpha=0.5)
    assert near.relaxed_distance(features, centres, Z, Y, 0).item() == pytest.approx(0.069444, abs=1e-6)
    assert far.relaxed_distance(features, centres, Z, Y, 1).item() == pytest.approx(0.5 - 0.069444, abs=1e-6)
    # below the target: p_y = .786986, .211942; half squared lengths (¼ + 4/9)/2 = .347222 and .125
    by_hand = (0.786986 * 0.138889 + 0.213014 * 0.347222 + 0.788058 * 0.125) / 2
    assert far.relaxed_distance(features, centres, Z, Y, 0).item() == pytest.approx(by_hand, abs=1e-6)
    capped = CRL(centre_alpha=0.5, upper=0.5).relaxed_distance(features, centres, Z, Y, 0).item()
    assert capped == pytest.approx((0.5 * 0.138889 + 0.5 * 0.347222 + 0.788058 * 0.125) / 2, abs=1e-6)


@pytest.mark.parametrize("epoch", [0, 1, 2])
@pytest.mark.parametrize("alpha", [0.2, 30])
def test_without_shrinking_it_is_relaxloss_on_all_records(epoch, alpha):
    z, y = some()
    z = z.float()
    own, other = (
        CRL(t=0, alpha=min(alpha, 20), upper=0.7),
        RelaxLoss(alpha=min(alpha, 20), upper=0.7, variant="flatten-all"),
    )
    found = own.relaxed_cross_entropy(z, y, epoch)
    assert found.item() == pytest.approx(other.loss(Step(nn.Identity(), z, y, z, epoch)).item(), abs=1e-6)


@pytest.mark.parametrize("epoch", [0, 1])
@pytest.mark.parametrize("target", [0.01, 5.0])
def test_slow_formulas_record_by_record(epoch, target):
    z, y = some()
    generator = torch.Generator().manual_seed(5)
    features, centres = (torch.randn((len(y), 4), generator=generator) for _ in "fc")
    objective = CRL(alpha=target, t=0.3, upper=0.6, centre_alpha=target, centre_t=0.7)

    def short(v: np.ndarray, t: float) -> np.ndarray:
        return v / (1 + t * math.sqrt(sum(v**2)))

    p, losses, flat, distances, pulls = softmax(z), [], [], [], []
    for i, label in enumerate(y.tolist()):
        log_q = np.log(softmax(torch.from_numpy(short(z[i].numpy(), 0.3))[None])[0])
        kept = min(p[i, label], 0.6)
        soft = np.full(5, (1 - kept) / 4)
        soft[label] = kept
        losses.append(-log_q[label])
        flat.append(-sum(soft * log_q))
        f, c = short(features[i].double().numpy(), 0.7), short(centres[i].double().numpy(), 0.7)
        distances.append(sum((f - c) ** 2) / 2)
        pulls.append(kept * distances[-1] + (1 - kept) * sum(f**2) / 2)

    def relaxed(plain: list, flattened: list) -> float:
        mean = np.mean(plain)
        return abs(mean - target) if epoch == 1 else mean if mean > target else np.mean(flattened)

    found = objective.relaxed_cross_entropy(z.float(), y, epoch).item()
    assert found == pytest.approx(relaxed(losses, flat), abs=1e-5)
    found = objective.relaxed_distance(features, centres, z.float(), y, epoch).item()
    assert found == pytest.approx(relaxed(distances, pulls), abs=1e-5)


def test_the_gradient_flows_as_finite_differences_say():
    z, y = some()
    generator = torch.Generator().manual_seed(5)
    inputs = [z, *(torch.randn((len(y), 4), generator=generator, dtype=torch.float64) for _ in "fc")]
    for target in (0.01, 5.0):
        objective = CRL(alpha=target, t=0.3, centre_alpha=target)

        def total(z, f, c, objective=objective):
            return objective.relaxed_cross_entropy(z, y, 0) + objective.relaxed_distance(f, c, z, y, 0)

        assert torch.autograd.gradcheck(total, [v.clone().requires_grad_() for v in inputs])


MODELS = [
    (MLP(hidden=(6,)), (5,)),
    (ConvNet(channels=(4, 4)), (1, 6, 6)),
    (ResNet18(width=4), (1, 8, 8)),
    (ViT(dim=8, depth=1, heads=2, patch=4), (1, 8, 8)),
]


@pytest.mark.parametrize(("config", "shape"), MODELS, ids=lambda v: getattr(v, "kind", ""))
def test_features_are_what_the_head_sees_and_watching_ends_with_the_loss(config, shape):
    model = build(config, shape, 3, 0)
    head = last_linear(model)
    assert head.out_features == 3
    names = {id(m): n for n, m in model.named_modules()}
    assert names[id(head)] in ("head", "fc", "heads.head")
    x, y = torch.randn((4, *shape), generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 0])
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn((3, head.in_features), generator=torch.Generator().manual_seed(0))
    objective = CRL(lam=2)
    loss = objective.start(Setting(model.eval(), None, generator))
    z = model(x)
    # the head undone: its output is W·f + b, so features f reproduce the logits
    features = []
    handle = head.register_forward_hook(lambda module, inputs, out: features.append(inputs[0].detach()))
    model(x)
    handle.remove()
    expected = objective.relaxed_cross_entropy(z, y, 0) + 2 * objective.relaxed_distance(
        features[0], centres[y], z, y, 0
    )
    assert loss(Step(model, x, y, z, 0)).item() == pytest.approx(expected.item(), abs=1e-5)
    assert len(head._forward_pre_hooks) == 1
    del loss
    gc.collect()
    assert len(head._forward_pre_hooks) == 0


def test_centres_learn_by_plain_sgd_at_their_own_rate():
    """Two steps with a network that does not move: the second sees centres moved by the first one's gradient."""
    model = nn.Linear(4, 3)
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn((5, 4), generator=generator), torch.tensor([0, 1, 2, 0, 1])
    objective = CRL(lam=3, centre_alpha=0, centre_lr=0.7)
    loss = objective.start(Setting(model, None, torch.Generator().manual_seed(1)))
    found = []
    for _ in range(3):
        value = loss(Step(model, x, y, model(x), 0))
        value.backward()
        found.append(value.item())

    centres = torch.randn((3, 4), generator=torch.Generator().manual_seed(1))
    for value in found:
        centres.requires_grad_()
        z = model(x)
        ours = 3 * objective.relaxed_distance(x, centres[y], z, y, 0)
        assert value == pytest.approx((objective.relaxed_cross_entropy(z, y, 0) + ours).item(), abs=1e-6)
        (gradient,) = torch.autograd.grad(ours, centres)
        centres = centres.detach() - 0.7 * gradient
    assert found[0] > found[1] > found[2]


def test_a_single_class_and_a_model_without_head_are_refused():
    model = nn.Linear(4, 1)
    loss = CRL(alpha=1).start(Setting(model, None, torch.Generator()))
    x = torch.zeros((2, 4))
    with pytest.raises(BadInput, match="at least 2 classes, the data have 1: use another objective"):
        loss(Step(model, x, torch.zeros(2, dtype=torch.int64), model(x), 0))
    with pytest.raises(BadInput, match="CRL needs a model that ends in a linear layer"):
        CRL().start(Setting(nn.Conv1d(1, 1, 1), None, torch.Generator()))


@pytest.mark.parametrize(
    "wrong", [{"alpha": -0.1}, {"upper": 0}, {"t": -0.1}, {"lam": -1}, {"centre_alpha": -1}, {"centre_lr": 0}]
)
def test_bounds(wrong):
    with pytest.raises(ValidationError):
        CRL(**wrong)
