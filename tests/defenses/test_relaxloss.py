"""Cross-entropy and RelaxLoss on one batch worked out by hand."""

from __future__ import annotations

import pytest
import torch

from core.defenses import CrossEntropy, RelaxLoss, Step

# Two records of class 0, logits (2, 0, 0) and (0, 1, 0):
# p = (.786986, .106507, .106507) and (.211942, .576117, .211942), l = .239545 and 1.551445, L = .895495.
# Only the first is classified correctly.
LOGITS = [[2.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
L = 0.895495


def step(epoch: int, logits: torch.Tensor | None = None) -> Step:
    z = torch.tensor(LOGITS) if logits is None else logits
    return Step(torch.nn.Identity(), z, torch.tensor([0, 0]), z, epoch)


def loss(epoch: int, **config) -> float:
    return RelaxLoss(**config).loss(step(epoch)).item()


def test_cross_entropy():
    assert CrossEntropy().loss(step(0)).item() == pytest.approx(L, abs=1e-6)


def test_even_epochs_hold_the_loss_at_alpha():
    assert loss(0, alpha=1) == pytest.approx(1 - L, abs=1e-6)
    assert loss(2, alpha=0.5) == pytest.approx(L - 0.5, abs=1e-6)


def test_odd_epochs_above_alpha_are_plain():
    assert loss(1, alpha=0.5) == pytest.approx(L, abs=1e-6)
    assert loss(0, alpha=0.5, variant="flatten-all") == pytest.approx(L, abs=1e-6)


def test_the_official_flattening_step():
    # record 2: q = (.211942, .394029, .394029), softCE = .211942·1.551445 + .394029·(.551445 + 1.551445) = 1.157415
    # mean of (0 − .239545) and (1.157415 − 1.551445)
    assert loss(1, alpha=1) == pytest.approx((-0.239545 + 1.157415 - 1.551445) / 2, abs=1e-6)


def test_flatten_all_has_no_loss_term_and_counts_from_one():
    # record 1: q = p, softCE = .786986·.239545 + .213014·2.239545 = .665573
    assert loss(0, alpha=1, variant="flatten-all") == pytest.approx((0.665573 + 1.157415) / 2, abs=1e-6)
    assert loss(1, alpha=1, variant="flatten-all") == pytest.approx(1 - L, abs=1e-6)


def test_upper_caps_the_labels_own_probability():
    # record 1: q = (.5, .25, .25), softCE = .5·.239545 + .5·2.239545 = 1.239545; record 2 is below the cap
    found = loss(0, alpha=1, upper=0.5, variant="flatten-all")
    assert found == pytest.approx((1.239545 + 1.157415) / 2, abs=1e-6)


@pytest.mark.parametrize("variant", ["official", "flatten-all"])
def test_the_gradient_flows_through_the_soft_labels(variant):
    objective, epoch = RelaxLoss(alpha=1, variant=variant), 1 if variant == "official" else 0
    z = torch.tensor(LOGITS, dtype=torch.float64, requires_grad=True)
    objective.loss(step(epoch, z)).backward()

    def plain(z: torch.Tensor, q_of: torch.Tensor) -> float:
        """The formula written out, with the soft labels taken from other logits."""
        total = 0.0
        for row, source in zip(z, q_of, strict=True):
            p, q_y = row.softmax(0), source.softmax(0)[0]
            soft = -(q_y * p[0].log() + (1 - q_y) / 2 * (p[1].log() + p[2].log()))
            wrong = float(row.argmax() != 0)
            total += (wrong * soft + p[0].log()).item() if variant == "official" else soft.item()
        return total / len(z)

    h = 1e-3  # the loss is computed in single precision, its finite differences here in double
    through, detached = torch.zeros(2, 3), torch.zeros(2, 3)
    fixed = z.detach()
    for i in range(2):
        for k in range(3):
            d = torch.zeros(2, 3, dtype=torch.float64)
            d[i, k] = h
            through[i, k] = (plain(fixed + d, fixed + d) - plain(fixed - d, fixed - d)) / (2 * h)
            detached[i, k] = (plain(fixed + d, fixed) - plain(fixed - d, fixed)) / (2 * h)
    assert torch.allclose(z.grad.float(), through, atol=1e-5)
    assert not torch.allclose(through, detached, atol=1e-2)
