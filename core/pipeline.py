"""Pipelines: pure functions from records, config and seed to weights. Stages store what they return.

Plain training, and training → score → rewind → fine-tune, on tensors that already live on the device. A shadow
model is the same call with other members.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import nn

from core.defenses import ObjectiveBase
from core.importance.index import ScoreIndex
from core.models import ModelConfig
from core.models.build import build
from core.models.regions import describe
from core.rewinding.apply import State, frozen, rewind
from core.rewinding.config import CWRF
from core.rewinding.select import masks, select
from core.training.device import device
from core.training.loop import Batch, fit
from core.training.recipe import TrainConfig

OnEpoch = Callable[[int, list[dict]], None]


def _quiet(epoch: int, rows: list[dict]) -> None:
    """No progress wanted."""


@dataclass(frozen=True)
class Records:
    """Tensors a pipeline trains on and watches; all on the device."""

    members: Batch
    reference: Batch | None = None
    watch: dict[str, Batch] | None = None


@dataclass(frozen=True)
class Trained:
    """One training run: where it began, where it ended, its log and its accumulated |g·w|; states on the CPU."""

    initial: State
    final: State
    log: list[dict]
    scores: dict[str, np.ndarray]


def state_of(model: nn.Module) -> State:
    """A copy of weights and buffers on the CPU."""
    return {name: value.detach().cpu().clone() for name, value in model.state_dict().items()}


def make(
    config: ModelConfig, shape: tuple[int, ...], classes: int, seed: int = 0, state: State | None = None
) -> nn.Module:
    """A model on the device: freshly initialised from the seed, or at `state`."""
    model = build(config, shape, classes, seed)
    if state is not None:
        model.load_state_dict(state)
    model = model.to(device())
    return model.to(memory_format=torch.channels_last) if len(shape) == 3 else model  # type: ignore[call-overload]


def train(
    model: nn.Module,
    records: Records,
    *,
    recipe: TrainConfig,
    seed: int,
    objective: ObjectiveBase | None = None,
    scores: bool = True,
    on_epoch: OnEpoch = _quiet,
) -> Trained:
    """Train `model` from where it is. The scores are those of the objective: learnability with cross-entropy,
    privacy vulnerability with PVE; `scores` False leaves them out."""
    initial = state_of(model)
    run = fit(
        model,
        members=records.members,
        recipe=recipe,
        seed=seed,
        objective=objective,
        reference=records.reference,
        watch=records.watch,
        accumulate=scores,
        on_epoch=on_epoch,
    )
    return Trained(initial, state_of(model), run.log, {n: s.numpy() for n, s in run.scores.items()})


@dataclass(frozen=True)
class Rewound:
    """What a rewind did: state before fine-tuning, masks, and how many weights of each layer."""

    state: State
    masks: dict[str, torch.Tensor]
    layers: pd.DataFrame


def rewind_weights(
    model: nn.Module,
    *,
    trained: State,
    vulnerability: Trained,
    config: CWRF,
    index: ScoreIndex | None = None,
) -> Rewound:
    """Rewind the base to the initial weights where vulnerability is highest; `model` gives names, types and regions.

    index: the sorted index of the vulnerability scores, where it is already on disk.
    """
    layers = pd.DataFrame(describe(model))
    index = index or ScoreIndex.of({name: vulnerability.scores[name] for name in layers["name"]})
    layers = select(index=index, layers=layers, config=config)
    counts = dict(zip(layers["name"], layers["rewound"], strict=True))
    marked = {n: torch.from_numpy(m) for n, m in masks(scores=vulnerability.scores, counts=counts).items()}
    base = vulnerability.final if config.base == "pve" else trained
    state = rewind(base=base, initial=vulnerability.initial, masks=marked, mode=config.mode)
    return Rewound(state, marked, layers)


def finetune(
    model: nn.Module,
    records: Records,
    rewound: Rewound,
    *,
    recipe: TrainConfig,
    config: CWRF,
    seed: int,
    on_epoch: OnEpoch = _quiet,
) -> Trained:
    """Load the rewound state into `model` and fine-tune it with the frozen weights held exactly."""
    model.load_state_dict(rewound.state)
    log: list[dict] = []
    if config.finetune.epochs:
        log = fit(
            model,
            members=records.members,
            recipe=finetune_recipe(recipe, config),
            seed=seed,
            reference=records.reference,
            watch=records.watch,
            frozen=frozen(masks=rewound.masks, mode=config.mode),
            on_epoch=on_epoch,
        ).log
    return Trained(rewound.state, state_of(model), log, {})


def finetune_recipe(recipe: TrainConfig, config: CWRF) -> TrainConfig:
    """The training recipe with the fine-tuning's epochs, objective and (rewound) learning rate."""
    tuning = config.finetune
    changes = {"epochs": tuning.epochs, "objective": tuning.objective, "lr": tuning.lr or recipe.lr}
    return recipe.model_copy(update=changes)
