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
from core.config import configs_in
from core.defenses import CCL, HAMP, ConfidencePenalty, LabelSmoothing, Objective
from core.experiment import parse, plan, run
from core.models import ConvNet
from core.models.build import build
from core.report import text
from core.store import Store
from core.training import TrainConfig
from core.training.loop import fit
from tests.conftest import SMALL
from tests.defenses.one_batch import loss_of

NEW = [CCL(), CCL(form="ccql"), HAMP(), LabelSmoothing(), ConfidencePenalty()]
KINDS = [typing.get_args(c.model_fields["kind"].annotation)[0] for c in configs_in(Objective)]


def name(objective) -> str:
    return f"{objective.kind}-{getattr(objective, 'form', '')}".rstrip("-")


@pytest.mark.parametrize("objective", NEW, ids=name)
def test_extreme_and_half_precision_logits_stay_finite(objective):
    for dtype in (torch.float32, torch.bfloat16):
        z = torch.tensor([[1e4, -1e4, 0.0], [-1e4, 1e4, 0.0]], dtype=dtype, requires_grad=True)
        value = loss_of(objective, z)
        value.backward()
        assert value.dtype == torch.float32 and torch.isfinite(value) and torch.isfinite(z.grad).all()


@pytest.mark.parametrize("objective", NEW, ids=name)
def test_frozen_weights_stay_bit_for_bit_under_momentum_and_decay(objective):
    model = build(ConvNet(channels=(4, 4)), (1, 6, 6), 3, 0)
    generator = torch.Generator().manual_seed(1)
    start = {n: p.detach().clone() for n, p in model.named_parameters()}
    held = {n: torch.rand(p.shape, generator=generator) < 0.4 for n, p in start.items()}
    x, y = torch.randn((30, 1, 6, 6), generator=generator), torch.randint(3, (30,), generator=generator)
    recipe = TrainConfig(epochs=2, batch_size=8, momentum=0.9, weight_decay=0.1)
    fit(model, members=(x, y), recipe=recipe, seed=0, objective=objective, frozen=held)
    for n, value in model.named_parameters():
        kept, free = held[n], ~held[n]
        # as bits: −0 for 0 would be a change too
        bits = [w.detach()[kept].numpy().view(np.int32) for w in (value, start[n])]
        np.testing.assert_array_equal(*bits)
        assert not free.any() or (value.detach()[free] != start[n][free]).float().mean() > 0.9


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
    "objective", [*BELOW_ZERO, {"kind": "label_smoothing"}, {"kind": "confidence_penalty"}], ids=str
)
def test_fine_tuning_in_a_whole_experiment(store, finished, objective):
    value = json.loads(json.dumps(SMALL))
    value["defence"]["finetune"]["objective"] = objective
    e = parse(value)
    found = run(e, store)
    log = pd.read_parquet(store.path(plan(e)["rewind"]) / "log.parquet")
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
