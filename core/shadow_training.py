"""One reference model from start to end, in whatever process it is called: engine, imports torch."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from core.attacks.shadows import OFFSET
from core.config import BadInput
from core.data import Dataset
from core.data.to_tensors import tensors
from core.defence import CWRF, FromScratch, objective_of, recipe_of, stop_of
from core.experiment import Experiment
from core.pipeline import OnEpoch, Records, cwrf, make, train
from core.queries import Trajectory, ask
from core.training.device import device


def unwatched(model: nn.Module) -> OnEpoch:
    """Nothing is noted while the model is trained."""
    return lambda epoch, rows: None


def train_reference(
    dataset: Dataset, experiment: dict[str, Any], number: int, inside: np.ndarray, defended: bool
) -> tuple[int, dict[str, np.ndarray]]:
    """Train reference model `number` on the audited records that `inside` [N] marks; its outputs, not its weights.

    defended: the whole of score → rewind → fine-tune, as an adaptive attacker runs it. Arrays: reference_phi [N, Q],
    reference_population_phi [P, Q], reference_logits [N, K] float32, reference_in [N] bool; and reference_trajectory
    [N, T] where the attack that looks at it is asked for. Raises BadInput, with the number, where the training fails.
    """
    if device().type == "cpu":
        torch.set_num_threads(1)  # a cluster's workers do not get joblib's setting
    e = Experiment.model_validate(experiment)
    records = Records(tensors(dataset, dataset.audited[inside], device()), tensors(dataset, "reference", device()))
    path = Trajectory(dataset, last_run(e, defended)) if "trajectory" in e.audit.attacks else None
    watch = path.of if path else unwatched
    try:
        model = pipeline(e, records, dataset.shape, len(dataset.classes), e.seed + OFFSET + number, defended, watch)
    except BadInput as error:
        raise BadInput(f"reference model {number}: {error} {_without(number)}") from error
    audited = ask(model, dataset, dataset.audited, e.audit.shadows.queries)
    population = ask(model, dataset, dataset.splits["population"], e.audit.shadows.queries)
    return number, {
        "reference_phi": audited.phi,
        "reference_population_phi": population.phi,
        "reference_logits": audited.logits,
        "reference_in": inside,
        **({"reference_trajectory": found} if path and (found := path.arrays().get("trajectory")) is not None else {}),
    }


def _without(number: int) -> str:
    """What helps where one reference model fails and the target did not."""
    fewer = number // 2 * 2  # models come in pairs, and fewer of them are the same ones
    advice = f"set audit.shadows.models to {fewer}" if fewer else "draw other halves with another audit.shadows.seed"
    return f"The recipe is the target's too; to leave it as it is, {advice}. What is finished stays in the store."


def pipeline(
    e: Experiment,
    records: Records,
    shape: tuple[int, ...],
    classes: int,
    seed: int,
    defended: bool,
    watch: Callable[[nn.Module], OnEpoch] = unwatched,
) -> nn.Module:
    """The experiment's pipeline on these members, plain or with its defence: the model as it is released.

    watch: given the model that is trained last, what is told of that run's epochs.
    """
    d = e.defence if defended else None
    fresh = partial(make, e.model, shape, classes)
    if isinstance(d, CWRF):
        model = cwrf(records, d, fresh, recipe=e.train, importance=e.importance, seed=seed, watch=watch)
    elif isinstance(d, FromScratch):
        model = fresh(seed)
        recipe, stop = recipe_of(e.train, d), stop_of(d)
        train(model, records, recipe=recipe, seed=seed, scores=False, stop_after=stop, on_epoch=watch(model))
    else:
        model = fresh(seed)
        first = unwatched if d else watch
        trained = train(model, records, recipe=e.train, seed=seed, scores=False, on_epoch=first(model))
        if d:
            train(
                model,
                records,
                start=trained.final,
                recipe=recipe_of(e.train, d),
                seed=seed,
                scores=False,
                stop_after=stop_of(d),
                on_epoch=watch(model),
            )
    return (objective_of(d) if d else e.train.objective).release(model)


def last_run(e: Experiment, defended: bool) -> int:
    """Epochs of the run that the pipeline ends in."""
    if not defended or e.defence is None:
        return e.train.epochs
    epochs = recipe_of(e.train, e.defence).epochs
    return min(epochs, stop_of(e.defence) or epochs)
