"""An experiment as one value, and its stages in order. Free of torch: pages and the command line plan with it.

The stages' work is in `core.stages`, imported when a stage is computed.
"""

from __future__ import annotations

import importlib
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import Field, ValidationError, model_validator

from core.audit import AuditConfig
from core.config import BadInput, Config, explain
from core.data import Data, Digits
from core.data.config import TableParquet
from core.defenses import CrossEntropy, ObjectiveBase
from core.importance import ImportanceConfig, ScoreIndex
from core.importance.vulnerability import PVE
from core.models import ConvNet, Model
from core.progress import Progress
from core.rewinding import CWRF, select
from core.store import Build, Stage, Store, file_digest, read_json
from core.training import TrainConfig

TITLES = {
    "data": "Data and splits",
    "train": "Training",
    "load": "Loading the weights",
    "learnability": "Learnability scores",
    "vulnerability": "Vulnerability scores (PVE)",
    "scores": "Score statistics",
    "shadows": "Reference models",
    "before": "Attacks before",
    "rewind": "Rewind and fine-tune",
    "shadows_defended": "Reference models with the defence",
    "after": "Attacks after",
    "experiment": "Summary",
}
"""What each stage is called on a page."""


class LoadedWeights(Config):
    """Weights that somebody brings instead of training here."""

    trained: Path
    """Trained weights: safetensors, or a PyTorch state dict (.pt, .pth)."""
    initial: Path | None = None
    """The weights the training started from, same formats; empty: a fresh initialisation from the seed below."""
    initial_seed: int = 0
    """Seed of the fresh initialisation, used only where no initial weights are given."""


class Experiment(Config):
    """Train or load, score, rewind, attack before and after. The defaults are the demo."""

    data: Data = Digits()
    """Records and how they are split."""
    model: Model = ConvNet()
    """Architecture."""
    train: TrainConfig = TrainConfig()
    """Training recipe; also the recipe of the two scoring runs."""
    weights: LoadedWeights | None = None
    """Weights to start from instead of training."""
    importance: ImportanceConfig = ImportanceConfig()
    """How vulnerability is scored."""
    defence: CWRF | None = CWRF()
    """What is done about memorisation; none: only the audit."""
    audit: AuditConfig = AuditConfig()
    """Attacks."""
    seed: int = Field(0, ge=0, lt=2**31)
    """Seed of initial weights, batch order and fine-tuning; the split has its own (data.seed)."""

    @model_validator(mode="after")
    def _fits(self) -> Experiment:
        table = isinstance(self.data, TableParquet)
        if table and self.model.kind != "mlp":
            raise ValueError(f"model {self.model.kind} takes images, the data are a table: use model.kind mlp")
        if table and self.train.augment:
            raise ValueError("train.augment crops and flips images, the data are a table: switch it off")
        for split, use in (("members", "training"), ("reference", "privacy vulnerability (PVE)")):
            if (given := getattr(self.data, split)) < 2:
                raise ValueError(f"data.{split} should be at least 2, {use} needs them (got {given})")
        return self

    @property
    def hash(self) -> str:
        """The experiment's name in the store and in links."""
        return plan(self)["experiment"].hash


def parse(value: dict[str, Any]) -> Experiment:
    """A validated experiment; BadInput with one line that names the field, the value and what is allowed."""
    try:
        return Experiment.model_validate(value)
    except ValidationError as error:
        raise BadInput(explain(error, Experiment)) from error


def plan(experiment: Experiment) -> dict[str, Stage]:
    """The stages in order; hashes are known before anything is computed. Reads only the files the config names.

    Raises BadInput for a file that is missing.
    """
    e = experiment
    stages: dict[str, Stage] = {}

    def add(key: str, kind: str, config: dict[str, Any], *inputs: str, **named: Stage) -> Stage:
        chosen = {name: stages[name] for name in inputs} | named
        stages[key] = Stage(key, kind, config, chosen, partial(_build, kind, e, key))
        return stages[key]

    def add_training(key: str, recipe: TrainConfig, objective: ObjectiveBase) -> None:
        config = {"model": _plain(e.model), "recipe": _plain(recipe, "objective"), "objective": _plain(objective)}
        start = {"load": stages["load"]} if "load" in stages else {}
        add(key, "train", config | {"seed": e.seed}, "data", **start)

    add("data", "data", _plain(e.data))
    if e.weights:
        add("load", "load", {"model": _plain(e.model), **_plain(e.weights)}, "data")
    else:
        add_training("train", e.train, e.train.objective)
    scoring = e.train.model_copy(update={"epochs": e.importance.epochs or e.train.epochs})
    add_training("learnability", scoring, CrossEntropy())
    add_training("vulnerability", scoring, PVE(lam=e.importance.lam, kl=e.importance.kl))
    add("scores", "scores", {}, "learnability", "vulnerability")
    trained = stages["load" if e.weights else "train"]
    plain = {"model": _plain(e.model), "recipe": _plain(e.train), "seed": e.seed}
    references: list[str] = []
    if e.audit.shadows.models:
        add("shadows", "shadows", {"pipeline": plain, **_plain(e.audit.shadows)}, "data")
        references.append("shadows")
    add("before", "audit", _plain(e.audit), "data", *references, model=trained)
    if e.defence:
        config = {"defence": _plain(e.defence), "recipe": _plain(e.train), "seed": e.seed}
        add("rewind", "rewind", config, "data", "vulnerability", "scores", trained=trained)
        if e.audit.shadows.models:
            pipeline = plain | {"defence": _plain(e.defence), "importance": _plain(e.importance)}
            add("shadows_defended", "shadows", {"pipeline": pipeline, **_plain(e.audit.shadows)}, "data")
            references.append("shadows_defended")
        add("after", "audit", _plain(e.audit), "data", *references, model=stages["rewind"])
    add("experiment", "experiment", _plain(e), *list(stages))
    return stages


def run(experiment: Experiment, store: Store, progress: Progress | None = None) -> dict[str, Any]:
    """Compute what is missing and return the summary (see `summary`)."""
    progress = progress or Progress()
    stages = plan(experiment)
    progress.plan(list(stages))
    store.ensure_all(stages.values(), progress)
    return summary(store, stages["experiment"].hash)


def summary(store: Store, key: str) -> dict[str, Any]:
    """The finished experiment's summary: the object the command line prints with --json."""
    return read_json(store.root / f"experiment-{key}" / "summary.json")


def config_of(store: Store, key: str) -> Experiment | None:
    """The experiment of that hash, finished or only begun; None where this store does not know it."""
    if not (key.isalnum() and key.isascii()):
        return None
    for file in (store.root / f"experiment-{key}" / "experiment.json", store.root / "jobs" / key / "config.json"):
        if file.is_file():
            return parse(read_json(file))
    return None


def preview_stage(experiment: Experiment) -> Stage:
    """Accuracy and loss-attack AUC of the rewound, not yet fine-tuned model."""
    assert experiment.defence
    stages = plan(experiment)
    config = {"defence": _plain(experiment.defence, "finetune")}
    inputs = {name: stages[name] for name in ("data", "vulnerability", "scores")}
    inputs["trained"] = stages["rewind"].inputs["trained"]
    return Stage("preview", "preview", config, inputs, partial(_build, "preview", experiment, "preview"))


def selection(scores: Path, defence: CWRF) -> pd.DataFrame:
    """How many weights of each layer the defence rewinds, from a finished scores stage, in milliseconds."""
    return select(
        index=ScoreIndex.open(scores / "vulnerability.npy"),
        layers=pd.read_parquet(scores / "layers.parquet"),
        config=defence,
    )


def _build(kind: str, experiment: Experiment, key: str, build: Build) -> None:
    getattr(importlib.import_module("core.stages"), kind)(build, experiment, key)


def _plain(config: Config, *without: str) -> dict[str, Any]:
    """JSON of a config in which files stand for their content and folders for nothing: what a hash may see."""
    out: dict[str, Any] = {}
    for name in type(config).model_fields:
        value = getattr(config, name)
        if name in without:
            continue
        if isinstance(value, Config):
            out[name] = _plain(value)
        elif isinstance(value, Path):
            path = value.expanduser()
            if path.is_file():
                out[name] = {"sha256": _content(path)}
            elif name != "folder":
                raise BadInput(f"{name}: there is no file {path}")
        else:
            out[name] = config.model_dump(mode="json", include={name})[name]
    return out


def _content(path: Path) -> str:
    try:
        return file_digest(path)
    except OSError as error:
        raise BadInput(f"{path} cannot be read ({error.strerror})") from None


__all__ = [
    "TITLES",
    "Experiment",
    "LoadedWeights",
    "config_of",
    "parse",
    "plan",
    "run",
    "selection",
    "summary",
]
