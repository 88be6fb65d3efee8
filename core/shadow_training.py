"""One reference model from start to end, in whatever process it is called: engine, imports torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from core.attacks.shadows import OFFSET
from core.data import Dataset
from core.data.to_tensors import tensors
from core.experiment import Experiment
from core.importance.vulnerability import PVE
from core.pipeline import Records, finetune, make, rewind_weights, train
from core.queries import ask
from core.training.device import device


def train_reference(
    dataset: Dataset, experiment: dict[str, Any], number: int, inside: np.ndarray, defended: bool
) -> tuple[int, dict[str, np.ndarray]]:
    """Train reference model `number` on the audited records that `inside` [N] marks; its outputs, not its weights.

    defended: the whole of score → rewind → fine-tune, as an adaptive attacker runs it. Arrays: reference_phi [N, Q],
    reference_population_phi [P, Q], reference_logits [N, K] float32, reference_in [N] bool.
    """
    if device().type == "cpu":
        torch.set_num_threads(1)  # a cluster's workers do not get joblib's setting
    e = Experiment.model_validate(experiment)
    records = Records(tensors(dataset, dataset.audited[inside], device()), tensors(dataset, "reference", device()))
    model = pipeline(e, records, dataset.shape, len(dataset.classes), e.seed + OFFSET + number, defended)
    audited = ask(model, dataset, dataset.audited, e.audit.shadows.queries)
    population = ask(model, dataset, dataset.splits["population"], e.audit.shadows.queries)
    return number, {
        "reference_phi": audited.phi,
        "reference_population_phi": population.phi,
        "reference_logits": audited.logits,
        "reference_in": inside,
    }


def pipeline(
    e: Experiment, records: Records, shape: tuple[int, ...], classes: int, seed: int, defended: bool
) -> torch.nn.Module:
    """The experiment's pipeline on these members: plain training, or with its defence."""
    model = make(e.model, shape, classes, seed)
    if not defended or e.defence is None:
        train(model, records, recipe=e.train, seed=seed, scores=False)
        return model
    trained = None
    if e.defence.base == "trained":
        trained = train(model, records, recipe=e.train, seed=seed, scores=False).final
        model = make(e.model, shape, classes, seed)
    scoring = e.train.model_copy(update={"epochs": e.importance.epochs or e.train.epochs})
    objective = PVE(lam=e.importance.lam, kl=e.importance.kl)
    vulnerability = train(model, records, recipe=scoring, seed=seed, objective=objective)
    rewound = rewind_weights(
        model, trained=trained or vulnerability.final, vulnerability=vulnerability, config=e.defence
    )
    finetune(model, records, rewound, recipe=e.train, config=e.defence, seed=seed)
    return model
