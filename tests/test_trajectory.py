"""Losses at a few epochs: what is noted, that noting changes nothing, and the attack on it from end to end."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.numpy import load_file
from torch.nn.functional import cross_entropy

from core.attacks.shadows import load_references
from core.data import Dataset
from core.data.to_tensors import tensors
from core.experiment import parse, plan, run
from core.pipeline import Records, make, train
from core.queries import Trajectory, checkpoints
from core.store import Store
from core.training.device import device
from core.training.loop import predict
from tests.conftest import SMALL

AUDIT = {"attacks": ["loss", "trajectory"], "gradient_records": 0, "shadows": {"models": 2}}


@pytest.mark.parametrize(
    ("epochs", "noted"), [(1, [1]), (2, [1, 2]), (3, [1, 2, 3]), (4, [1, 2, 3, 4]), (20, [5, 10, 15, 20])]
)
def test_epochs_are_evenly_spaced_and_the_last_is_one_of_them(epochs, noted):
    assert checkpoints(epochs) == noted


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """The small experiment with the attack, two reference models per pipeline."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REWINDLAB_WORKERS", "1")
        store, e = Store(tmp_path_factory.mktemp("trajectory")), parse(SMALL | {"audit": AUDIT})
        return store, e, run(e, store)


def test_the_losses_are_those_of_trainings_that_stop_there(done):
    store, e, _ = done
    stages = plan(e)
    found = load_file(store.path(stages["train"]) / "trajectory.safetensors")
    assert found["trajectory"].shape == (220, 3) and found["population_trajectory"].shape == (60, 3)
    dataset = Dataset.read(store.path(stages["data"]))
    for column, epoch in enumerate(checkpoints(e.train.epochs)):
        model = make(e.model, dataset.shape, len(dataset.classes), e.seed)
        records = Records(tensors(dataset, "members", device()))
        train(model, records, recipe=e.train, seed=e.seed, stop_after=epoch)
        for name, part in (("trajectory", dataset.audited), ("population_trajectory", dataset.splits["population"])):
            x, y = tensors(dataset, part, device())
            losses = cross_entropy(predict(model, x), y, reduction="none").cpu().numpy()
            np.testing.assert_allclose(found[name][:, column], losses, rtol=1e-3, atol=1e-5)


def test_noting_changes_nothing_in_the_training(done):
    store, e, _ = done
    dataset = Dataset.read(store.path(plan(e)["data"]))
    records = Records(tensors(dataset, "members", device()))
    recipe = e.train.model_copy(update={"augment": True})
    finals = []
    for noted in (False, True):
        model = make(e.model, dataset.shape, len(dataset.classes), e.seed)
        path = Trajectory(dataset, recipe.epochs)
        extra = {"on_epoch": path.of(model)} if noted else {}
        finals.append(train(model, records, recipe=recipe, seed=0, **extra).final)
        assert bool(path.arrays()) == noted
    assert all(torch.equal(finals[0][name], finals[1][name]) for name in finals[0])


def test_the_attack_learns_from_references_and_says_so(done):
    store, e, found = done
    stages = plan(e)
    assert {"loss", "trajectory"} == found["before"]["attacks"].keys()
    before, after = (pd.read_parquet(store.path(stages[k]) / "attacks.parquet") for k in ("before", "after"))
    row = before[before["attack"] == "trajectory"].iloc[0]
    assert row["title"] == "Loss trajectory, white box (adaptive)"
    assert row["chosen"].startswith("checkpoints 3, weights learned")
    # fine-tuning has 2 epochs, training 3: references without the defence cannot teach what to make of it
    assert "trajectory:non-adaptive" not in set(after["attack"])
    assert after[after["attack"] == "trajectory"].iloc[0]["chosen"].startswith("checkpoints 2, weights learned")
    for key, epochs in (("shadows", 3), ("shadows_defended", 2)):
        references = load_references(store.path(stages[key]))
        path = references["reference_trajectory"]
        assert path.shape == (2, 220, epochs)
        last = np.logaddexp(0, -references["reference_phi"][:, :, 0].astype(float))
        np.testing.assert_allclose(path[:, :, -1], last, rtol=1e-5, atol=1e-6)


def test_references_note_losses_only_where_asked_and_are_then_others():
    with_it, without = parse(SMALL | {"audit": AUDIT}), parse(SMALL | {"audit": AUDIT | {"attacks": ["loss"]}})
    for key, same in (("train", True), ("defended", True), ("shadows", False), ("shadows_defended", False)):
        assert (plan(with_it)[key].hash == plan(without)[key].hash) == same


def test_without_references_the_target_alone_is_enough(done):
    store, _, _ = done
    e = parse(SMALL | {"audit": AUDIT | {"shadows": {"models": 0}}})
    run(e, store)
    table = pd.read_parquet(store.path(plan(e)["before"]) / "attacks.parquet").set_index("attack")
    row = table.loc[["trajectory"]].iloc[0]
    assert (row["title"], row["adaptive"]) == ("Loss trajectory, white box", "no references")
    assert row["chosen"] == "checkpoints 3, weights equal" and row["threshold_from"] == "other half"


def test_brought_weights_have_no_path_before_but_one_of_the_fine_tuning(done):
    store, e, _ = done
    trained = store.path(plan(e)["train"])
    weights = {"trained": str(trained / "final.safetensors"), "initial": str(trained / "initial.safetensors")}
    brought = parse(SMALL | {"audit": AUDIT | {"shadows": {"models": 0}}, "weights": weights})
    found = json.loads(json.dumps(run(brought, store)))
    table = pd.read_parquet(store.path(plan(brought)["before"]) / "attacks.parquet").set_index("attack")
    assert "weights that were brought" in table.loc["trajectory", "reason"]
    assert "trajectory" not in found["before"]["attacks"] and "trajectory" in found["after"]["attacks"]
