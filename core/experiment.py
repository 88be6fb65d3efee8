"""An experiment as one value, and its stages in order. Free of torch: pages and the command line plan with it.

The stages' work is in `core.stages`, imported when a stage is computed.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import Field, ValidationError, field_validator, model_validator

from core.audit import AuditConfig
from core.config import BadInput, Config, explain
from core.data import Data, Digits
from core.data.config import TableParquet
from core.defence import CWRF, Defence, FromScratch, nothing, objective_of, recipe_of, stop_of
from core.defenses import DPSGD, CrossEntropy, ObjectiveBase
from core.importance import ImportanceConfig, ScoreIndex
from core.importance.vulnerability import PVE
from core.models import ConvNet, Model
from core.progress import Progress
from core.rewinding import select
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
    "early": "An early epoch, to rewind to",
    "ranking": "Ranking of the weights",
    "round": "An earlier round of rewinding",
    "rescored": "Scoring the rewound model again",
    "defended": "Defence",
    "shadows_defended": "Reference models with the defence",
    "after": "Attacks after",
    "control": "The same fine-tuning, nothing rewound",
    "onion_before": "Scoring that model again",
    "onion_after": "Scoring the defended model again",
    "onion": "What moved",
    "experiment": "Summary",
    "shared": "What several experiments share",
    "points": "Experiments of the sweep",
}
"""What each stage is called on a page."""

INDEX = {"pve": "vulnerability.npy", "learnability": "learnability.npy"}
"""The score index in the scores stage by selection rule; the others have a ranking stage of their own."""


def title(key: str) -> str:
    """What a stage is called on a page; the rounds of a rewind are numbered."""
    name = key.rstrip("0123456789")
    return f"{TITLES.get(name, name)} {key[len(name) :]}".strip()


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
    defence: Defence | None = CWRF()
    """What is done about memorisation; none: only the audit."""
    onion: bool = False
    """Score the rewound model again, and the undefended one as a control: does the risk move to other weights?"""
    audit: AuditConfig = AuditConfig()
    """Attacks."""
    seed: int = Field(0, ge=0, lt=2**31)
    """Seed of initial weights, batch order and fine-tuning; the split has its own (data.seed)."""

    @field_validator("defence", mode="before")
    @classmethod
    def _rewinds_unless_said(cls, given: Any) -> Any:
        """A defence without a kind is CWRF."""
        return {"kind": "cwrf", **given} if isinstance(given, dict) else given

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
        d = self.defence
        for name, objective in (("train", self.train.objective), *((("defence", objective_of(d)),) if d else ())):
            if problem := objective.check(self.model):
                raise ValueError(f"{name}: {problem}")
            if isinstance(objective, DPSGD) and self.train.batch_size > self.data.members:
                raise ValueError(
                    f"{name}: DP-SGD draws every member with probability batch size / members, "
                    f"and train.batch_size {self.train.batch_size} is more than data.members {self.data.members}"
                )
        if d and (stop := stop_of(d)) and stop >= recipe_of(self.train, d).epochs:
            field = "defence.stop_after" if isinstance(d, FromScratch) else "defence.finetune.stop_after"
            raise ValueError(f"{field} {stop} is not before the last epoch: leave it empty")
        if isinstance(d, CWRF) and d.rewind_to == "early":
            epochs = (self.train if d.base == "trained" else self.importance.recipe(self.train)).epochs
            if d.base == "trained" and self.weights:
                raise ValueError("an early epoch is known only of models trained here: set defence.base to pve")
            own = self.train.objective
            if d.base == "trained" and isinstance(own, DPSGD) and own.target_epsilon:
                raise ValueError("a shorter run would get another σ for the same ε: give train.objective.sigma instead")
            if d.early_epoch >= epochs:
                raise ValueError(f"defence.early_epoch {d.early_epoch} is not before the last of {epochs} epochs")
        if isinstance(d, CWRF) and d.rounds > 1 and d.selection != "pve":
            raise ValueError(
                f"defence.rounds {d.rounds}: later rounds rank weights by vulnerability scored again, "
                f"which does not go with defence.selection {d.selection}: set it to pve, or rounds to 1"
            )
        if self.onion and not isinstance(d, CWRF):
            raise ValueError("onion scores a rewound model again: it needs defence.kind cwrf")
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

    def add_training(key: str, recipe: TrainConfig, objective: ObjectiveBase, stop_after: int | None = None) -> None:
        config = _recipe(recipe, objective) | {"model": _plain(e.model), "seed": e.seed}
        start = {"load": stages["load"]} if "load" in stages else {}
        add(key, "train", config | ({"stop_after": stop_after} if stop_after else {}), "data", **start)

    add("data", "data", _plain(e.data))
    if e.weights:
        add("load", "load", {"model": _plain(e.model), **_plain(e.weights)}, "data")
    else:
        add_training("train", e.train, e.train.objective)
    scoring = e.importance.recipe(e.train)
    pve = PVE(lam=e.importance.lam, kl=e.importance.kl)
    add_training("learnability", scoring, CrossEntropy())
    add_training("vulnerability", scoring, pve)
    add("scores", "scores", {}, "learnability", "vulnerability")
    trained = stages["load" if e.weights else "train"]
    plain = {"model": _plain(e.model), "recipe": _plain(e.train), "seed": e.seed}
    references: list[str] = []
    asked = _plain(e.audit.shadows) | ({"trajectory": True} if "trajectory" in e.audit.attacks else {})
    if e.audit.shadows.models:
        add("shadows", "shadows", {"pipeline": plain, **asked}, "data")
        references.append("shadows")
    audit = _plain(e.audit)
    add("before", "audit", audit | {"released": e.train.objective.released}, "data", *references, model=trained)
    d = e.defence
    if d:
        tuning = _recipe(recipe_of(e.train, d), objective_of(d)) | {"model": _plain(e.model), "seed": e.seed}
        tuning |= {"stop_after": stop} if (stop := stop_of(d)) else {}
        if isinstance(d, CWRF):
            base = stages["vulnerability"] if d.base == "pve" else trained
            ranked = {"pve": stages["vulnerability"], "learnability": stages["learnability"]}.get(d.selection)
            if ranked is None:
                ranking = {"selection": d.selection, "model": _plain(e.model), "seed": e.seed}
                ranked = add("ranking", "ranking", ranking, "data", base=base)
            given: dict[str, Stage] = {}
            if d.rewind_to == "early":
                recipe, objective = (scoring, pve) if d.base == "pve" else (e.train, e.train.objective)
                add_training("early", recipe, objective, d.early_epoch)
                given["early"] = stages["early"]
            # the early epoch is in the hash of the stage that trains up to it
            config = {"defence": _plain(d, "finetune", "rounds", "early_epoch"), **tuning}
            again = _recipe(scoring, pve) | {"model": _plain(e.model), "seed": e.seed, "mode": d.mode}
            inputs, undefended = ("data", "vulnerability", "scores"), base
            for number in range(1, d.rounds):
                done = add(f"round{number}", "rewind", config, *inputs, base=base, ranked=ranked, **given)
                ranked = add(f"rescored{number}", "rescore", again, "data", "vulnerability", model=done)
                base, given = done, given | {"previous": done}
            add("defended", "rewind", config, *inputs, base=base, ranked=ranked, **given)
            if e.onion:
                same = CWRF(base=d.base, finetune=d.finetune, **nothing(d))
                untouched = {"defence": _plain(same, "finetune", "rounds", "early_epoch"), **tuning}
                inputs = ("data", "vulnerability", "scores")
                add("control", "rewind", untouched, *inputs, base=undefended, ranked=stages["vulnerability"])
                add("onion_before", "rescore", again, "data", "vulnerability", "defended", model=stages["control"])
                add("onion_after", "rescore", again, "data", "vulnerability", "defended", model=stages["defended"])
                add("onion", "onion", {}, "vulnerability", "onion_before", "onion_after", "defended")
        elif isinstance(d, FromScratch):
            add_training("defended", recipe_of(e.train, d), d.objective, d.stop_after)
        else:
            add("defended", "finetune", tuning, "data", trained=trained)
        if e.audit.shadows.models:
            unused = ("early_epoch",) if isinstance(d, CWRF) and d.rewind_to != "early" else ()
            scored = {"importance": _plain(e.importance)} if isinstance(d, CWRF) else {}
            pipeline = plain | {"defence": _plain(d, *unused), **scored}
            add("shadows_defended", "shadows", {"pipeline": pipeline, **asked}, "data")
            references.append("shadows_defended")
        seen = {"released": objective_of(d).released}
        add("after", "audit", audit | seen, "data", *references, model=stages["defended"])
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
            value = read_json(file)
            return None if "base" in value else parse(value)  # a sweep is no experiment
    return None


def preview_stage(experiment: Experiment) -> Stage:
    """Accuracy and loss-attack AUC of the rewound, not yet fine-tuned model."""
    stages = plan(experiment)
    first = stages.get("round1", stages["defended"])
    assert experiment.defence
    seen = {"released": objective_of(experiment.defence).released}
    config = {"defence": first.config["defence"], "model": first.config["model"]} | seen
    return Stage("preview", "preview", config, first.inputs, partial(_build, "preview", experiment, "preview"))


def ranking_stage(experiment: Experiment) -> Stage:
    """The stage whose folder holds what the experiment's rewind ranks weights by, for `selection`."""
    stages = plan(experiment)
    return stages.get("ranking", stages["scores"])


def selection(folder: Path, defence: CWRF) -> pd.DataFrame:
    """How many weights of each layer the defence rewinds (in its first round), in milliseconds.

    folder: of a finished scores stage, or of the ranking stage of the rival selection rules.
    """
    return select(
        index=ScoreIndex.open(folder / INDEX.get(defence.selection, "index.npy")),
        layers=pd.read_parquet(folder / "layers.parquet"),
        config=defence,
    )


def _recipe(recipe: TrainConfig, objective: ObjectiveBase) -> dict[str, Any]:
    return {"recipe": _plain(recipe, "objective"), "objective": _plain(objective, *objective.afterwards)}


def _build(kind: str, experiment: Experiment, key: str, build: Build) -> None:
    from core.stages import STAGES

    STAGES[kind](build, experiment, key)


def _plain(config: Config, *without: str) -> dict[str, Any]:
    """JSON of a config in which files stand for their content and folders for nothing: what a hash may see."""
    out = config.model_dump(mode="json", exclude=set(without))
    for name in list(out):
        value = getattr(config, name)
        if isinstance(value, Config):
            out[name] = _plain(value)
        elif isinstance(value, Path):
            path = value.expanduser()
            if path.is_file():
                out[name] = {"sha256": _content(path)}
            elif name == "folder":
                del out[name]
            else:
                raise BadInput(f"{name}: there is no file {path}")
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
    "preview_stage",
    "ranking_stage",
    "run",
    "selection",
    "summary",
    "title",
]
