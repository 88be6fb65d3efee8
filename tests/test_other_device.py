"""The whole engine as a GPU runs it: on a device that is not the CPU, where nothing is left behind, and in bf16."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch

from core import parallel
from core.attacks import ATTACKS
from core.defenses import Objective
from core.experiment import Experiment, run
from core.store import Store
from core.training import loop
from core.training.device import autocast
from tests import other_device

SIZES = {"kind": "digits", "members": 40, "non_members": 40, "reference": 40, "population": 60}
BASE: dict[str, Any] = {
    "data": SIZES,
    "model": {"kind": "convnet", "channels": [4, 4]},
    "train": {"epochs": 2, "batch_size": 20, "lr": 0.001},  # else batch norm magnifies rounding
    "defence": {"kind": "cwrf", "finetune": {"epochs": 2}},
    "audit": {"attacks": ["loss"], "gradient_records": 8},
}
CASES: dict[str, dict[str, Any]] = {
    "every attack": {
        "audit": {"attacks": list(ATTACKS), "gradient_records": 8, "shadows": {"models": 4, "queries": 2}},
        "train": {"epochs": 2, "batch_size": 20, "lr": 0.001, "augment": True},
    },
    "onion in two rounds": {"onion": True, "defence": {"kind": "cwrf", "rounds": 2, "finetune": {"epochs": 2}}},
    "ResNet-18": {"model": {"kind": "resnet18", "width": 8}},
    "ViT": {"model": {"kind": "vit", "dim": 24, "depth": 1, "heads": 3}},
    "MLP, AdamW": {
        "model": {"kind": "mlp"},
        "train": {"epochs": 2, "batch_size": 20, "lr": 0.001, "optimizer": "adamw"},
    },
}
for objective in get_args(get_args(Objective)[0]):
    kind = objective.model_fields["kind"].default
    CASES[kind] = {"model": {"kind": "mlp"}, "defence": {"kind": "scratch", "objective": {"kind": kind}}}


@pytest.fixture
def in_this_process(monkeypatch):
    """Reference models trained here, where the number format is set."""
    monkeypatch.setattr(parallel, "fan_out", other_device.in_this_process)


@pytest.mark.slow
def test_every_part_of_the_engine_gives_the_cpus_numbers_on_another_device(tmp_path, monkeypatch, in_this_process):
    experiments = {name: BASE | case for name, case in CASES.items()}
    script = Path(__file__).with_name("other_device.py")
    done = subprocess.run(
        [sys.executable, script, json.dumps(list(experiments.values()))], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    elsewhere = json.loads(done.stdout.splitlines()[-1])
    monkeypatch.setattr(loop, "low_precision", lambda: None)
    for (name, experiment), there in zip(experiments.items(), elsewhere, strict=True):
        assert there["operations"] > 1000, name  # it did run there
        here = run(Experiment.model_validate(experiment), Store(tmp_path))
        for when in ("before", "after"):
            assert there[when]["not_run"] == here[when]["not_run"] == {}, name
            # as much because batch norm magnifies differences in rounding
            assert numbers(there[when]) == pytest.approx(numbers(here[when]), abs=0.03), name


@pytest.mark.slow
def test_every_part_of_the_engine_trains_in_bf16(tmp_path, monkeypatch, in_this_process):
    """Autocast runs on any CPU, only slowly."""
    used = []
    monkeypatch.setattr(loop, "low_precision", lambda: torch.bfloat16)
    monkeypatch.setattr(loop, "autocast", lambda dtype: used.append(dtype) or autocast(dtype))
    for name, case in CASES.items():
        used.clear()
        after = run(Experiment.model_validate(BASE | case), Store(tmp_path / name))["after"]
        assert not after["not_run"] and np.isfinite(list(numbers(after).values())).all(), name
        assert set(used) == ({torch.bfloat16, None} if name == "dpsgd" else {torch.bfloat16}), name


def numbers(side: dict[str, Any]) -> dict[str, float]:
    """Losses, accuracies and the AUC of every attack; sums in another order differ in the last digit."""
    found = {name: side[name] for name in ("train_loss", "test_loss", "train_accuracy", "test_accuracy")}
    return found | {name: row["auc"] for name, row in side["attacks"].items()}


def test_tensors_of_two_devices_do_not_mix():
    """The stand-in refuses what CUDA refuses and takes what CUDA takes, else the first test would show nothing."""
    done = subprocess.run(
        [sys.executable, "-c", MIXED], cwd=Path(__file__).parent, capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines() == [*10 * ["refused"], "[3.0, 3.0] [1.0, 7.0] 1.0"], done.stderr


MIXED = """
import torch, other_device
library = other_device.install()
there, here = torch.ones(2, device="elsewhere"), torch.ones(2)
index, number = torch.tensor([0]), torch.ones(())
wrong = (
    lambda: there + here,
    lambda: here + there.sum(),
    lambda: torch.cat([there, here]),
    lambda: torch.stack([there.sum(), number]),
    lambda: here[index.to("elsewhere")],
    lambda: there.index_select(0, index),
    lambda: there.index_put_((index,), here[:1]),
    lambda: here.index_put_((index,), there[:1]),
    lambda: number.add_(there.sum()),
    there.numpy,
)
for one in wrong:
    try:
        one()
    except (RuntimeError, TypeError):
        print("refused")
there[torch.tensor([1])] = 7.0
print((torch.ones(2, device="elsewhere") + 2 * number).cpu().tolist(), there.cpu().tolist(), there[index].item())
"""
