"""How long an experiment's training will take, from rates that were measured: an estimate, with its basis.

Free of torch, except inside `measure`. The unit of work is one record passed forwards and backwards once.
"""

from __future__ import annotations

import math
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from core.attacks.shadows import reference_stages
from core.config import configs_in
from core.data.facts import Facts, facts
from core.defenses import Objective, ObjectiveBase
from core.experiment import Experiment, plan
from core.figures.numbers import seconds as in_words
from core.importance.vulnerability import PVE
from core.machine import workers
from core.store import Stage, Store, read_json, write_json

WORK = {"pve": PVE.work} | {
    kind.model_fields["kind"].default: kind.work for kind in configs_in(Objective) if issubclass(kind, ObjectiveBase)
}
"""Time of a step by kind of objective, in steps with cross-entropy."""
ROUNDS, LONG_ENOUGH = 8, 1.0


@dataclass(frozen=True)
class Estimate:
    """What is still to be trained, in seconds."""

    seconds: float | None
    """None where no rate is known."""
    basis: str
    """Where the rate comes from, in words."""
    parts: dict[str, float] = field(default_factory=dict)
    """Seconds by stage key, missing stages only."""


@dataclass(frozen=True)
class _Run:
    """A finished training run: what its rate depends on, and the rate in seconds per record, epoch and pass."""

    model: dict[str, Any]
    shape: tuple[int, ...]
    batch: int
    device: str
    created: str
    rate: float


def estimate(experiment: Experiment, store: Store) -> Estimate:
    """Seconds for training, scoring runs, fine-tuning and reference models that are not yet in the store.

    Attacks and statistics are not included. Raises BadInput for unusable files.
    """
    missing: dict[str, Stage] = {}
    for stage in plan(experiment).values():
        if "recipe" in stage.config and store.find(stage) is None:
            missing.setdefault(stage.folder, stage)
    references = {stage: count for stage, count in missing_references(experiment, store).items() if count}
    if not missing and not references:
        return Estimate(0.0, "every training run of this experiment is in the store already")
    found = facts(experiment.data)
    known = _from_runs(experiment, found, store) or _from_measurement(experiment, found, store)
    if known is None:
        return Estimate(None, "nothing with this architecture and shape of records was timed on this machine yet")
    per_epoch, basis = known
    parts = {stage.key: _epochs(stage) * per_epoch(_work(stage.config["objective"])) for stage in missing.values()}
    pool = experiment.data.members + experiment.data.non_members
    for stage, count in references.items():
        # a reference model trains on half of the pool; the last round of processes takes as long as a full one
        rounds = math.ceil(count / workers())
        parts[stage.key] = rounds * _pipeline(stage.config["pipeline"], per_epoch) * pool / 2 / experiment.data.members
    if references and (cluster := os.environ.get("REWINDLAB_CLUSTER")):
        # asking a cluster that does not answer would hold up the page
        basis += (
            f"; reference models as if {cluster} trained {workers()} at once (set REWINDLAB_WORKERS to its number of "
            "workers)"
        )
    return Estimate(sum(parts.values()), basis, parts)


def missing_references(experiment: Experiment, store: Store) -> dict[Stage, int]:
    """Per stage of reference models, how many of them are still to be trained; those in the store cost nothing."""
    found = {}
    for stage in plan(experiment).values():
        if stage.kind == "shadows":
            models = reference_stages(key=stage.key, config=stage.config, data=stage.inputs["data"])
            found[stage] = sum(store.find(model) is None for model in models)
    return found


def _pipeline(config: dict[str, Any], per_epoch: Callable[[float], float]) -> float:
    """Seconds of one reference model: plain training, or everything its defence trains."""
    epochs, one = config["recipe"]["epochs"], per_epoch(_work(config["recipe"]["objective"]))
    defence = config.get("defence") or {}
    if not defence:
        return epochs * one
    last = defence if defence["kind"] == "scratch" else defence["finetune"]
    trained = epochs if last["epochs"] is None else last["epochs"]
    tuning = min(trained, last["stop_after"] or trained) * per_epoch(_work(last["objective"]))
    if defence["kind"] == "scratch":
        return tuning
    if defence["kind"] == "fine-tuning":
        return epochs * one + tuning
    scoring = (config["importance"]["epochs"] or epochs) * per_epoch(PVE.work)
    base = epochs * one if defence["base"] == "trained" else 0
    again = (defence["rounds"] - 1) * scoring
    return scoring + base + again + defence["rounds"] * tuning


def measure(experiment: Experiment, store: Store) -> dict[str, Any]:
    """Time a few real steps of this architecture and batch size on random records, and keep the rate in rates.json.

    Seconds per record for a step (`train`) and for the per-epoch log (`watch`). Imports torch: takes seconds.
    """
    import torch

    from core.defenses import CrossEntropy
    from core.pipeline import make
    from core.training import loop
    from core.training.device import device

    found = facts(experiment.data)
    experiment.model.fits(found.shape)
    model = make(experiment.model, found.shape, found.classes, experiment.seed)
    batch = max(2, min(experiment.train.batch_size, experiment.data.members))
    count = batch * (4 if batch <= 512 else 1)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn((count, *found.shape), generator=generator).to(device())
    y = torch.randint(found.classes, (count,), generator=generator).to(device())
    # a rate that keeps the loss finite whatever a person typed; it does not change the time of a step
    recipe = experiment.train.model_copy(update={"epochs": 1, "lr": 1e-5, "batch_size": batch})

    def step() -> None:
        loop.fit(model, members=(x, y), recipe=recipe, seed=0, objective=CrossEntropy(), accumulate=True)

    entry = {
        **_key(experiment, found),
        "device": str(device()),
        "train": _timed(step) / count,
        "watch": _timed(lambda: loop.measure(model, (x, y))) / count,
        "watched": loop.WATCHED,
    }
    path = store.root / "rates.json"
    with store.lock("rates"):
        kept = [old for old in _measurements(path) if any(old.get(name) != entry[name] for name in _KEY)]
        write_json(path, {"rates": [*kept, entry]})
    return entry


def _timed(work: Callable[[], object]) -> float:
    """Median seconds of a few calls, after one to warm up."""
    work()
    took: list[float] = []
    while len(took) < ROUNDS and sum(took) < LONG_ENOUGH:
        started = time.perf_counter()
        work()
        took.append(time.perf_counter() - started)
    return statistics.median(took)


# ---- rates


_KEY = ("model", "shape", "batch", "device")
PerEpoch = Callable[[float], float]


def _key(experiment: Experiment, found: Facts) -> dict[str, Any]:
    return {
        "model": experiment.model.model_dump(mode="json"),
        "shape": list(found.shape),
        "batch": experiment.train.batch_size,
    }


def _from_runs(experiment: Experiment, found: Facts, store: Store) -> tuple[PerEpoch, str] | None:
    model = experiment.model.model_dump(mode="json")
    runs = [
        run for run in map(_run, store.root.glob("train-*")) if run and (run.model, run.shape) == (model, found.shape)
    ]
    if not runs:
        return None
    device = max(runs, key=lambda run: run.created).device
    here = [run for run in runs if run.device == device]
    same = [run for run in here if run.batch == experiment.train.batch_size]
    rate = statistics.median(run.rate for run in same or here)
    many = f"median of {len(same or here)} finished runs" if len(same or here) > 1 else "one finished run"
    other = "" if same else " at other batch sizes"
    shape = "×".join(map(str, found.shape))
    basis = (
        f"{many} of this architecture on records of {shape}{other}, {device}: "
        f"{in_words(rate * 1000)} for 1 000 records and one epoch"
    )
    members = experiment.data.members
    return lambda passes: members * passes * rate, basis


def _from_measurement(experiment: Experiment, found: Facts, store: Store) -> tuple[PerEpoch, str] | None:
    wanted = _key(experiment, found)
    entries = [e for e in _measurements(store.root / "rates.json") if all(e.get(k) == v for k, v in wanted.items())]
    if not entries:
        return None
    entry = entries[-1]
    data = experiment.data
    watch = entry["watch"] * sum(min(size, entry["watched"]) for size in (data.members, data.non_members))
    basis = (
        f"a few steps timed on this machine, {entry['device']}, batches of {entry['batch']}: "
        f"{in_words(entry['train'] * 1000)} for 1 000 records"
    )
    return lambda passes: data.members * passes * entry["train"] + watch, basis


def _measurements(path: Path) -> list[dict[str, Any]]:
    try:
        return list(read_json(path)["rates"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return []


def _epochs(stage: Stage) -> int:
    epochs = stage.config["recipe"]["epochs"]
    return min(epochs, stage.config.get("stop_after") or epochs)


def _work(objective: dict[str, Any]) -> float:
    """Time of a step with this objective, in steps with cross-entropy."""
    return WORK[objective["kind"]]


@lru_cache(maxsize=4096)
def _run(folder: Path) -> _Run | None:
    """The run in a folder train-…; None where it or its data are not whole. Read once: results never change."""
    try:
        record = read_json(folder / "stage.json")
        data = folder.parent / f"data-{record['inputs']['data']}"
        shape = tuple(read_json(data / "dataset.json")["shape"])
        members = read_json(data / "stage.json")["config"]["members"]
        config = record["config"]
        passes = _work(config["objective"])
        epochs = min(config["recipe"]["epochs"], config.get("stop_after") or math.inf)
        work = epochs * members * passes
        return _Run(
            config["model"],
            shape,
            config["recipe"]["batch_size"],
            record.get("device", "cpu"),
            record["created"],
            record["seconds"] / work,
        )
    except (OSError, ValueError, KeyError, TypeError, ZeroDivisionError):
        return None
