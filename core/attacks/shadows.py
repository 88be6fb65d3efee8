"""Shadow (reference) models: the target's own pipeline on random halves of the candidate pool, kept model by model.

Carlini 2022 call them shadow models, Zarifzadeh 2024 reference models. What is kept of a model is what it answers: its
scaled logits on the audited records and on the population, for every query, and its logits [N, K] on the audited
records themselves, which an audit loads only where an attack looks at them. Never its weights, so disk and memory do
not grow with the network.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field, field_validator
from safetensors import safe_open

from core.attacks.design import design_matrix
from core.config import BadInput, Config
from core.machine import workers
from core.store import Build, Stage, read_json

if TYPE_CHECKING:
    from core.data import Dataset

OFFSET = 1_000_003
"""Between the seeds of target and references: no reference starts from the target's initial weights."""


class ShadowConfig(Config):
    """Reference models for LiRA, RMIA and their kin."""

    models: int = Field(0, ge=0, le=4096, json_schema_extra={"step": 2})
    """How many reference models are trained, an even number; 0: attacks that need them are left out. RMIA is useful
    from 4, LiRA from 16. Each costs as much as the target."""
    queries: int = Field(1, ge=1, le=64)
    """Questions per record to every model: the record itself, then shifted, mirrored or noisy copies."""
    seed: int = Field(0, ge=0, lt=2**31)
    """Decides which half of the pool each reference model trains on."""

    @field_validator("models")
    @classmethod
    def _even(cls, models: int) -> int:
        if models % 2:
            raise ValueError("reference models come in pairs of complementary halves: choose an even number")
        return models


def reference_stages(*, key: str, config: dict[str, Any], data: Stage) -> list[Stage]:
    """One stage per reference model of a `shadows` stage, from its key, config and data: where each lies, or will."""
    shared = {name: value for name, value in config.items() if name != "models"}
    return [
        Stage(key, "reference", {**shared, "number": number}, {"data": data}, _nothing)
        for number in range(config["models"])
    ]


def gather(build: Build, *, dataset: Dataset, experiment: dict[str, Any], data: Stage, defended: bool) -> None:
    """The `shadows` stage: train the reference models that the store lacks, in parallel, each stored the moment it is
    done, and list them in references.json. A stage per model, whose hash does not depend on how many there are:
    raising `models` trains only the new ones, and an interrupted audit goes on where it stopped."""
    from core.parallel import fan_out
    from core.shadow_training import train_reference

    total = build.config["models"]
    stages = reference_stages(key=build.key, config=build.config, data=data)
    missing = [m for m, stage in enumerate(stages) if build.store.find(stage) is None]
    inside = design_matrix(models=total, points=len(dataset.audited), seed=build.config["seed"])

    def report() -> None:
        build.update(total - len(missing), total, f"{total - len(missing)} of {total} reference models")

    report()
    tasks = [(m, inside[m], defended) for m in missing]
    cluster, check = os.environ.get("REWINDLAB_CLUSTER", ""), build.progress.check
    trained = fan_out(
        train_reference, tasks, shared=(dataset, experiment), cluster=cluster, workers=workers(), check=check
    )
    for number, arrays in trained:
        build.store.put(stages[number], {"outputs.safetensors": arrays})
        missing.remove(number)
        report()
    (build.folder / "references.json").write_text(json.dumps([stage.folder for stage in stages]))


def load_references(folder: Path, *, logits: int | None = None) -> dict[str, np.ndarray]:
    """What attacks see of the references listed in a finished `shadows` stage.

    reference_phi [M, N, Q], reference_in [M, N], reference_population_phi [M, P, Q], reference_logits [L, N, K] of
    the first `logits` references (None: of all, 0: not there), and reference_trajectory [M, N, T] where it was noted.
    Raises BadInput for a reference that is gone or that was trained on other records or with another recipe than this
    stage asks for.
    """
    listed = json.loads((folder / "references.json").read_text())
    expected = read_json(folder / "stage.json")
    for name in listed:
        _check(folder, folder.parent / name, expected)
    found: dict[str, np.ndarray] = {}
    for number, reference in enumerate(listed):
        with safe_open(folder.parent / reference / "outputs.safetensors", framework="numpy") as file:
            for name in file.keys():  # noqa: SIM118 (no dict)
                count = len(listed) if name != "reference_logits" or logits is None else min(logits, len(listed))
                if number >= count:
                    continue
                array = file.get_tensor(name)
                if number == 0:  # room for all at once: a list of them and their copy would be twice the memory
                    found[name] = np.empty((count, *array.shape), array.dtype)
                found[name][number] = array
    return found


def _check(stage: Path, reference: Path, expected: dict[str, Any]) -> None:
    """Whether a reference model is of the pipeline that the `shadows` stage names, from what its stage.json says."""
    remedy = f"delete the folders {reference.name} and {stage.name} in the store and run the experiment again"
    try:
        found = read_json(reference / "stage.json")
    except (OSError, ValueError):
        raise BadInput(f"reference model {reference.name} is gone or damaged: {remedy}") from None
    if found["inputs"].get("data") != expected["inputs"].get("data"):
        raise BadInput(f"reference model {reference.name} was trained on other records: {remedy}")
    for name, value in expected["config"].items():
        if name != "models" and found["config"].get(name) != value:
            where, other, wanted = _difference(found["config"].get(name), value, name)
            raise BadInput(
                f"reference model {reference.name} was trained with another recipe "
                f"({where} is {other}, the target's is {wanted}): {remedy}"
            )


def _difference(found: Any, expected: Any, where: str) -> tuple[str, Any, Any]:
    """(dotted name, value found, value expected) of the first difference."""
    if isinstance(found, dict) and isinstance(expected, dict):
        for name in {**expected, **found}:
            if found.get(name) != expected.get(name):
                return _difference(found.get(name), expected.get(name), f"{where}.{name}")
    return where, found, expected


def _nothing(build: Build) -> None:
    """Reference models are computed together by `gather`, never one by one through the store."""
    raise AssertionError("a reference model is stored by the stage that trains it")
