"""Claim: 8 reference models of a ConvNet on CIFAR-10 with 4 000 members take at most 0.55 of the time of training the
same 8 one after the other in fp32 with all threads in a plain loop.

    python benchmarks/shadow_speed.py --data cifar10-train.parquet [--epochs 2]

Three ways in one run, on the same records, architecture and recipe:
*plain*: a PyTorch loop as one would write it, default memory layout, one model after the other, all threads;
*ours, one after the other*: this project's loop (channels-last, bf16 where the processor has it), all threads;
*ours*: the fan-out of an audit, one thread per process, the start of the processes and the questions to the finished
models included. Few epochs are enough for a ratio; the start of the processes then weighs more than in a real audit.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from sweeps import experiment

from core.attacks.design import design_matrix
from core.data import Dataset
from core.data.to_tensors import tensors
from core.experiment import Experiment, plan
from core.models.build import build
from core.pipeline import Records, make, train
from core.progress import Progress
from core.store import Store
from core.training.device import device, low_precision

MODELS = 8


def plain_loop(dataset: Dataset, e: Experiment, inside: np.ndarray) -> None:
    """What a script without this project would do."""
    x, y = tensors(dataset, dataset.audited[inside], device())
    model = build(e.model, dataset.shape, len(dataset.classes), 0).to(device())
    optimizer = torch.optim.SGD(model.parameters(), e.train.lr, e.train.momentum, weight_decay=e.train.weight_decay)
    for _ in range(e.train.epochs):
        order = torch.randperm(len(y), device=y.device)
        for start in range(0, len(y), e.train.batch_size):
            rows = order[start : start + e.train.batch_size]
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()


def ours(dataset: Dataset, e: Experiment, inside: np.ndarray) -> None:
    """The project's loop in this process."""
    records = Records(tensors(dataset, dataset.audited[inside], device()))
    train(make(e.model, dataset.shape, len(dataset.classes), 0), records, recipe=e.train, seed=0, scores=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=2)
    given = parser.parse_args()
    audit = {"attacks": ["loss", "lira"], "shadows": {"models": MODELS}, "gradient_records": 0}
    recipe = {"epochs": given.epochs, "lr": 0.05, "batch_size": 64}
    e = experiment("cifar10", given.data, audit=audit, train=recipe, defence=None)
    with tempfile.TemporaryDirectory() as folder:
        store, took = Store(folder), {}
        stages = plan(e)
        dataset = Dataset.read(store.ensure(stages["data"], Progress()))
        inside = design_matrix(models=MODELS, points=len(dataset.audited), seed=0)
        for name, work in (("plain", plain_loop), ("ours, one after the other", ours)):
            start = time.perf_counter()
            for rows in inside:
                work(dataset, e, rows)
            took[name] = time.perf_counter() - start
        start = time.perf_counter()
        store.ensure(stages["shadows"], Progress())
        took["ours"] = time.perf_counter() - start
    for name, seconds in took.items():
        print(f"{name:28}{seconds:8.1f} s   {seconds / took['plain']:.2f} of plain")
    print(f"ours / ours one after the other: {took['ours'] / took['ours, one after the other']:.2f}")
    about = {"epochs": given.epochs, "cores": os.cpu_count(), "threads": torch.get_num_threads()}
    print(json.dumps(took | about | {"device": str(device()), "bf16": low_precision() is not None}))


if __name__ == "__main__":
    main()
