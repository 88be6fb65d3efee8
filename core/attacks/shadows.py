"""Shadow (reference) models: the target's own pipeline on random halves of the candidate pool, kept model by model.

Carlini 2022 call them shadow models, Zarifzadeh 2024 reference models. What is kept of a model is its scaled logits
on the audited records and on the population, never its weights, so disk and memory do not grow with the network.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field, field_validator
from safetensors.numpy import load_file, save_file

from core.attacks.design import design_matrix
from core.config import Config
from core.store import Build, Stage, Store

if TYPE_CHECKING:
    from core.data import Dataset

OFFSET = 1_000_003
"""Between the seeds of target and references: no reference starts from the target's initial weights."""


class ShadowConfig(Config):
    """Reference models for LiRA, RMIA and their kin."""

    models: int = Field(0, ge=0, le=4096)
    """How many reference models are trained, an even number; 0: attacks that need them are left out. RMIA is useful
    from 4, LiRA from 16. Each costs as much as the target."""
    queries: int = Field(1, ge=1, le=64)
    """Copies of each record that every model is asked about: the record itself, then shifted, mirrored or noisy ones."""
    seed: int = Field(0, ge=0, lt=2**31)
    """Decides which half of the pool each reference model trains on."""

    @field_validator("models")
    @classmethod
    def _even(cls, models: int) -> int:
        if models % 2:
            raise ValueError("reference models come in pairs of complementary halves: choose an even number")
        return models


def reference_stage(
    *, data: Stage, pipeline: dict[str, Any], shadows: ShadowConfig, number: int, build: Callable[[Build], None]
) -> Stage:
    """The stage of one reference model. Its hash does not depend on how many there are, so more can join later."""
    config = {"pipeline": pipeline, "queries": shadows.queries, "seed": shadows.seed, "number": number}
    return Stage("reference", "reference", config, {"data": data}, build)


def train_missing(
    *,
    store: Store,
    stages: list[Stage],
    dataset: Dataset,
    experiment: dict[str, Any],
    defended: bool,
    cluster: str,
    build: Build,
) -> None:
    """Train the reference models that the store lacks, in parallel, each stored the moment it is done."""
    from core.parallel import fan_out
    from core.shadow_training import train_reference

    missing = [m for m, stage in enumerate(stages) if store.find(stage) is None]
    done = len(stages) - len(missing)
    build.update(done, len(stages), _progress_text(done, len(stages)))
    seed = experiment["audit"]["shadows"]["seed"]
    inside = design_matrix(models=len(stages), points=len(dataset.audited), seed=seed) if stages else None
    tasks = [(dataset, experiment, m, inside[m], defended) for m in missing] if inside is not None else []
    workers = int(os.environ.get("REWINDLAB_WORKERS", "0")) or None
    for number, arrays in fan_out(
        train_reference, tasks, cluster=cluster, workers=workers, check=build.progress.check
    ):
        store.put(stages[number], lambda folder, arrays=arrays: save_file(arrays, folder / "outputs.safetensors"))
        done += 1
        build.update(done, len(stages), _progress_text(done, len(stages)))


def load_references(folder: Path) -> dict[str, np.ndarray]:
    """What attacks see of the references listed in a finished `shadows` stage.

    reference_phi [M, N, Q], reference_in [M, N], reference_population_phi [M, P, Q], reference_logits [M, N, K].
    """
    listed = json.loads((folder / "references.json").read_text())
    parts = [load_file(folder.parent / name / "outputs.safetensors") for name in listed]
    return {name: np.stack([part[name] for part in parts]) for name in parts[0]} if parts else {}


def _progress_text(done: int, total: int) -> str:
    return f"{done} of {total} reference models"
