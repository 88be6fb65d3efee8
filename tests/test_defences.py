"""Every kind of defence through its stages, against the same pipeline in memory as reference models go through it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.numpy import load_file

from core.config import BadInput
from core.data import Dataset
from core.data.to_tensors import tensors
from core.experiment import parse, plan, preview_stage, ranking_stage, run, selection
from core.pipeline import Records
from core.progress import Progress
from core.shadow_training import pipeline
from core.store import Store, read_json

TINY = {
    "data": {"kind": "digits", "members": 60, "non_members": 60, "reference": 60, "population": 40},
    "model": {"kind": "convnet", "channels": [8, 8]},
    "train": {"epochs": 3, "batch_size": 32},
    "audit": {"attacks": ["loss"], "gradient_records": 0},
}
TUNING = {"finetune": {"epochs": 2}}
DEFENCES = {
    "scratch": {"kind": "scratch"},
    "early stopping": {"kind": "scratch", "objective": {"kind": "ce"}, "stop_after": 2},
    "fine-tuning": {"kind": "fine-tuning", **TUNING},
    "cwrf": {"kind": "cwrf", **TUNING},
    "trained base": {"kind": "cwrf", "base": "trained", **TUNING},
    "A1": {"kind": "cwrf", "mode": "A1", **TUNING},
    "A2, two rounds": {"kind": "cwrf", "mode": "A2", "rounds": 2, **TUNING},
    "random": {"kind": "cwrf", "selection": "random", **TUNING},
    "magnitude": {"kind": "cwrf", "selection": "magnitude", **TUNING},
    "learnability": {"kind": "cwrf", "selection": "learnability", **TUNING},
    "learnability, trained base": {"kind": "cwrf", "selection": "learnability", "base": "trained", **TUNING},
    "PAST": {"kind": "cwrf", "selection": "past", **TUNING},
    "early epoch": {"kind": "cwrf", "rewind_to": "early", "early_epoch": 1, **TUNING},
    "early epoch, trained base": {"kind": "cwrf", "rewind_to": "early", "early_epoch": 1, "base": "trained", **TUNING},
    "fresh values": {"kind": "cwrf", "rewind_to": "fresh", **TUNING},
    "two rounds": {"kind": "cwrf", "rounds": 2, **TUNING},
    "stopped early": {"kind": "cwrf", "finetune": {"epochs": 3, "stop_after": 1}},
    "fine-tuning, stopped early": {"kind": "fine-tuning", "finetune": {"epochs": 3, "stop_after": 1}},
    "no tuning": {"kind": "cwrf", "finetune": {"epochs": 0}},
}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return Store(tmp_path_factory.mktemp("defences"))


def experiment(defence, **changes):
    return parse(TINY | {"defence": defence} | changes)


def weights(store, e, key="defended", name="final"):
    return load_file(store.path(plan(e)[key]) / f"{name}.safetensors")


@pytest.mark.parametrize("name", DEFENCES)
def test_the_stages_and_the_pipeline_in_memory_give_the_same_weights(store, name):
    e = experiment(DEFENCES[name])
    summary = run(e, store)
    dataset = Dataset.read(store.path(plan(e)["data"]))
    records = Records(tensors(dataset, "members"), tensors(dataset, "reference"))
    model = pipeline(e, records, dataset.shape, len(dataset.classes), e.seed, defended=True)
    staged = weights(store, e)
    for weight, value in model.state_dict().items():
        np.testing.assert_allclose(staged[weight], value.numpy(), rtol=1e-4, atol=1e-5, err_msg=weight)
    assert summary["after"]["attacks"]["loss"]["members"] == 60


def masks(store, e, key="defended"):
    folder = store.path(plan(e)[key])
    packed, final = load_file(folder / "masks.safetensors"), load_file(folder / "final.safetensors")
    return {n: np.unpackbits(m, count=final[n].size).astype(bool).reshape(final[n].shape) for n, m in packed.items()}


def test_the_second_round_adds_weights_and_keeps_the_first_ones_rewound(store):
    e = experiment(DEFENCES["two rounds"])
    run(e, store)
    first, both = masks(store, e, "round1"), masks(store, e)
    final, initial = weights(store, e), weights(store, e, "vulnerability", "initial")
    total = sum(m.size for m in first.values())
    assert sum(m.sum() for m in first.values()) == round(0.05 * total)
    assert sum(m.sum() for m in both.values()) == 2 * round(0.05 * total)
    for name, mask in both.items():
        assert (mask | ~first[name]).all()
        np.testing.assert_array_equal(final[name][mask], initial[name][mask])
    # the first round is the one-round experiment's own result, not computed again
    assert plan(e)["round1"].hash == plan(experiment(DEFENCES["cwrf"]))["defended"].hash


def test_where_the_weights_go(store):
    places = {name: experiment(DEFENCES[name]) for name in ("cwrf", "early epoch", "fresh values")}
    found = {}
    for name, e in places.items():
        run(e, store)
        found[name] = weights(store, e), masks(store, e)
    early = weights(store, places["early epoch"], "early")
    initial = weights(store, places["cwrf"], "vulnerability", "initial")
    for layer, mask in found["cwrf"][1].items():
        for name in places:
            np.testing.assert_array_equal(found[name][1][layer], mask)  # the choice does not depend on the target
        np.testing.assert_array_equal(found["early epoch"][0][layer][mask], early[layer][mask])
        np.testing.assert_array_equal(found["cwrf"][0][layer][mask], initial[layer][mask])
    conv = next(name for name, m in found["cwrf"][1].items() if "conv" in name and m.any())
    mask = found["cwrf"][1][conv]
    assert not np.isclose(found["fresh values"][0][conv][mask], initial[conv][mask]).all()


@pytest.mark.parametrize("kind", ["scratch", "fine-tuning", "cwrf"])
def test_what_is_only_released_differently_is_not_trained_again(store, kind):
    def hamp(**settings):
        objective = {"kind": "hamp", "gamma": 0.5, **settings}
        own = {"objective": objective} if kind == "scratch" else {"finetune": {"epochs": 2, "objective": objective}}
        return experiment({"kind": kind, **own})

    plans = [plan(e) for e in (hamp(), hamp(test_time=True), hamp(test_time=True, key="another"), hamp(gamma=0.6))]
    trained, audited, whole = ([p[name].hash for p in plans] for name in ("defended", "after", "experiment"))
    assert trained[0] == trained[1] == trained[2] != trained[3]
    assert len(set(audited)) == len(set(whole)) == 4
    if kind == "cwrf":  # accuracy and AUC right after the rewind are of the outputs that would be released
        assert preview_stage(hamp()).hash != preview_stage(hamp(test_time=True)).hash
    plainly, replaced = (run(e, store)["after"] for e in (hamp(), hamp(test_time=True)))
    assert plainly["test_accuracy"] == replaced["test_accuracy"] and plainly["test_loss"] != replaced["test_loss"]


def test_an_early_epoch_is_that_epoch_of_the_same_run(store):
    """Stopping after epoch 1 of 3 gives the weights the whole run had then, its learning rate schedule included."""
    from core.pipeline import make
    from core.training.loop import fit

    e = experiment(DEFENCES["early epoch, trained base"])
    run(e, store)
    dataset = Dataset.read(store.path(plan(e)["data"]))
    model, seen = make(e.model, dataset.shape, len(dataset.classes), e.seed), []
    copy = lambda *_: seen.append({n: v.clone() for n, v in model.state_dict().items()})  # noqa: E731
    fit(model, members=tensors(dataset, "members"), recipe=e.train, seed=e.seed, accumulate=True, on_epoch=copy)
    for name, value in weights(store, e, "early").items():
        torch.testing.assert_close(torch.from_numpy(value), seen[0][name], rtol=1e-4, atol=1e-5)


def test_rival_rules_choose_other_weights_as_many_of_them(store):
    chosen = {}
    for name in ("cwrf", "random", "magnitude", "learnability", "PAST"):
        e = experiment(DEFENCES[name])
        run(e, store)
        chosen[name] = np.concatenate([m.ravel() for m in masks(store, e).values()])
        counts = selection(store.path(ranking_stage(e)), e.defence)
        stored = pd.read_parquet(store.path(plan(e)["defended"]) / "layers.parquet")
        assert counts["rewound"].tolist() == stored["rewound"].tolist()
    sizes = {name: int(m.sum()) for name, m in chosen.items()}
    assert len(set(sizes.values())) == 1
    assert all((chosen[name] != chosen["cwrf"]).any() for name in chosen if name != "cwrf")
    magnitude = experiment(DEFENCES["magnitude"])
    base = weights(store, magnitude, "vulnerability")
    flat = np.concatenate([np.abs(base[n]).ravel() for n in masks(store, magnitude)])
    assert flat[chosen["magnitude"]].min() >= flat[~chosen["magnitude"]].max()


def test_the_preview_of_a_rival_rule(store):
    e = experiment(DEFENCES["random"])
    untuned = experiment(DEFENCES["random"] | {"finetune": {"epochs": 0}})
    preview = read_json(store.ensure(preview_stage(e), Progress()) / "preview.json")
    assert preview["test_accuracy"] == run(untuned, store)["after"]["test_accuracy"]


def test_onion(store):
    e = experiment(DEFENCES["cwrf"], onion=True)
    run(e, store)
    folder = store.path(plan(e)["onion"])
    layers, overlap = pd.read_parquet(folder / "layers.parquet"), pd.read_parquet(folder / "overlap.parquet")
    for kind in ("vulnerability", "onion_before", "onion_after"):
        assert layers[kind].sum() == pytest.approx(1)
        assert (layers[f"{kind}_rewound"] <= layers[kind] + 1e-12).all()
    assert overlap["overlap"].between(0, 1).all() and set(overlap["free"]) == {False, True}
    assert set(overlap["new"]) == {"onion_before", "onion_after"} and set(overlap["old"]) == {"vulnerability"}
    initial, defended = weights(store, e, "vulnerability", "initial"), weights(store, e, "defended")
    for name, mask in masks(store, e).items():
        np.testing.assert_array_equal(defended[name][mask], initial[name][mask])
    # the control is the same base with the same fine-tuning, and nothing is rewound
    assert not any(mask.any() for mask in masks(store, e, "control").values())
    logs = [pd.read_parquet(store.path(plan(e)[key]) / "log.parquet") for key in ("defended", "control")]
    assert len(logs[0]) == len(logs[1]) > 0 and not logs[0]["loss"].equals(logs[1]["loss"])


def test_early_stopping_follows_the_whole_schedule(store):
    stopped, whole = (
        experiment(DEFENCES["stopped early"] | {"finetune": {"epochs": 3, **more}}) for more in ({"stop_after": 1}, {})
    )
    logs = []
    for e in (stopped, whole):
        run(e, store)
        logs.append(pd.read_parquet(store.path(plan(e)["defended"]) / "log.parquet").set_index("epoch"))
    assert list(logs[0].index.unique()) == [1] and list(logs[1].index.unique()) == [1, 2, 3]
    pd.testing.assert_frame_equal(logs[0], logs[1].loc[[1]])  # 120 records: the log of every epoch sees them all


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"defence": {"kind": "cwrf", "rewind_to": "early", "early_epoch": 3}}, "early_epoch 3 is not before"),
        ({"defence": {"kind": "fine-tuning"}, "onion": True}, "needs defence.kind cwrf"),
        ({"defence": {"kind": "cwrf", "selection": "biggest"}}, "defence.selection"),
        ({"defence": {"kind": "cwrf", "rounds": 0}}, "defence.rounds"),
        ({"defence": {"kind": "cwrf", "rounds": 2, "selection": "random"}}, "defence.rounds 2: later rounds rank"),
        (
            {"defence": {"kind": "cwrf", "finetune": {"epochs": 2, "stop_after": 2}}},
            "finetune.stop_after 2 is not before",
        ),
        # an objective that never gets to work
        (
            {"defence": {"kind": "fine-tuning", "finetune": {"epochs": 1, "objective": {"kind": "adversarial"}}}},
            "defence: the first epoch of adversarial regularisation is plain cross-entropy: train for at least 2",
        ),
        (
            {"defence": {"kind": "scratch", "objective": {"kind": "adversarial"}, "stop_after": 1}},
            "train for at least 2",
        ),
        (
            {"train": {"epochs": 3, "objective": {"kind": "past", "plain_epochs": 3}}},
            "train: plain_epochs 3 leaves none of 3 epochs to the penalty",
        ),
        (
            {"defence": {"kind": "scratch", "epochs": 2, "objective": {"kind": "past", "plain_epochs": 2}}},
            "defence: plain_epochs 2 leaves none of 2 epochs",
        ),
        (
            {"defence": {"finetune": {"epochs": 4, "stop_after": 2, "objective": {"kind": "past", "plain_epochs": 2}}}},
            "defence: plain_epochs 2 leaves none of 2 epochs",
        ),
        (
            {"model": {"kind": "mlp"}, "train": {"batch_size": 32, "objective": {"kind": "dpsgd", "delta": 0.02}}},
            "train: delta 0.02 lets the guarantee fail for a whole record: set it below 1 / data.members = 0.017",
        ),
    ],
)
def test_bad_input_is_named(change, said):
    with pytest.raises(BadInput, match=said):
        parse(TINY | change)


def test_without_epochs_no_objective_is_asked():
    for objective in ({"kind": "past"}, {"kind": "adversarial"}):
        assert experiment({"kind": "cwrf", "finetune": {"epochs": 0, "objective": objective}})
