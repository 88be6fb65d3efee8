"""The Model page: its forms, its cost estimate, its uploads and what it says of bad input."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file
from streamlit.testing.v1 import AppTest

from core import estimate, jobs
from core.data import Dataset
from core.experiment import Experiment, plan
from core.store import Store
from tests.pages.conftest import unfold

ROOT = Path(__file__).resolve().parent.parent.parent


def texts(page: AppTest) -> str:
    return "\n".join(e.value for kind in ("markdown", "caption", "info", "success", "error") for e in page.get(kind))


def opened() -> AppTest:
    at = AppTest.from_file(str(ROOT / "pages/main.py"), default_timeout=60).run()
    page = at.switch_page("model.py").run()
    assert not page.exception
    return page


@pytest.fixture
def page(finished_store: Store) -> AppTest:
    return opened()


def field(page: AppTest, kind: str, tab: str, name: str):
    """The widget of a form's field, by the tab's key and the end of its own."""
    found = [w for w in page.get(kind) if w.key and w.key.startswith(tab) and w.key.split("@")[0].endswith(f"/{name}")]
    assert len(found) == 1, [w.key for w in page.get(kind)]
    return found[0]


def button(page: AppTest, label: str):
    return next(b for b in page.button if b.label == label)


@pytest.fixture
def submitted(monkeypatch: pytest.MonkeyPatch) -> list[dict]:
    """The configs handed to the job runner, which starts nothing."""
    seen: list[dict] = []
    monkeypatch.setattr(jobs, "submit", lambda store, config, key: seen.append(config))
    return seen


def test_shows_the_finished_experiments_curves_and_accuracies(page: AppTest) -> None:
    assert page.title[0].value == "Model"
    assert len(page.get("plotly_chart")) == 2
    assert "Accuracy on non-members" in texts(page) and "What to notice" in page.subheader[-1].value
    assert "This is the experiment shown on this page" in texts(page)
    assert button(page, "Show it").disabled


def test_another_seed_is_estimated_from_the_finished_run_and_started(page: AppTest, submitted: list[dict]) -> None:
    unfold(page, "sgd, cosine schedule, batches of ")
    field(page, "number_input", "train", "momentum").set_value(0.5).run()
    field(page, "number_input", "train", "epochs").set_value(7).run()
    assert "of training** (estimate)" in texts(page) and "Basis: " in texts(page)
    button(page, "Train").click().run()
    assert len(submitted) == 1
    sent = Experiment.model_validate(submitted[0])
    assert (sent.train.epochs, sent.train.momentum) == (7, 0.5) and sent.weights is None
    # what the forms do not show is that of the experiment before
    assert sent.model.channels == (8, 8) and sent.defence and sent.defence.finetune.epochs == 2


def test_every_architecture_has_its_recipe_and_typed_values_come_back(page: AppTest) -> None:
    field(page, "number_input", "train", "epochs").set_value(9).run()
    field(page, "selectbox", "train", "model.kind").set_value("vit").run()
    unfold(page, "adamw, ")
    assert field(page, "selectbox", "train", "optimizer").value == "adamw"
    assert "not known yet" in texts(page)
    field(page, "selectbox", "train", "model.kind").set_value("convnet").run()
    assert field(page, "number_input", "train", "epochs").value == 9


def test_an_unknown_cost_can_be_measured(page: AppTest, finished_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "LONG_ENOUGH", 1e-6)
    try:
        field(page, "selectbox", "train", "model.kind").set_value("mlp").run()
        button(page, "Measure on this machine").click().run()
        assert not page.exception and "timed on this machine" in texts(page)
    finally:
        (finished_store.root / "rates.json").unlink(missing_ok=True)


def test_bad_fields_are_named_and_kept(page: AppTest) -> None:
    field(page, "number_input", "train", "data.members").set_value(5000).run()
    assert "the data have 1797 records" in page.error[0].value
    assert field(page, "number_input", "train", "data.members").value == 5000
    assert not [b for b in page.button if b.label == "Train"]
    field(page, "number_input", "train", "data.members").set_value(120).run()
    field(page, "selectbox", "train", "model.kind").set_value("vit").run()
    field(page, "number_input", "train", "model.heads").set_value(7).run()
    assert "heads do not divide" in page.error[0].value
    assert field(page, "number_input", "train", "model.heads").value == 7


def test_a_file_that_is_not_there_is_named(page: AppTest, tmp_path: Path) -> None:
    field(page, "selectbox", "train", "data.kind").set_value("table").run()
    assert "Give the path of a file" in texts(page)
    field(page, "text_input", "train", "data.path").set_value(str(tmp_path / "gone.parquet")).run()
    assert "gone.parquet" in page.error[0].value and not page.exception


# ---- load


@pytest.fixture
def files(finished: tuple[Store, Experiment]) -> dict[str, tuple[str, bytes, str]]:
    """Weights and member rows of the finished experiment, as uploads."""
    store, experiment = finished
    stages = plan(experiment)
    dataset = Dataset.read(store.path(stages["data"]))
    rows = json.dumps({"members": dataset.row[dataset.splits["members"]].tolist()}).encode()
    train = store.path(stages["train"])
    return {
        "rows": ("rows.json", rows, "application/json"),
        "trained": ("final.safetensors", (train / "final.safetensors").read_bytes(), ""),
        "initial": ("initial.safetensors", (train / "initial.safetensors").read_bytes(), ""),
    }


@pytest.fixture
def load(page: AppTest) -> AppTest:
    """The page with its Load part open."""
    page.session_state["model"] = "Load"
    return page.run()


def upload(page: AppTest, **given: tuple[str, bytes, str]) -> None:
    for key, value in given.items():
        next(w for w in page.file_uploader if w.key == f"upload-{key}").set_value(value)
    page.run()
    assert not page.exception


def test_without_initial_weights_it_says_what_rewinding_means(load: AppTest, files: dict) -> None:
    assert "fresh random initialisation" in texts(load)
    assert field(load, "number_input", "load", "initial_seed").value == 0
    upload(load, rows=files["rows"])
    assert "120 members and 1\u00a0677 other records" in texts(load)
    assert "Upload the trained weights to go on" in texts(load)
    upload(load, initial=files["initial"])
    assert "fresh random initialisation" not in texts(load)


def test_a_brought_model_is_checked_and_started(load: AppTest, files: dict, submitted: list[dict]) -> None:
    upload(load, **files)
    assert "The weights fit" in load.success[0].value and "of 120 members" in load.success[0].value
    button(load, "Load, score and audit").click().run()
    sent = Experiment.model_validate(submitted[0])
    assert sent.weights and sent.weights.initial and sent.data.members == 120 and sent.data.label_noise == 0
    assert sent.defence and sent.defence.base == "trained"
    assert str(sent.weights.trained).endswith("final.safetensors") and sent.data.member_indices


def test_weights_that_do_not_fit_are_named_and_nothing_is_lost(load: AppTest, files: dict, tmp_path: Path) -> None:
    upload(load, **files)
    field(load, "text_input", "load", "model.channels").set_value("8, 9").run()
    assert "do not fit this architecture: " in load.error[0].value
    field(load, "text_input", "load", "model.channels").set_value("8, 8").run()
    assert not load.error
    (tmp_path / "full").write_bytes(files["trained"][1])
    state = load_file(tmp_path / "full")
    save_file({k: v[:4].contiguous() if k.startswith("head") else v for k, v in state.items()}, tmp_path / "four")
    upload(load, trained=("four.safetensors", (tmp_path / "four").read_bytes(), ""))
    assert "are for 4 classes, the data have 10" in load.error[0].value
    upload(load, trained=("evil.pt", b"\x80\x04]\x94.", ""))
    # uploaded files go by their own name, not by where they are kept
    assert load.error[0].value.startswith("evil.pt: is not a readable checkpoint")
    upload(load, trained=files["trained"])
    load.switch_page("overview.py").run()
    load.switch_page("model.py").run()
    load.session_state["model"] = "Load"
    load.run()
    assert "Kept from before: rows.json" in texts(load) and "The weights fit" in texts(load)


def test_the_names_that_a_file_needs_are_listed(load: AppTest, files: dict, tmp_path: Path) -> None:
    upload(load, rows=files["rows"])
    unfold(load, "Names and shapes")
    assert not load.exception and "torchvision's names" in texts(load)
    (tmp_path / "own").write_bytes(files["trained"][1])
    own = {
        name: "×".join(map(str, value.shape)) or "a single number"
        for name, value in load_file(tmp_path / "own").items()
    }
    listed = load.dataframe[0].value
    assert dict(zip(listed["name"], listed["shape"], strict=True)) == own


def test_rows_outside_the_data_are_named(load: AppTest) -> None:
    upload(load, rows=("rows.json", b'{"members": [1, 2000]}', ""))
    assert "members lists row 2000, but the data have rows 0 to 1796" in load.error[0].value


def test_a_running_experiment_shows_its_rows(
    finished: tuple[Store, Experiment], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import streamlit

    store, experiment = Store(tmp_path / "store"), finished[1]
    folder = store.root / "jobs" / experiment.hash
    folder.mkdir()
    (folder / "config.json").write_text(experiment.model_dump_json())
    stages = [{"key": "train", "state": "running", "done": 1, "total": 3, "text": "epoch 1 of 3", "seconds": None}]
    state = {"state": "cancelled", "submitted": 1.0, "started": 1.0, "ended": 2.0, "pid": -1, "stages": stages}
    (folder / "state.json").write_text(json.dumps(state))
    rows = [
        {"stage": "train", "epoch": 1, "split": split, "loss": 1.0, "accuracy": 0.5}
        for split in ("members", "non_members")
    ]
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    monkeypatch.setenv("REWINDLAB_STORE", str(store.root))
    streamlit.cache_resource.clear()
    page = opened()
    streamlit.cache_resource.clear()
    assert len(page.get("plotly_chart")) == 2 and "It was cancelled" in page.warning[0].value
    assert button(page, "Resume")


@pytest.mark.parametrize(("kl", "first"), [("initial||trained", r"p_{\text{initial}}"), ("trained||initial", "p")])
def test_the_direction_of_the_divergence_is_the_experiments(kl, first, open_page, tmp_path) -> None:
    experiment = Experiment(importance={"kl": kl})
    folder = tmp_path / "jobs" / experiment.hash
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(experiment.model_dump_json())
    (folder / "state.json").write_text(json.dumps({"state": "cancelled", "submitted": 1.0, "stages": []}))
    page = unfold(open_page(tmp_path, experiment.hash, "model.py"), "How the two scoring runs work")
    assert not page.exception
    (formula,) = [latex.value for latex in page.latex if "KL" in latex.value]
    assert rf"\left({first} \,\|\," in formula


def test_the_loss_shows_what_the_chosen_run_minimises(page: AppTest) -> None:
    def drawn() -> list[str]:
        return [trace["name"] for trace in json.loads(page.get("plotly_chart")[0].proto.spec)["data"]]

    assert drawn() == ["members", "non-members"]  # cross-entropy
    found = {}
    for run in ("vulnerability", "defended"):
        next(g for g in page.get("button_group") if g.label == "Training run").set_value(run).run()
        assert not page.exception
        found[run] = drawn()[2:]
    assert found == {"vulnerability": ["PVE"], "defended": ["RelaxLoss"]}
