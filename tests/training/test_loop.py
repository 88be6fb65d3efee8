"""The training loop against plain numpy, its repeatability, its frozen weights and its ways to stop."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from core.config import BadInput
from core.defenses import CrossEntropy, RelaxLoss
from core.models import MLP, ConvNet
from core.models.build import build
from core.rewinding.apply import frozen
from core.training import TrainConfig, loop
from core.training.loop import batches, fit, measure, predict


@pytest.fixture(autouse=True)
def single_precision(monkeypatch):
    """The same numbers on every CPU."""
    monkeypatch.setattr(loop, "low_precision", lambda: None)


def records(n: int = 40, shape: tuple[int, ...] = (5,), classes: int = 3, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn((n, *shape), generator=generator), torch.randint(classes, (n,), generator=generator)


def small(seed: int = 0) -> nn.Module:
    return build(MLP(hidden=(8,)), (5,), 3, seed)


def convnet(seed: int = 0) -> nn.Module:
    return build(ConvNet(channels=(4, 4)), (1, 6, 6), 3, seed)


def weights(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize(("count", "schedule"), [(12, "cosine"), (11, "constant"), (9, "cosine")])
def test_training_and_scores_against_plain_numpy(count, schedule):
    """Softmax regression, SGD with momentum, weight decay and cosine written out; Σ |g·w| summed step by step."""
    recipe = TrainConfig(epochs=3, lr=0.3, momentum=0.8, weight_decay=0.01, batch_size=4, schedule=schedule)
    x, y = records(count)
    model = nn.Linear(5, 3)
    w = {name: value.numpy().astype(float) for name, value in weights(model).items()}
    found = fit(model, members=(x, y), recipe=recipe, seed=7, accumulate=True)

    order = torch.Generator().manual_seed(7)
    per_epoch = [min(4, count - start) for start in range(0, count, 4) if count - start > 1]
    total, done = 3 * len(per_epoch), 0
    speed = {name: np.zeros_like(value) for name, value in w.items()}
    sums = {name: np.zeros_like(value) for name, value in w.items()}
    for _ in range(3):
        shuffled = torch.randperm(count, generator=order).numpy()
        for i, size in enumerate(per_epoch):
            rows = shuffled[4 * i : 4 * i + size]
            a, labels = x.numpy()[rows].astype(float), y.numpy()[rows]
            z = a @ w["weight"].T + w["bias"]
            p = np.exp(z - z.max(1, keepdims=True))
            p /= p.sum(1, keepdims=True)
            p[np.arange(size), labels] -= 1
            gradients = {"weight": p.T @ a / size, "bias": p.mean(0)}
            lr = 0.3 * (0.5 * (1 + math.cos(math.pi * done / total)) if schedule == "cosine" else 1)
            for name, g in gradients.items():
                sums[name] += np.abs(g * w[name])
                speed[name] = 0.8 * speed[name] + g + 0.01 * w[name]
                w[name] = w[name] - lr * speed[name]
            done += 1

    for name, value in weights(model).items():
        np.testing.assert_allclose(value.numpy(), w[name], rtol=1e-4, atol=1e-6)
        assert found.scores[name].dtype == torch.float32
        np.testing.assert_allclose(found.scores[name].numpy(), sums[name], rtol=1e-4, atol=1e-6)


def test_the_same_seed_gives_the_same_weights_and_another_seed_others():
    results = []
    for seed in (1, 1, 2):
        model = convnet()
        x, y = records(30, (1, 6, 6))
        recipe = TrainConfig(epochs=2, batch_size=8, augment=True)
        log = fit(model, members=(x, y), recipe=recipe, seed=seed, watch={"members": (x, y)}).log
        results.append((weights(model), log))
    assert same(results[0][0], results[1][0]) and results[0][1] == results[1][1]
    assert not same(results[0][0], results[2][0])


def test_the_global_random_state_is_left_alone():
    torch.manual_seed(123)
    before = torch.get_rng_state()
    fit(small(), members=records(), recipe=TrainConfig(epochs=1), seed=0)
    assert torch.equal(torch.get_rng_state(), before)


def test_dropout_too_comes_from_the_seed():
    results = []
    for noise in (0, 1):
        torch.manual_seed(noise)
        model = nn.Sequential(small(), nn.Dropout(0.5))
        fit(model, members=records(), recipe=TrainConfig(epochs=1), seed=3)
        results.append(weights(model))
    assert same(*results)


def test_accumulating_does_not_change_the_training():
    plain, scoring = convnet(), convnet()
    members, recipe = records(30, (1, 6, 6)), TrainConfig(epochs=2, batch_size=8)
    assert fit(plain, members=members, recipe=recipe, seed=0).scores == {}
    scores = fit(scoring, members=members, recipe=recipe, seed=0, accumulate=True).scores
    assert same(weights(plain), weights(scoring))
    assert {name: s.shape for name, s in scores.items()} == {n: p.shape for n, p in plain.named_parameters()}
    assert all((s >= 0).all() and s.is_contiguous() for s in scores.values()) and scores["head.weight"].max() > 0


def test_a_weight_without_gradient_scores_nothing():
    model = nn.ModuleDict({"used": nn.Linear(5, 3), "idle": nn.Linear(5, 3)})
    model.forward = lambda x: model["used"](x)
    scores = fit(model, members=records(), recipe=TrainConfig(epochs=1), seed=0, accumulate=True).scores
    assert not scores["idle.weight"].any() and scores["used.weight"].all()


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("mode", ["A1", "A2", "A3"])
def test_frozen_weights_stay_bit_for_bit(optimizer, mode):
    model = convnet()
    start = weights(model)
    generator = torch.Generator().manual_seed(1)
    rewound = {name: torch.rand(p.shape, generator=generator) < 0.3 for name, p in model.named_parameters()}
    rewound["block2.conv.weight"][:] = False  # a layer from which nothing is rewound
    held = frozen(masks=rewound, mode=mode)
    recipe = TrainConfig(epochs=3, batch_size=8, optimizer=optimizer, weight_decay=0.1)
    fit(model, members=records(30, (1, 6, 6)), recipe=recipe, seed=0, objective=RelaxLoss(), frozen=held)
    for name, value in model.named_parameters():
        mask = held[name]
        # as bits: −0 for 0 would be a change too
        kept = value.detach()[mask].numpy().view(np.int32), start[name][mask].numpy().view(np.int32)
        np.testing.assert_array_equal(*kept)
        free = ~mask
        assert not free.any() or (value.detach()[free] != start[name][free]).float().mean() > 0.9
    assert not torch.equal(model.state_dict()["block1.norm.running_mean"], start["block1.norm.running_mean"])


def test_weights_without_a_mask_are_free():
    model, start = small(), weights(small())
    held = {"head.weight": torch.ones(3, 8, dtype=torch.bool)}
    fit(model, members=records(), recipe=TrainConfig(epochs=1), seed=0, frozen=held)
    assert torch.equal(model.state_dict()["head.weight"], start["head.weight"])
    assert not torch.equal(model.state_dict()["hidden1.weight"], start["hidden1.weight"])


def test_a_loss_that_is_not_finite_stops_in_words():
    x, y = records()
    x[3] = float("nan")
    with pytest.raises(BadInput, match=r"training stopped in epoch 1: the loss is not finite\. Lower the"):
        fit(small(), members=(x, y), recipe=TrainConfig(epochs=3), seed=0)


def test_a_learning_rate_far_too_high_stops_in_words():
    with pytest.raises(BadInput, match=r"not finite\. Lower the learning rate \(now 100\)"):
        fit(small(), members=(records()[0] * 1e6, records()[1]), recipe=TrainConfig(epochs=50, lr=100), seed=0)


def test_the_callback_sees_every_epoch_and_can_stop():
    seen = []

    def stop(epoch, rows):
        seen.append((epoch, [row["split"] for row in rows]))
        if epoch == 2:
            raise InterruptedError

    members = records()
    before = torch.get_rng_state()
    with pytest.raises(InterruptedError):
        fit(
            small(),
            members=members,
            recipe=TrainConfig(epochs=5),
            seed=0,
            watch={"members": members, "non_members": records(seed=1)},
            on_epoch=stop,
        )
    assert seen == [(1, ["members", "non_members"]), (2, ["members", "non_members"])]
    assert torch.equal(torch.get_rng_state(), before)


def test_the_log_says_what_the_model_does(monkeypatch):
    monkeypatch.setattr(loop, "WATCHED", 10)
    model, members = small(), records()
    log = fit(model, members=members, recipe=TrainConfig(epochs=2), seed=0, watch={"members": members}).log
    assert [row["records"] for row in log] == [10, 40]  # the last epoch uses all
    z = model(members[0])
    assert log[-1]["loss"] == pytest.approx(nn.functional.cross_entropy(z, members[1]).item(), abs=1e-6)
    assert log[-1]["accuracy"] == pytest.approx((z.argmax(1) == members[1]).float().mean().item())
    assert not model.training


def test_a_last_batch_of_one_record_is_left_out():
    x, y = records(9)
    sizes = [len(labels) for _, labels in batches((x, y), 4, torch.Generator().manual_seed(0))]
    assert sizes == [4, 4]
    sizes = [len(labels) for _, labels in batches((x, y), 7, torch.Generator().manual_seed(0))]
    assert sizes == [7, 2]
    fit(convnet(), members=records(9, (1, 6, 6)), recipe=TrainConfig(epochs=1, batch_size=4), seed=0)


def test_the_logged_objective_is_a_mean_over_the_records_used():
    recipe = TrainConfig(epochs=1, batch_size=8, lr=1e-12, weight_decay=0)
    model, (x, y) = nn.Linear(5, 3), records(9)
    row = fit(model, members=(x, y), recipe=recipe, seed=0, watch={"members": (x, y)}).log[0]
    used = torch.randperm(9, generator=torch.Generator().manual_seed(0))[:8]
    assert row["objective"] == pytest.approx(nn.functional.cross_entropy(model(x[used]), y[used]).item(), abs=1e-6)


def test_one_member_is_too_few():
    with pytest.raises(BadInput, match="at least 2 members"):
        fit(small(), members=records(1), recipe=TrainConfig(), seed=0)


def test_the_objective_given_wins_over_the_recipes():
    recipe = TrainConfig(epochs=1, objective=RelaxLoss(alpha=0))
    a, b = small(), small()
    fit(a, members=records(), recipe=recipe, seed=0, objective=CrossEntropy())
    fit(b, members=records(), recipe=recipe.model_copy(update={"objective": CrossEntropy()}), seed=0)
    assert same(weights(a), weights(b))


def test_predict_in_parts_is_predict_at_once_and_leaves_the_mode():
    model, (x, _) = convnet().train(), records(9, (1, 6, 6))
    whole = predict(model, x)
    assert model.training and whole.dtype == torch.float32
    assert torch.allclose(predict(model, x, size=2), whole, atol=1e-6)
    assert torch.equal(whole, predict(model, x))  # batch norm learnt nothing
    assert predict(model, x[:0]).shape[0] == 0


def test_measure_of_nothing():
    found = measure(small(), records(0))
    assert math.isnan(found["loss"]) and found["records"] == 0
