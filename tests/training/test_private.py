"""DP-SGD in the loop against a slow one in plain torch: batches, clipping, noise, frozen weights, what it leaves."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from opacus.utils.uniform_sampler import UniformWithReplacementSampler
from torch import nn
from torch.nn.functional import cross_entropy

from core.config import BadInput
from core.defenses import DPSGD
from core.models import MLP, ConvNet, ResNet18, ViT
from core.models.build import build
from core.training import TrainConfig
from core.training.accounting import epsilon
from core.training.loop import fit
from core.training.private import Private

pytestmark = pytest.mark.filterwarnings("error")

MODELS = [
    MLP(hidden=(8,)),
    ConvNet(channels=(4, 6), norm="group"),
    ResNet18(width=8, norm="group"),
    ViT(dim=12, depth=1, heads=2),
]


SHAPE = (1, 12, 12)
"""On smaller images the group norm of the small ResNet-18's last stage would be over two numbers, which is chaotic."""


def records(n: int = 24, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn((n, *SHAPE), generator=generator), torch.randint(3, (n,), generator=generator)


def net(config=MODELS[0], seed: int = 0) -> nn.Module:
    return build(config, SHAPE, 3, seed)


def weights(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def recipe(**given) -> TrainConfig:
    return TrainConfig(**({"epochs": 1, "batch_size": 8, "lr": 0.1} | given))


def slowly(model, objective, *, recipe, seed, frozen=None) -> list[float]:
    """DP-SGD of plain SGD with momentum, weight decay and cosine, record by record; returns all gradient norms."""
    x, y = records()
    start, frozen = weights(model), frozen or {}
    draws = torch.Generator().manual_seed(seed)
    noise = torch.Generator().manual_seed(int(torch.randint(2**62, (), generator=draws)))
    steps = recipe.epochs * math.ceil(len(y) / recipe.batch_size)
    named = dict(model.named_parameters())
    free = {n: 1.0 - frozen[n].float() if n in frozen else torch.ones_like(p) for n, p in named.items()}
    speed = {n: torch.zeros_like(p) for n, p in named.items()}
    norms = []
    for step in range(steps):
        sums = {n: torch.zeros_like(p) for n, p in named.items()}
        for i in (torch.rand(len(y), generator=draws) < recipe.batch_size / len(y)).nonzero().flatten():
            loss = cross_entropy(model(x[i : i + 1]), y[i : i + 1])
            own = dict(zip(named, torch.autograd.grad(loss, named.values()), strict=True))
            own = {n: g * free[n] for n, g in own.items()}
            norms.append(math.sqrt(sum(float((g**2).sum()) for g in own.values())))
            for n, g in own.items():
                sums[n] += g * min(1.0, objective.clip / norms[-1])
        lr = recipe.lr * 0.5 * (1 + math.cos(math.pi * step / steps))
        with torch.no_grad():
            for n, p in named.items():
                blur = torch.empty(p.shape).normal_(0, objective.sigma * objective.clip, generator=noise)
                gradient = (sums[n] + blur) / recipe.batch_size * free[n]
                speed[n] = recipe.momentum * speed[n] + gradient + recipe.weight_decay * p
                p -= lr * speed[n]
                if n in frozen:
                    p.copy_(torch.where(frozen[n], start[n], p))
    return norms


@pytest.mark.parametrize("sigma", [0.0, 0.7])
@pytest.mark.parametrize("config", MODELS, ids=lambda c: c.kind)
def test_training_is_that_of_a_plain_loop_over_records(config, sigma):
    run = recipe(lr=0.01)
    norms = slowly(net(config), DPSGD(sigma=sigma), recipe=run, seed=5)
    objective = DPSGD(sigma=sigma, clip=float(np.median(norms)), physical_batch=3)  # half of the gradients are clipped
    ours, plain = net(config), net(config)
    slowly(plain, objective, recipe=run, seed=5)
    fit(ours, members=records(), recipe=run, seed=5, objective=objective)
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value, rtol=1e-4, atol=1e-5)
    assert (plain.state_dict()[name] - net(config).state_dict()[name]).abs().max() > 1e-3


def test_one_step_by_hand():
    """Softmax regression from zero on two records of one class: gradients (½, −½)·x, of norm |x|/√2 (no bias)."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(2, 2, bias=False))
    nn.init.zeros_(model[1].weight)
    x, y = torch.tensor([[6.0, 8.0], [0.0, 0.2]]), torch.tensor([1, 1])
    # |x| = 10 and .2: norms 7.07 and .141; clipped to 1, the first is (½, −½)·(6, 8)/(10/√2)
    steady = recipe(batch_size=2, lr=1, momentum=0, weight_decay=0, schedule="constant")
    fit(model, members=(x, y), recipe=steady, seed=0, objective=DPSGD(sigma=0, clip=1))
    row = (torch.tensor([6.0, 8.0]) / (10 * math.sqrt(2)) + torch.tensor([0.0, 0.1])) / 2
    torch.testing.assert_close(model[1].weight.detach(), torch.stack([-row, row]), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("config", MODELS, ids=lambda c: c.kind)
def test_frozen_weights_stay_bit_for_bit_under_noise(config, optimizer):
    model = net(config)
    start, generator = weights(model), torch.Generator().manual_seed(1)
    held = {n: torch.rand(p.shape, generator=generator) < 0.5 for n, p in model.named_parameters()}
    run = recipe(epochs=2, optimizer=optimizer, weight_decay=0.1)
    fit(model, members=records(), recipe=run, seed=0, objective=DPSGD(sigma=2, physical_batch=4), frozen=held)
    for name, value in model.named_parameters():
        bits = [w.detach()[held[name]].numpy().view(np.int32) for w in (value, start[name])]
        np.testing.assert_array_equal(*bits)
        free = ~held[name]
        assert not free.any() or (value.detach()[free] != start[name][free]).all()


def test_frozen_weights_take_no_part_in_the_clipping():
    config = MODELS[1]
    generator = torch.Generator().manual_seed(1)
    held = {n: torch.rand(p.shape, generator=generator) < 0.7 for n, p in net(config).named_parameters()}
    objective = DPSGD(sigma=0.5, clip=0.05)  # every gradient is clipped, so a frozen part of the norm would show
    ours, plain = net(config), net(config)
    norms = slowly(plain, objective, recipe=recipe(), seed=2, frozen=held)
    assert min(norms) > objective.clip
    fit(ours, members=records(), recipe=recipe(), seed=2, objective=objective, frozen=held)
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value, rtol=1e-4, atol=1e-6)


def test_the_seed_decides_batches_and_noise():
    found = []
    for seed in (1, 1, 2):
        model = net()
        run = fit(model, members=records(), recipe=recipe(), seed=seed, objective=DPSGD(sigma=1))
        found.append((model.state_dict()["head.weight"], run.privacy))
    assert torch.equal(found[0][0], found[1][0]) and not torch.equal(found[0][0], found[2][0])
    assert found[0][1] == found[1][1] == found[2][1]


def private(members, objective=None, batch_size=8) -> Private:
    model = nn.Linear(2, 2)
    for p in model.parameters():
        p.grad_sample = None
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    generator = torch.Generator().manual_seed(3)
    return Private(objective or DPSGD(sigma=1), optimizer, members, batch_size=batch_size, steps=9, generator=generator)


def test_batches_are_opacus_poisson_draws_in_parts():
    n = 100
    run = private((torch.arange(n), torch.arange(n)), DPSGD(sigma=1, physical_batch=3))
    state = run.generator.get_state()
    drawn: list[list[int]] = [[]]
    for rows, labels in run.batches(40):
        assert torch.equal(rows, labels) and len(rows) <= 3
        drawn[-1] += rows.tolist()
        if run.complete:
            drawn.append([])
    theirs = torch.Generator()
    theirs.set_state(state)
    assert drawn[:-1] == list(
        UniformWithReplacementSampler(num_samples=n, sample_rate=0.08, generator=theirs, steps=40)
    )
    assert run.steps == 40


def test_noise_does_not_follow_from_the_batches():
    run = private(records())
    assert run.optimizer.generator.initial_seed() not in (run.generator.initial_seed(), 3)


@pytest.mark.parametrize("config", MODELS, ids=lambda c: c.kind)
def test_a_step_that_draws_nobody_is_noise_alone(config):
    x, y = records(60)
    model, start = net(config), weights(net(config))
    # 2 of 60: about one step in seven is empty
    run = recipe(batch_size=2, lr=1e-3, momentum=0, weight_decay=0, schedule="constant")
    log = fit(model, members=(x, y), recipe=run, seed=0, objective=DPSGD(sigma=1), watch={"members": (x, y)}).log
    generator = torch.Generator().manual_seed(0)
    torch.randint(2**62, (), generator=generator)
    sizes = [int((torch.rand(60, generator=generator) < 2 / 60).sum()) for _ in range(30)]
    assert 0 in sizes and math.isfinite(log[-1]["objective"])
    # √30 steps of noise of lr·σ/2 each
    moved = torch.cat([(model.state_dict()[n] - start[n]).flatten() for n in start])
    assert moved.std() == pytest.approx(1e-3 * math.sqrt(30) / 2, rel=0.3)


@pytest.mark.parametrize("config", MODELS, ids=lambda c: c.kind)
def test_the_model_is_left_as_it_was_and_trains_on(config):
    model, fresh = net(config), net(config)
    fit(model, members=records(), recipe=recipe(), seed=0, objective=DPSGD(sigma=1))
    assert list(model.state_dict()) == list(fresh.state_dict()) and not model.training
    for used, new in zip(model.modules(), fresh.modules(), strict=True):
        assert set(used.__dict__) == set(new.__dict__)
        assert not used._forward_hooks and not used._backward_hooks
    for used, new in zip(model.parameters(), fresh.parameters(), strict=True):
        assert used.__dict__ == new.__dict__ == {}
    fresh.load_state_dict(model.state_dict())
    for one in (model, fresh):
        fit(one, members=records(), recipe=recipe(), seed=0)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), fresh.parameters(), strict=True))


def test_a_run_that_is_stopped_leaves_no_hooks():
    model = net(MODELS[1])

    def stop(epoch, rows):
        raise InterruptedError

    with pytest.raises(InterruptedError):
        fit(model, members=records(), recipe=recipe(), seed=0, objective=DPSGD(sigma=1), on_epoch=stop)
    assert not any(module._forward_hooks or module._backward_hooks for module in model.modules())


def test_the_account_is_that_of_the_steps_taken():
    run = recipe(epochs=5)
    privacy = fit(net(), members=records(), recipe=run, seed=0, objective=DPSGD(sigma=1.2), stop_after=2).privacy
    spent, accountant = epsilon(sigma=1.2, rate=8 / 24, steps=6, delta=1 / 48)
    assert privacy == {
        "epsilon": spent,
        "delta": 1 / 48,
        "sigma": 1.2,
        "accountant": accountant,
        "clip": 1.0,
        "sampling_rate": 8 / 24,
        "steps": 6,
    }
    aim = DPSGD(target_epsilon=2, accountant="rdp")
    aimed = fit(net(), members=records(), recipe=run, seed=0, objective=aim, stop_after=2).privacy
    assert 1.9 < aimed["epsilon"] <= 2 and aimed["steps"] == 6
    assert fit(net(), members=records(), recipe=run, seed=0, objective=DPSGD(sigma=0)).privacy["epsilon"] is None
    assert fit(net(), members=records(), recipe=run, seed=0).privacy is None


def test_the_learning_rate_falls_once_per_step_not_per_part():
    ends = []
    for physical in (2, 64):
        model = net()
        fit(
            model, members=records(), recipe=recipe(epochs=2), seed=0, objective=DPSGD(sigma=1, physical_batch=physical)
        )
        ends.append(weights(model))
    for name in ends[0]:
        torch.testing.assert_close(ends[0][name], ends[1][name], rtol=1e-4, atol=1e-6)


def test_what_dp_sgd_cannot_do_is_refused():
    with pytest.raises(BadInput, match=r"set model\.norm to group"):
        fit(net(ConvNet(channels=(4,))), members=records(), recipe=recipe(), seed=0, objective=DPSGD())
    with pytest.raises(BadInput, match=r"batches of 32 from 24 members: lower train\.batch_size to at most 24"):
        fit(net(), members=records(), recipe=recipe(batch_size=32), seed=0, objective=DPSGD(sigma=1))
    with pytest.raises(BadInput, match="accumulate them with another objective"):
        fit(net(), members=records(), recipe=recipe(), seed=0, objective=DPSGD(sigma=1), accumulate=True)
    assert fit(net(), members=records(), recipe=recipe(batch_size=24), seed=0, objective=DPSGD(sigma=1)).privacy


def test_it_learns():
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(200) % 2
    x = 0.3 * torch.randn((200, *SHAPE), generator=generator) + (y * 2.0 - 1)[:, None, None, None]
    model = net(MODELS[1])
    run = recipe(epochs=4, batch_size=50, lr=0.2)
    log = fit(model, members=(x, y), recipe=run, seed=0, objective=DPSGD(sigma=1), watch={"members": (x, y)}).log
    assert log[-1]["accuracy"] > 0.95 and log[-1]["objective"] < log[0]["objective"]
