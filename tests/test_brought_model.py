"""A model that somebody brings, from its files to its audit."""

import json
import pickle

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file

from core.brought import check
from core.config import BadInput
from core.data import Dataset
from core.experiment import parse, plan, run
from core.store import Store

SIZES = {"members": 80, "non_members": 80, "reference": 60, "population": 40}
ORIGINAL = {
    "data": {"kind": "digits", "label_noise": 0.0, **SIZES},
    "model": {"kind": "convnet", "channels": [8, 8]},
    "train": {"epochs": 4},
    "defence": {"kind": "cwrf", "base": "trained", "finetune": {"epochs": 1}},
    # attacks that see the audited records only: reference and population are drawn anew for a brought model
    "audit": {"attacks": ["loss", "mentr", "entropy", "top1", "correctness", "gradient_norm"]},
}


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """(store, experiment, folders of its stages)."""
    store = Store(tmp_path_factory.mktemp("original"))
    experiment = parse(ORIGINAL)
    run(experiment, store)
    return store, experiment, {name: store.path(stage) for name, stage in plan(experiment).items()}


@pytest.fixture(scope="module")
def brought(original, tmp_path_factory):
    """The original's files as somebody would bring them."""
    _, _, folders = original
    folder = tmp_path_factory.mktemp("brought")
    dataset = Dataset.read(folders["data"])
    rows = {name: dataset.row[dataset.splits[name]].tolist() for name in ("members", "non_members")}
    (folder / "rows.json").write_text(json.dumps(rows))
    for name in ("initial", "final"):
        (folder / f"{name}.safetensors").write_bytes((folders["train"] / f"{name}.safetensors").read_bytes())
    torch.save({"state_dict": load_file(folder / "final.safetensors")}, folder / "final.pt")
    data = {"kind": "digits", "label_noise": 0.0, **SIZES, "member_indices": str(folder / "rows.json")}
    data |= {"mean": dataset.mean.tolist(), "std": dataset.std.tolist()}
    weights = {"trained": str(folder / "final.safetensors"), "initial": str(folder / "initial.safetensors")}
    return folder, ORIGINAL | {"data": data, "weights": weights}


def test_its_audit_is_that_of_the_original(original, brought):
    store, _, folders = original
    _, value = brought
    experiment = parse(value)
    assert any("The weights fit" in sentence for sentence in check(experiment))
    run(experiment, store)
    loaded = store.path(plan(experiment)["before"])
    # the records come in another order, because members are drawn from the rows that were brought
    tables = [pd.read_parquet(f / "records.parquet").sort_values("source_row") for f in (folders["before"], loaded)]
    assert (tables[0]["source_row"].to_numpy() == tables[1]["source_row"].to_numpy()).all()
    assert (tables[0]["member"].to_numpy() == tables[1]["member"].to_numpy()).all()
    assert tables[0]["loss"].to_numpy() == pytest.approx(tables[1]["loss"].to_numpy(), abs=1e-4)
    attacks = [pd.read_parquet(f / "attacks.parquet").query("group == 'all'") for f in (folders["before"], loaded)]
    assert attacks[0]["auc"].to_numpy() == pytest.approx(attacks[1]["auc"].to_numpy(), abs=2e-3)
    # with its own initial weights, the base kept is the brought model outside the rewound weights
    assert store.path(plan(experiment)["after"]).is_dir()


def test_a_state_dict_is_the_same_model_and_an_initialisation_can_be_missing(brought):
    folder, value = brought
    told = check(parse(value | {"weights": {"trained": str(folder / "final.pt"), "initial_seed": 3}}))
    assert (
        told[0].startswith("The weights fit") and "80 members" in told[1] and "of 80 non-members correctly" in told[2]
    )


def broken(folder, name, change):
    state = load_file(folder / "final.safetensors")
    change(state)
    save_file(state, folder / name)
    return str(folder / name)


def test_wrong_files_are_named(brought):
    folder, value = brought

    def refused(message, **changes):
        with pytest.raises(BadInput, match=message):
            check(parse(value | changes))

    refused(r"do not fit this architecture: block3\S+ is missing", model={"kind": "convnet", "channels": [8, 8, 8]})
    refused("8×1×3×3 instead of 9×1×3×3", model={"kind": "convnet", "channels": [9, 8]})
    head = broken(folder, "head.safetensors", lambda s: s.update({k: v[:7] for k, v in s.items() if "head" in k}))
    refused("are for 7 classes, the data have 10", weights={"trained": head})
    lost = broken(folder, "lost.safetensors", lambda s: s.pop("head.bias"))
    refused("initial weights do not fit.*head.bias is missing", weights=value["weights"] | {"initial": lost})
    (folder / "evil.pt").write_bytes(pickle.dumps({"a": print}))
    refused("evil.pt: ", weights={"trained": str(folder / "evil.pt")})
    same = value["weights"]["trained"]
    refused("rewinding would change nothing", weights={"trained": same, "initial": same})


def test_wrong_data_are_named(brought):
    _, value = brought
    data = value["data"]

    def refused(message, changed):
        with pytest.raises(BadInput, match=message):
            check(parse(value | {"data": changed}))

    refused("do not say which records", data | {"member_indices": None})
    refused("members: 81 asked for", data | {"members": 81})
    refused("mean has 3 values; expected one", data | {"mean": [0.1, 0.2, 0.3]})
