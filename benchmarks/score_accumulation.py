"""Claim: accumulating |g·w| per weight adds at most 10 % to the time of the same forwards and backwards without it.

    python benchmarks/score_accumulation.py [--repeats 9]

The training loop itself (`core.training.loop.fit`) runs with and without accumulation in turn, on random records. Two
ratios, each the median over pairs of neighbouring runs: of whole training steps, optimiser included ("step"), and of
forward + backward + accumulation to forward + backward alone ("fw+bw"). On a CPU one thread is used and its
processor time counted, which other work on the machine disturbs least; on a GPU it is wall time.
"""

from __future__ import annotations

import argparse
import json
import time
from statistics import median

import torch

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


def alone(name: str, repeats: int) -> float:
    """Forward + backward + accumulation over forward + backward: median over neighbouring pairs."""
    config, shape, classes, batch, steps = SETTINGS[name]
    generator = torch.Generator().manual_seed(0)
    x = fast_layout(torch.randn((batch, *shape), generator=generator).to(device()))
    y = torch.randint(classes, (batch,), generator=generator).to(device())
    model = make(config, shape, classes)
    scorer, ratios = Scorer(model), []
    for _ in range(repeats * steps):
        took = {}
        for accumulate in (False, True):
            model.zero_grad(set_to_none=True)
            start = now()
            torch.nn.functional.cross_entropy(model(x), y).backward()
            if accumulate:
                scorer.add()
            took[accumulate] = now() - start
        ratios.append(took[True] / took[False])
    return median(ratios)


def measure(name: str, repeats: int) -> dict[str, float]:
    """Milliseconds per step without and with accumulation, their ratio, and that of forward and backward alone."""
    steps = SETTINGS[name][-1]
    seconds(name, accumulate=True)  # warms caches and memory up
    pairs = []
    for repeat in range(repeats):
        order = (False, True) if repeat % 2 else (True, False)
        took = {accumulate: seconds(name, accumulate=accumulate) for accumulate in order}
        pairs.append((took[False], took[True]))
    return {
        "plain_ms": 1000 * median(a for a, _ in pairs) / steps,
        "accumulating_ms": 1000 * median(b for _, b in pairs) / steps,
        "step_ratio": median(b / a for a, b in pairs),
        "fw_bw_ratio": alone(name, repeats),
    }


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--repeats", type=int, default=9)
    repeats = options.parse_args().repeats
    torch.set_num_threads(1)
    found = {name: measure(name, repeats) for name in SETTINGS}
    print(f"{'':22}{'plain':>10}{'scoring':>10}{'step':>8}{'fw+bw':>8}")
    for name, row in found.items():
        times = f"{row['plain_ms']:>7.2f} ms{row['accumulating_ms']:>7.2f} ms"
        print(f"{name:22}{times}{row['step_ratio']:>8.3f}{row['fw_bw_ratio']:>8.3f}")
    print(json.dumps({"device": str(device()), "torch": torch.__version__, "settings": found}))


if __name__ == "__main__":
    main()
