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
from core.defenses import DPSGD, CrossEntropy, Use
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
    initial_seed: int = Field(0, ge=0, lt=2**31)
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
        for name, recipe, epochs in _runs(self):
            training = Use(self.model, epochs, recipe.batch_size, self.data.members, brought=self.weights is not None)
            # of no epochs at all, after a rewind, the objective is not asked
            if epochs and (problem := recipe.objective.check(training)):
                raise ValueError(f"{name}: {problem}")
            half = (self.data.members + self.data.non_members) // 2
            if isinstance(recipe.objective, DPSGD) and self.audit.shadows.models and recipe.batch_size > half:
                raise ValueError(
                    f"{name}: reference models train on half of members and non-members, {half} records, from which "
                    f"DP-SGD cannot draw batches of train.batch_size {recipe.batch_size}"
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


def _runs(e: Experiment) -> list[tuple[str, TrainConfig, int]]:
    """Field, recipe and epochs until its end or early stop of the training and, where there is a defence, of the
    training that ends it."""
    runs = [("train", e.train, e.train.epochs)]
    if e.defence:
        recipe = recipe_of(e.train, e.defence)
        runs.append(("defence", recipe, min(recipe.epochs, stop_of(e.defence) or recipe.epochs)))
    return runs


def check_targets(e: Experiment) -> None:
    """Raises BadInput where a target ε of DP-SGD is out of reach, which its training would find out after all others.

    Without such a target nothing is imported; with one the noise is computed, once per process, in seconds.
    """
    for name, recipe, epochs in _runs(e):
        here = name != "train" or e.weights is None
        if here and epochs and isinstance(recipe.objective, DPSGD) and recipe.objective.target_epsilon is not None:
            from core.training.accounting import planned

            members = e.data.members
            steps = epochs * recipe.steps(members)
            planned(recipe.objective, members=members, batch_size=recipe.batch_size, steps=steps)


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
    e, p = experiment, _Plan(experiment)
    p.add("data", "data", _plain(e.data))
    if e.weights:
        p.add("load", "load", {"model": _plain(e.model), **_plain(e.weights)}, "data")
    else:
        p.train("train", e.train)
    p.train("learnability", p.learning)
    p.train("vulnerability", p.pve)
    p.add("scores", "scores", {}, "learnability", "vulnerability")
    p.attack("before", p.trained)
    if d := e.defence:
        last = recipe_of(e.train, d), stop_of(d)
        if isinstance(d, CWRF):
            p.cwrf(d, p.training(*last))
        elif isinstance(d, FromScratch):
            p.train("defended", *last)
        else:
            p.add("defended", "finetune", p.training(*last), "data", trained=p.trained)
        p.attack("after", "defended", d)
    p.add("experiment", "experiment", _plain(e), *list(p.stages))
    return p.stages


class _Plan:
    """The stages of one experiment in the order in which they are added; they name their inputs by key."""

    def __init__(self, e: Experiment) -> None:
        self.e = e
        self.stages: dict[str, Stage] = {}
        self.trained = "load" if e.weights else "train"
        self.network = {"model": _plain(e.model), "seed": e.seed}
        both = CrossEntropy(), PVE(lam=e.importance.lam, kl=e.importance.kl)
        scoring = e.importance.recipe(e.train)
        self.learning, self.pve = (scoring.model_copy(update={"objective": objective}) for objective in both)

    def add(self, key: str, kind: str, config: dict[str, Any], *inputs: str, **named: str) -> None:
        chosen = {name: self.stages[of] for name, of in ({of: of for of in inputs} | named).items()}
        self.stages[key] = Stage(key, kind, config, chosen, partial(_build, kind, self.e, key))

    def training(self, recipe: TrainConfig, stop_after: int | None = None) -> dict[str, Any]:
        """What a training depends on besides its inputs."""
        objective = _plain(recipe.objective, *recipe.objective.afterwards)
        stop = {"stop_after": stop_after} if stop_after else {}
        return {"recipe": _plain(recipe, "objective"), "objective": objective, **self.network, **stop}

    def train(self, key: str, recipe: TrainConfig, stop_after: int | None = None) -> None:
        self.add(key, "train", self.training(recipe, stop_after), "data", *(["load"] if self.e.weights else []))

    def attack(self, key: str, model: str, d: Defence | None = None) -> None:
        """Reference models from the model's own pipeline, and the attacks that use them and those before."""
        e = self.e
        if e.audit.shadows.models:
            pipeline = {**self.network, "recipe": _plain(e.train)}
            if d:
                unused = ("early_epoch",) if isinstance(d, CWRF) and d.rewind_to != "early" else ()
                pipeline["defence"] = _plain(d, *unused)
            if isinstance(d, CWRF):
                pipeline["importance"] = _plain(e.importance)
            asked = _plain(e.audit.shadows) | ({"trajectory": True} if "trajectory" in e.audit.attacks else {})
            self.add("shadows_defended" if d else "shadows", "shadows", {"pipeline": pipeline, **asked}, "data")
        references = [name for name in ("shadows", "shadows_defended") if name in self.stages]
        released = (objective_of(d) if d else e.train.objective).released
        self.add(key, "audit", _plain(e.audit) | {"released": released}, "data", *references, model=model)

    def cwrf(self, d: CWRF, tuning: dict[str, Any]) -> None:
        """The base rewound in as many rounds as asked for, what that needs, and the onion."""
        base, origin = ("vulnerability", self.pve) if d.base == "pve" else (self.trained, self.e.train)
        ranked = {"pve": "vulnerability", "learnability": "learnability"}.get(d.selection, "ranking")
        if ranked == "ranking":
            self.add("ranking", "ranking", {"selection": d.selection, **self.network}, "data", base=base)
        inputs = {"base": base, "ranked": ranked}
        if d.rewind_to == "early":
            self.train("early", origin, d.early_epoch)
            inputs["early"] = "early"
        # the early epoch is in the hash of the stage that trains up to it
        unseen = ("finetune", "rounds", "early_epoch")
        config = {"defence": _plain(d, *unseen), **tuning}
        again = self.training(self.pve) | {"mode": d.mode}
        always = ("data", "vulnerability", "scores")
        for number in range(1, d.rounds):
            done, scored = f"round{number}", f"rescored{number}"
            self.add(done, "rewind", config, *always, **inputs)
            self.add(scored, "rescore", again, "data", "vulnerability", model=done)
            inputs |= {"base": done, "ranked": scored, "previous": done}
        self.add("defended", "rewind", config, *always, **inputs)
        if self.e.onion:
            same = {"defence": _plain(CWRF(base=d.base, finetune=d.finetune, **nothing(d)), *unseen), **tuning}
            self.add("control", "rewind", same, *always, base=base, ranked="vulnerability")
            for key, model in (("onion_before", "control"), ("onion_after", "defended")):
                self.add(key, "rescore", again, "data", "vulnerability", "defended", model=model)
            self.add("onion", "onion", {}, "vulnerability", "onion_before", "onion_after", "defended")


def run(experiment: Experiment, store: Store, progress: Progress | None = None) -> dict[str, Any]:
    """Compute what is missing and return the summary (see `summary`)."""
    progress = progress or Progress()
    stages = plan(experiment)
    progress.plan(list(stages))
    if not finished(store, stages["experiment"].hash):
        check_targets(experiment)
    store.ensure_all(stages.values(), progress)
    return summary(store, stages["experiment"].hash)


def summary(store: Store, key: str) -> dict[str, Any]:
    """The finished experiment's summary: the object the command line prints with --json."""
    return read_json(store.root / f"experiment-{key}" / "summary.json")


def finished(store: Store, key: str) -> bool:
    """Whether the experiment of that hash has its summary."""
    return (store.root / f"experiment-{key}" / "stage.json").is_file()


def complete(store: Store, experiment: Experiment) -> bool:
    """Whether every stage is in the store: a finished experiment may have lost some. BadInput for a missing file."""
    return all(store.find(stage) for stage in plan(experiment).values())


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
