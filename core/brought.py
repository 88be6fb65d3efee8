"""A brought model, checked before its experiment starts: do weights, architecture and data belong together?

Free of torch until `check` is called.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from core.config import BadInput
from core.data import Dataset, TorchvisionData, build
from core.data.config import DataConfig
from core.data.facts import Facts, check_sizes, facts
from core.experiment import Experiment
from core.figures import numbers as n
from core.models import ModelConfig

if TYPE_CHECKING:
    from torch.nn import Module

TRIED = 500
"""Records per split that the check classifies."""


def check(experiment: Experiment) -> list[str]:
    """What was found, one sentence each; BadInput names the first thing that does not fit. Imports torch: seconds.

    Checked: file formats, keys, shapes, classes, finite values, split sizes, and that the initial weights differ
    from the trained ones.
    """
    assert experiment.weights
    found = facts(experiment.data)
    if found.members is None:
        raise BadInput(
            "the data do not say which records the model was trained on: "
            "give a file of row numbers (data.member_indices) or a column member"
        )
    check_sizes(experiment.data, found)
    dataset = None
    if not isinstance(experiment.data, TorchvisionData):  # it may have to be downloaded first: the job does that
        dataset = _some(experiment.data)
        found = replace(found, shape=dataset.shape)
    model, same = _weights(experiment, found)
    if same:
        raise BadInput(
            "initial and trained weights are the same: rewinding would change nothing; give the weights from before "
            "the training, or none"
        )
    told = [
        f"The weights fit: {n.weights(sum(p.numel() for p in model.parameters()))} weights, {found.classes} classes, "
        f"records of {'×'.join(map(str, found.shape))}.",
        f"The data hold {n.count(found.members)} members and {n.count(found.outside)} other records.",
    ]
    return told if dataset is None else [*told, _accuracy(dataset, model)]


def expected(model: ModelConfig, shape: tuple[int, ...], classes: int) -> list[tuple[str, str]]:
    """Name and shape ("64×3×3×3") of every tensor that a file of weights must hold. Imports torch."""
    from core.models.build import build
    from core.models.checkpoints import size

    return [(name, size(tensor)) for name, tensor in build(model, shape, classes, 0).state_dict().items()]


def _weights(experiment: Experiment, found: Facts) -> tuple[Module, bool]:
    """(the model at its trained weights, whether the initial weights given are the same)."""
    import torch

    from core.models import checkpoints
    from core.pipeline import make

    weights = experiment.weights
    assert weights
    experiment.model.fits(found.shape)
    model = make(experiment.model, found.shape, found.classes, weights.initial_seed)
    trained = checkpoints.read(weights.trained)
    checkpoints.fit(model, trained, "trained weights")
    same = False
    if weights.initial:
        initial = checkpoints.read(weights.initial)
        checkpoints.fit(model, initial, "initial weights")
        same = all(torch.equal(initial[name].float(), trained[name].float()) for name, _ in model.named_parameters())
        checkpoints.fit(model, trained, "trained weights")
    return model, same


def _some(data: DataConfig) -> Dataset:
    """The dataset with at most TRIED records per split."""
    sizes = {name: min(TRIED, getattr(data, name)) for name in ("members", "non_members", "reference", "population")}
    return build(data.model_copy(update=sizes))


def _accuracy(dataset: Dataset, model: Module) -> str:
    """Accuracy on a few records: wrong normalisation or another order of classes shows here, before any waiting."""
    from core.data.to_tensors import tensors
    from core.training.device import device
    from core.training.loop import measure

    parts = {name: measure(model, tensors(dataset, name, device())) for name in ("members", "non_members")}
    told = [
        f"{n.accuracy(part['accuracy'])} of {n.count(part['records'])} {name.replace('_', '-')}"
        for name, part in parts.items()
    ]
    return (
        f"It classifies {' and '.join(told)} correctly. If you expect more, the normalisation or the order of classes "
        "differs from your training."
    )
