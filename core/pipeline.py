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

from core.defence import recipe_of
from core.defenses import CrossEntropy, ObjectiveBase
from core.importance.config import ImportanceConfig
from core.importance.index import ScoreIndex
from core.importance.vulnerability import PVE
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

FRESH = 2_000_003
"""Between the seeds of a model's initial weights and of those that replace them when rewinding to fresh values."""


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
    privacy: dict | None = None
    """What DP-SGD guarantees for this run, see `core.training.loop.Fit`."""


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
    start: State | None = None,
    held: State | None = None,
    anchor: nn.Module | None = None,
    scores: bool = True,
    stop_after: int | None = None,
    on_epoch: OnEpoch = _quiet,
) -> Trained:
    """Train `model` from `start`, else from where it is; 0 epochs leave it there.

    held: masks of weights that do not move. anchor: a model at the initial weights, for PVE that starts elsewhere.
    The scores are those of the objective: learnability with cross-entropy, privacy vulnerability with PVE; `scores`
    False leaves them out.
    """
    if start is not None:
        model.load_state_dict(start)
    initial = state_of(model)
    if not recipe.epochs:
        return Trained(initial, initial, [], {})
    run = fit(
        model,
        members=records.members,
        recipe=recipe,
        seed=seed,
        objective=objective,
        reference=records.reference,
        watch=records.watch,
        frozen=held,
        accumulate=scores,
        anchor=anchor,
        stop_after=stop_after,
        on_epoch=on_epoch,
    )
    return Trained(initial, state_of(model), run.log, {n: s.numpy() for n, s in run.scores.items()}, run.privacy)


@dataclass(frozen=True)
class Rewound:
    """What a rewind did: state before fine-tuning, masks of everything rewound so far, how many weights per layer."""

    state: State
    masks: dict[str, torch.Tensor]
    layers: pd.DataFrame


def rewind_weights(
    model: nn.Module,
    *,
    base: State,
    target: State,
    scores: dict[str, np.ndarray],
    config: CWRF,
    index: ScoreIndex | None = None,
    held: dict[str, torch.Tensor] | None = None,
) -> Rewound:
    """Send the weights of `base` with the highest scores to their values in `target`; `model` gives names and types.

    index: the sorted index of the scores, where it is already on disk. held: masks of an earlier round, whose weights
    are not chosen again and stay rewound.
    """
    layers = pd.DataFrame(describe(model))
    if held:
        scores = {name: np.where(held[name].numpy(), 0, score) for name, score in scores.items()}
        index = None
    index = index or ScoreIndex.of({name: scores[name] for name in layers["name"]})
    layers = select(index=index, layers=layers, config=config)
    counts = dict(zip(layers["name"], layers["rewound"], strict=True))
    marked = {n: torch.from_numpy(m) for n, m in masks(scores=scores, counts=counts).items()}
    if held:
        marked = {name: mask | held[name] for name, mask in marked.items()}
        layers["rewound"] = [int(marked[name].sum()) for name in layers["name"]]
        layers["share"] = layers["rewound"] / layers["count"]
    return Rewound(rewind(base=base, initial=target, masks=marked, mode=config.mode), marked, layers)


def ranking(
    selection: str, model: nn.Module, records: Records, *, base: State, names: list[str], seed: int
) -> dict[str, np.ndarray]:
    """What the rival selection rules rank weights by: |w| of the base, a seeded draw, or PAST's γ at the base."""
    if selection == "magnitude":
        return {name: base[name].abs().numpy() for name in names}
    if selection == "random":
        rng = np.random.default_rng(seed)
        return {name: rng.random(tuple(base[name].shape), np.float32) for name in names}
    from core.defenses.past import gamma

    model.load_state_dict(base)
    assert records.reference is not None
    found = gamma(model, records.members, records.reference)
    return {name: found[name].cpu().numpy() for name in names}


def cwrf(
    records: Records,
    config: CWRF,
    make_model: Callable[[int], nn.Module],
    *,
    recipe: TrainConfig,
    importance: ImportanceConfig,
    seed: int,
    watch: Callable[[nn.Module], OnEpoch] = lambda model: _quiet,
) -> nn.Module:
    """The whole of score → rewind → fine-tune in memory, as a reference model of an adaptive attack goes through it.

    make_model(seed): a freshly initialised model. watch: given the model, what is told of the last fine-tuning's
    epochs. The stages of an experiment do the same with a store between them.
    """
    pve = PVE(lam=importance.lam, kl=importance.kl)
    scoring = importance.recipe(recipe)
    model, anchor = make_model(seed), make_model(seed)
    names = [row["name"] for row in describe(model)]

    def run(
        objective: ObjectiveBase, recipe: TrainConfig, scores: bool = False, stop_after: int | None = None
    ) -> Trained:
        fresh = make_model(seed)
        return train(
            fresh, records, recipe=recipe, seed=seed, objective=objective, scores=scores, stop_after=stop_after
        )

    objective, own = (pve, scoring) if config.base == "pve" else (recipe.objective, recipe)
    base = run(objective, own, scores=config.base == "pve" and config.selection == "pve")
    if config.rewind_to == "early":
        target = run(objective, own, stop_after=config.early_epoch).final
    else:
        target = state_of(anchor if config.rewind_to == "initial" else make_model(seed + FRESH))
    if config.selection == "pve":
        scores = base.scores or run(pve, scoring, scores=True).scores
    elif config.selection == "learnability":
        scores = run(CrossEntropy(), scoring, scores=True).scores
    else:
        scores = ranking(config.selection, model, records, base=base.final, names=names, seed=seed)
    tuning, at = recipe_of(recipe, config), base.final
    held: State | None = None
    for number in range(config.rounds):
        if number:
            still = kept(held, config.mode)
            scores = train(
                model, records, start=at, anchor=anchor, recipe=scoring, objective=pve, seed=seed, held=still
            ).scores
        rewound = rewind_weights(model, base=at, target=target, scores=scores, config=config, held=held)
        held = rewound.masks
        at = train(
            model,
            records,
            start=rewound.state,
            recipe=tuning,
            seed=seed,
            held=frozen(masks=held, mode=config.mode),
            scores=False,
            stop_after=config.finetune.stop_after,
            on_epoch=watch(model) if number == config.rounds - 1 else _quiet,
        ).final
    return model


def kept(held: State | None, mode: str) -> State | None:
    """The weights that stay rewound while the model is scored again: none after A2, which tunes just those."""
    return None if mode == "A2" else held
