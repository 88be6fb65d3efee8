"""Every objective in training, in a whole experiment and on the command line; values below zero are no accident."""

from __future__ import annotations

import json
import shutil
import typing

import numpy as np
import pandas as pd
import pytest
import torch

from core.cli import main
from core.config import BadInput, configs_in
from core.defenses import (
    CCL,
    CRL,
    HAMP,
    PAST,
    AdversarialRegularisation,
    ConfidencePenalty,
    CrossEntropy,
    Distillation,
    LabelSmoothing,
    Objective,
    RelaxLoss,
)
from core.experiment import parse, plan, run
from core.models import MLP, ConvNet
from core.models.build import build
from core.report import text
from core.store import Store
from core.training import TrainConfig
from core.training.loop import fit
from tests.conftest import SMALL
from tests.defenses.one_batch import loss_of

NEW = [CCL(), CCL(form="ccql"), HAMP(), LabelSmoothing(), ConfidencePenalty()]
STATEFUL = [
    PAST(lam=0.01),
    PAST(plain_epochs=1),
    CRL(alpha=0.1),
    AdversarialRegularisation(),
    Distillation(),
    Distillation(on="members", temperature=4),
]
"""Those that keep something between steps, and most of them need the reference set."""
MODELS = [MLP(hidden=(12,)), ConvNet(channels=(4, 4))]
KINDS = [typing.get_args(c.model_fields["kind"].annotation)[0] for c in configs_in(Objective)]


def name(objective) -> str:
    parts = [getattr(objective, part, "") for part in ("form", "on", "plain_epochs")]
    return "-".join([objective.kind, *(str(part) for part in parts if part)])


def records(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Images [count, 1, 6, 6] of 3 classes, each a noisy pattern of its own, and labels."""
    generator = torch.Generator().manual_seed(seed)
    patterns = torch.randn((3, 1, 6, 6), generator=torch.Generator().manual_seed(0))
    y = torch.randint(3, (count,), generator=generator)
    return torch.randn((count, 1, 6, 6), generator=generator) / 2 + patterns[y], y


@pytest.mark.parametrize("objective", NEW, ids=name)
def test_extreme_and_half_precision_logits_stay_finite(objective):
    for dtype in (torch.float32, torch.bfloat16):
        z = torch.tensor([[1e4, -1e4, 0.0], [-1e4, 1e4, 0.0]], dtype=dtype, requires_grad=True)
        value = loss_of(objective, z)
        value.backward()
        assert value.dtype == torch.float32 and torch.isfinite(value) and torch.isfinite(z.grad).all()


@pytest.mark.parametrize("architecture", MODELS, ids=lambda m: m.kind)
@pytest.mark.parametrize("objective", [*NEW, *STATEFUL], ids=name)
def test_frozen_weights_stay_bit_for_bit_under_momentum_and_decay(objective, architecture):
    model = build(architecture, (1, 6, 6), 3, 0)
    generator = torch.Generator().manual_seed(1)
    start = {n: p.detach().clone() for n, p in model.named_parameters()}
    held = {n: torch.rand(p.shape, generator=generator) < 0.4 for n, p in start.items()}
    recipe = TrainConfig(epochs=2, batch_size=8, momentum=0.9, weight_decay=0.1)
    fit(
        model, members=records(30, 1), recipe=recipe, seed=0, objective=objective, frozen=held, reference=records(20, 2)
    )
    for n, value in model.named_parameters():
        kept, free = held[n], ~held[n]
        # as bits: −0 for 0 would be a change too
        bits = [w.detach()[kept].numpy().view(np.int32) for w in (value, start[n])]
        np.testing.assert_array_equal(*bits)
        assert not free.any() or (value.detach()[free] != start[n][free]).float().mean() > 0.9


@pytest.mark.parametrize("architecture", MODELS, ids=lambda m: m.kind)
@pytest.mark.parametrize("objective", STATEFUL, ids=name)
def test_training_from_scratch_learns_repeats_itself_and_is_not_plain_training(objective, architecture):
    members, recipe = records(60, 1), TrainConfig(epochs=8, batch_size=15)
    parts = {"members": members, "others": records(60, 3)}

    def train(objective, seed: int = 0):
        model = build(architecture, (1, 6, 6), 3, 0)
        run = fit(
            model, members=members, recipe=recipe, seed=seed, objective=objective, reference=records(40, 2), watch=parts
        )
        assert not model.training and not any(m._forward_pre_hooks for m in model.modules())
        return run.log, model.state_dict()

    log, state = train(objective)
    assert min(row["accuracy"] for row in log[-2:]) > 0.8
    assert all(np.isfinite(row["objective"]) for row in log)
    torch.rand(5)  # the global random state is not part of it
    again, repeated = train(objective)
    assert again == log and all(torch.equal(value, repeated[n]) for n, value in state.items())
    for other in (train(objective, seed=1)[1], train(CrossEntropy())[1]):
        assert any(not torch.equal(value, other[n]) for n, value in state.items())


@pytest.mark.parametrize("objective", [RelaxLoss(alpha=1.2), CRL(alpha=1.2)], ids=name)
def test_a_target_loss_above_that_of_guessing_is_refused_before_the_first_step(objective):
    model, recipe = build(MLP(hidden=(4,)), (1, 6, 6), 3, 0), TrainConfig(epochs=1)
    with pytest.raises(
        BadInput, match=r"alpha 1\.2 is above log K = 1\.1, .* K = 3 classes of these data: lower alpha"
    ):
        fit(model, members=records(10, 1), recipe=recipe, seed=0, objective=objective)
    fit(model, members=records(10, 1), recipe=recipe, seed=0, objective=objective.model_copy(update={"alpha": 1.0}))


@pytest.mark.parametrize("objective", [CCL(beta=1), HAMP(entropy_weight=0.5)], ids=name)
def test_training_goes_on_below_zero_and_logs_cross_entropy_beside_it(objective):
    model = build(ConvNet(channels=(4, 4)), (1, 6, 6), 3, 0)
    generator = torch.Generator().manual_seed(1)
    members = torch.randn((30, 1, 6, 6), generator=generator), torch.randint(3, (30,), generator=generator)
    log = fit(
        model,
        members=members,
        recipe=TrainConfig(epochs=3, batch_size=15, objective=objective),
        seed=0,
        watch={"members": members},
    ).log
    assert log[-1]["objective"] < 0 < log[-1]["loss"] and log[-1]["objective"] < log[0]["objective"]


@pytest.fixture(scope="module")
def store(finished, tmp_path_factory) -> Store:
    """A copy of the finished store: training and scores are there, only the fine-tuning differs."""
    root = tmp_path_factory.mktemp("objectives") / "runs"
    shutil.copytree(finished[0].root, root)
    return Store(root)


BELOW_ZERO = [{"kind": "ccl", "alpha": 0}, {"kind": "hamp", "entropy_weight": 0.5}]


@pytest.mark.parametrize(
    "objective",
    [
        *BELOW_ZERO,
        *({"kind": kind} for kind in ("label_smoothing", "confidence_penalty", "past", "crl", "adversarial")),
        {"kind": "distillation"},
        {"kind": "distillation", "on": "members"},
        {"kind": "hamp", "test_time": True},
    ],
    ids=str,
)
def test_fine_tuning_in_a_whole_experiment(store, finished, objective):
    value = json.loads(json.dumps(SMALL))
    value["defence"]["finetune"]["objective"] = objective
    e = parse(value)
    found = run(e, store)
    log = pd.read_parquet(store.path(plan(e)["defended"]) / "log.parquet")
    assert np.isfinite(log["objective"]).all() and (log["loss"] > 0).all()
    assert (log["objective"] < 0).all() == (objective in BELOW_ZERO)
    assert e.hash != finished[1].hash and "accuracy" in text(found) and json.dumps(found["after"], allow_nan=False)


def test_the_command_line_knows_every_objective(capsys):
    with pytest.raises(SystemExit):
        main(["run", "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert f"One of: {', '.join(KINDS)}." in shown
    for config in configs_in(Objective):
        for field, info in config.model_fields.items():
            assert field == "kind" or (f"--defence.finetune.objective.{field} " in shown and info.description)
