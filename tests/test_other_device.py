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

SIZES = {"kind": "digits", "members": 40, "non_members": 40, "reference": 40, "population": 60}
BASE: dict[str, Any] = {
    "data": SIZES,
    "model": {"kind": "convnet", "channels": [4, 4]},
    "train": {"epochs": 2, "batch_size": 20},
    "defence": {"kind": "cwrf", "finetune": {"epochs": 2}},
    "audit": {"attacks": ["loss"], "gradient_records": 8},
}
CASES: dict[str, dict[str, Any]] = {
    "every attack": {
        "audit": {"attacks": list(ATTACKS), "gradient_records": 8, "shadows": {"models": 4, "queries": 2}},
        "train": {"epochs": 2, "batch_size": 20, "augment": True},
    },
    "onion in two rounds": {"onion": True, "defence": {"kind": "cwrf", "rounds": 2, "finetune": {"epochs": 2}}},
    "ResNet-18": {"model": {"kind": "resnet18", "width": 8}},
    "ViT": {"model": {"kind": "vit", "dim": 24, "depth": 1, "heads": 3}},
    "MLP, AdamW": {"model": {"kind": "mlp"}, "train": {"epochs": 2, "batch_size": 20, "optimizer": "adamw"}},
}
for objective in get_args(get_args(Objective)[0]):
    kind = objective.model_fields["kind"].default
    CASES[kind] = {"model": {"kind": "mlp"}, "defence": {"kind": "scratch", "objective": {"kind": kind}}}


@pytest.mark.slow
def test_every_part_of_the_engine_gives_the_cpus_numbers_on_another_device(tmp_path):
    experiments = {name: BASE | case for name, case in CASES.items()}
    script = Path(__file__).with_name("other_device.py")
    done = subprocess.run(
        [sys.executable, script, json.dumps(list(experiments.values()))], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    elsewhere = json.loads(done.stdout.splitlines()[-1])
    for (name, experiment), there in zip(experiments.items(), elsewhere, strict=True):
        here = run(Experiment.model_validate(experiment), Store(tmp_path))
        for when in ("before", "after"):
            assert there[when]["not_run"] == here[when]["not_run"], name
            assert numbers(there[when]) == pytest.approx(numbers(here[when]), abs=0.03), (
                name
            )  # rounding grows in batch norm


@pytest.mark.slow
def test_every_part_of_the_engine_trains_in_bf16(tmp_path, monkeypatch):
    """Autocast runs on any CPU, only slowly; reference models are trained in this process, where it is switched on."""
    used = []
    monkeypatch.setattr(loop, "low_precision", lambda: torch.bfloat16)
    monkeypatch.setattr(loop, "autocast", lambda dtype: used.append(dtype) or autocast(dtype))
    monkeypatch.setattr(
        parallel, "fan_out", lambda function, tasks, *, shared=(), **how: (function(*shared, *task) for task in tasks)
    )
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
    """The stand-in refuses what CUDA refuses, else the test above would show nothing."""
    script = (
        "import torch, other_device; library = other_device.install(); there = torch.ones(2, device='elsewhere')\n"
        "for wrong in (lambda: there + torch.ones(2), lambda: torch.cat([there, torch.ones(2)]), there.numpy):\n"
        "    try: wrong()\n"
        "    except (RuntimeError, TypeError): print('refused')\n"
        "print((there + there.sum().cpu()).cpu().tolist(), there[torch.tensor([0])].device.type)"
    )
    folder = Path(__file__).parent
    done = subprocess.run([sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == [*3 * ["refused"], "[3.0, 3.0] elsewhere"], done.stderr
