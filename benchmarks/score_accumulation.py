"""Claim: accumulating |g·w| per weight adds at most 10 % to the time of the same forwards and backwards without it.

    python benchmarks/score_accumulation.py [--repeats 9]

The training loop itself (`core.training.loop.fit`) runs with and without accumulation in turn, on random records.
Ratios, each the median over pairs of neighbouring runs: of whole training steps, optimiser included ("step"), and of
forward + backward + accumulation to forward + backward alone ("fw+bw"). "least" is the latter for a part of the work
that no implementation can do without: to read every gradient and weight once and multiply them. On a CPU one thread
is used and its processor time counted, which other work on the machine disturbs least; on a GPU it is wall time.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from statistics import median

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from core.models import MLP, ConvNet, ModelConfig, ResNet18
from core.pipeline import make
from core.training import TrainConfig
from core.training.device import device, fast_layout
from core.training.loop import Scorer, fit

SETTINGS: dict[str, tuple[ModelConfig, tuple[int, ...], int, int, int]] = {
    "digits ConvNet": (ConvNet(), (1, 8, 8), 10, 128, 10),
    "MLP 446-256-128-30": (MLP(), (446,), 30, 128, 100),
    "ResNet-18": (ResNet18(), (3, 32, 32), 10, 128 if device().type == "cuda" else 32, 2),
}
"""Architecture, shape of a record, classes, records per step, steps per run."""


def now() -> float:
    """Seconds on the clock that suits the device."""
    if device().type == "cuda":
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


def seconds(name: str, *, accumulate: bool) -> float:
    """Time of one run, from a fresh model."""
    config, shape, classes, batch, steps = SETTINGS[name]
    generator = torch.Generator().manual_seed(0)
    x = torch.randn((batch * steps, *shape), generator=generator).to(device())
    y = torch.randint(classes, (batch * steps,), generator=generator).to(device())
    model = make(config, shape, classes)
    recipe = TrainConfig(epochs=1, batch_size=batch)
    start = now()
    fit(model, members=(x, y), recipe=recipe, seed=0, accumulate=accumulate)
    return now() - start


def alone(name: str, repeats: int) -> tuple[float, float]:
    """Forward + backward + accumulation over forward + backward, and the same with g·w alone: medians over
    neighbours."""
    config, shape, classes, batch, steps = SETTINGS[name]
    generator = torch.Generator().manual_seed(0)
    x = fast_layout(torch.randn((batch, *shape), generator=generator).to(device()))
    y = torch.randint(classes, (batch,), generator=generator).to(device())
    model = make(config, shape, classes)
    scorer, products = Scorer(model), [torch.empty_like(p) for p in model.parameters()]

    def multiply() -> None:
        with torch.no_grad():
            for product, weight in zip(products, model.parameters(), strict=True):
                torch.mul(weight.grad, weight, out=product)

    ratios = []
    for _ in range(repeats * steps):
        took = []
        for more in (lambda: None, scorer.add, multiply):
            model.zero_grad(set_to_none=True)
            start = now()
            torch.nn.functional.cross_entropy(model(x), y).backward()
            more()
            took.append(now() - start)
        ratios.append((took[1] / took[0], took[2] / took[0]))
    return median(a for a, _ in ratios), median(b for _, b in ratios)


def measure(name: str, repeats: int) -> dict[str, float]:
    """Milliseconds per step without and with accumulation, their ratio, and those of forward and backward alone."""
    steps = SETTINGS[name][-1]
    seconds(name, accumulate=True)  # warms caches and memory up
    pairs = []
    for repeat in range(repeats):
        order = (False, True) if repeat % 2 else (True, False)
        took = {accumulate: seconds(name, accumulate=accumulate) for accumulate in order}
        pairs.append((took[False], took[True]))
    whole, least = alone(name, repeats)
    return {
        "plain_ms": 1000 * median(a for a, _ in pairs) / steps,
        "accumulating_ms": 1000 * median(b for _, b in pairs) / steps,
        "step_ratio": median(b / a for a, b in pairs),
        "fw_bw_ratio": whole,
        "least_ratio": least,
    }


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--repeats", type=int, default=9)
    repeats = options.parse_args().repeats
    torch.set_num_threads(1)
    found = {name: measure(name, repeats) for name in SETTINGS}
    print(f"{'':22}{'plain':>10}{'scoring':>10}{'step':>8}{'fw+bw':>8}{'least':>8}")
    for name, row in found.items():
        times = f"{row['plain_ms']:>7.2f} ms{row['accumulating_ms']:>7.2f} ms"
        print(f"{name:22}{times}{row['step_ratio']:>8.3f}{row['fw_bw_ratio']:>8.3f}{row['least_ratio']:>8.3f}")
    print(json.dumps({"device": str(device()), "torch": torch.__version__, "settings": found}))


if __name__ == "__main__":
    main()
