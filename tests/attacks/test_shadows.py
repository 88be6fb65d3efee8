"""Reference models: re-used, extended, resumed; adaptive and not; fan-out that survives a dead worker."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file

from core.attacks import compare
from core.attacks.shadows import OFFSET, load_references
from core.cli import main
from core.config import BadInput
from core.data import Dataset
from core.experiment import Experiment, parse, plan, run
from core.figures import numbers as n
from core.parallel import fan_out
from core.progress import Cancelled, Progress
from core.report import text
from core.shadow_training import pipeline
from core.store import Store
from tests.conftest import SMALL


def experiment(models: int, **audit) -> dict:
    return SMALL | {"audit": {"gradient_records": 0, "shadows": {"models": models, **audit}}}


def references(store: Store) -> dict[str, float]:
    return {path.name: path.stat().st_mtime_ns for path in store.root.glob("reference-*")}


def test_more_references_keep_those_that_are_there_and_attacks_are_named_adaptive_or_not(tmp_path: Path) -> None:
    store = Store(tmp_path)
    run(parse(experiment(2)), store)
    first = references(store)
    assert len(first) == 4  # two without the defence, two with it
    e = parse(experiment(4))
    summary = run(e, store)
    assert len(references(store)) == 8 and first.items() <= references(store).items()
    assert {"rmia", "lira", "attack_r"} <= summary["before"]["attacks"].keys()
    assert {"rmia", "rmia:non-adaptive"} <= summary["after"]["attacks"].keys()
    assert "rmia" in summary["paired"]
    stages = plan(e)
    # the attacker who ignores the defence, against the same attack before and against the one who knows it
    before, after = (pd.read_parquet(store.path(stages[side]) / "records.parquet") for side in ("before", "after"))
    member = before["member"].to_numpy()
    plain, known, blind = before["score_rmia"], after["score_rmia"], after["score_rmia:non-adaptive"]
    lines = text(summary).splitlines()
    found = summary["paired"]["rmia:non-adaptive"]
    gain = found.pop("adaptive_minus_non_adaptive")
    assert found == compare(before_scores=plain, after_scores=blind, is_member=member)
    assert gain == compare(before_scores=blind, after_scores=known, is_member=member)
    (row,) = (line for line in lines if line.startswith("AUC rmia (non-adaptive)"))
    assert row.endswith(n.p_value(found["p_value"]))
    assert sum(line.startswith("  adaptive − non-adaptive") for line in lines) == len(
        [name for name in summary["after"]["attacks"] if name.endswith("non-adaptive")]
    )
    attacks = pd.read_parquet(store.path(stages["after"]) / "attacks.parquet").set_index("attack")
    assert attacks.loc["rmia", "adaptive"].iloc[0] == "adaptive"
    assert attacks.loc["rmia:non-adaptive", "adaptive"].iloc[0] == "non-adaptive"
    assert set(attacks.loc[["loss"], "adaptive"]) == {"no references"}

    plain, defended = (load_references(store.path(stages[key])) for key in ("shadows", "shadows_defended"))
    assert plain["reference_in"].sum(0).tolist() == [2] * plain["reference_in"].shape[1]
    assert (plain["reference_in"] == defended["reference_in"]).all()
    assert not np.array_equal(plain["reference_phi"], defended["reference_phi"])
    inside = plain["reference_in"]
    assert plain["reference_phi"][inside].mean() > plain["reference_phi"][~inside].mean()


def test_a_cancelled_audit_goes_on_with_the_missing_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REWINDLAB_WORKERS", "1")

    class StopAfterOne(Progress):
        def update(self, key, done, total, text="", row=None):
            if key == "shadows" and done == 1:
                self.cancel()
            self.check()

    store = Store(tmp_path)
    with pytest.raises(Cancelled):
        run(parse(experiment(4)), store, StopAfterOne())
    kept = references(store)
    assert len(kept) == 1 and not list(store.root.glob("shadows-*"))
    run(parse(experiment(4)), store)
    assert kept.items() <= references(store).items()


@pytest.mark.parametrize(
    ("models", "message"), [(3, "choose an even number"), (-2, "greater than or equal to 0"), (5000, "4096")]
)
def test_bad_numbers_of_references(models: int, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        parse(experiment(models))


@pytest.mark.parametrize(
    ("audit", "message"),
    [
        ({"rmia_gamma": 0.5}, r"audit.rmia_gamma: should be greater than or equal to 1 \(got 0.5\)"),
        ({"rmia_gamma": 2000}, r"audit.rmia_gamma: should be less than or equal to 1000"),
        ({"rmia_a": -0.1}, r"audit.rmia_a: should be greater than or equal to 0 \(got -0.1\)"),
        ({"rmia_a": 1.5}, r"audit.rmia_a: should be less than or equal to 1 \(got 1.5\)"),
        ({"attacks": ["rmai"]}, r"audit.attacks.0: should be 'loss', 'confidence'"),
    ],
)
def test_parameters_of_attacks_out_of_range(audit: dict, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        parse(SMALL | {"audit": audit})


def test_fewer_references_than_an_attack_needs_leave_its_reason_in_the_table(two_references) -> None:
    store, e = two_references
    attacks = pd.read_parquet(store.path(plan(e)["before"]) / "attacks.parquet").set_index("attack")
    assert "raise audit.shadows.models to 4 or more (there are 2)" in attacks.loc["lira", "reason"]
    assert attacks.loc[["rmia"], "auc"].notna().all()


@pytest.fixture(scope="module")
def two_references(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Experiment]:
    store, e = Store(tmp_path_factory.mktemp("two")), parse(experiment(2) | {"defence": None})
    run(e, store)
    return store, e


FOUR = {"gradient_records": 0, "shadows": {"models": 4}}


@pytest.fixture(scope="module")
def four_references(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store(tmp_path_factory.mktemp("four"))
    run(parse(SMALL | {"defence": None, "audit": FOUR | {"attacks": ["loss"]}}), store)
    return store


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda record: record["config"]["pipeline"]["recipe"].update(epochs=9),
            r"another recipe \(pipeline.recipe.epochs is 9, the target's is 3\): delete the folders reference-",
        ),
        (lambda record: record["config"].update(queries=2), r"\(queries is 2, the target's is 1\)"),
        (lambda record: record["config"]["pipeline"].update(defence={"kind": "cwrf"}), r"\(pipeline.defence is "),
        (lambda record: record["inputs"].update(data="0" * 16), "trained on other records: delete the folders"),
        (lambda record: record.clear(), "gone or damaged"),
    ],
)
def test_a_reference_of_another_recipe_is_refused(two_references, tmp_path: Path, change, message: str) -> None:
    made, e = two_references
    store = Store(shutil.copytree(made.root, tmp_path / "store"))
    folder = store.path(plan(e)["shadows"])
    assert load_references(folder)["reference_phi"].shape[0] == 2
    file = store.root / json.loads((folder / "references.json").read_text())[1] / "stage.json"
    record = json.loads(file.read_text())
    change(record)
    if record:
        file.write_text(json.dumps(record))
    else:
        shutil.rmtree(file.parent)
    with pytest.raises(BadInput, match=message) as caught:
        load_references(folder)
    assert "\n" not in str(caught.value)


def test_logits_are_loaded_of_as_many_references_as_asked(two_references) -> None:
    store, e = two_references
    folder = store.path(plan(e)["shadows"])
    listed = json.loads((folder / "references.json").read_text())
    files = [load_file(store.root / name / "outputs.safetensors") for name in listed]
    whole = load_references(folder)
    assert whole.keys() == files[0].keys() and len(files) == 2
    for name, array in whole.items():
        np.testing.assert_array_equal(array, np.stack([file[name] for file in files]))
    for logits in (0, 1, 2, 8):
        found = load_references(folder, logits=logits)
        assert len(found.pop("reference_logits", ())) == min(logits, 2)
        assert found.keys() == whole.keys() - {"reference_logits"}
        assert all((found[name] == whole[name]).all() for name in found)


@pytest.mark.parametrize(
    ("attacks", "logits"), [(["lira", "rmia"], 0), (["loss", "lira"], 2), (["loss", "shadow_nn"], None)]
)
def test_an_audit_loads_the_logits_it_looks_at_and_its_results_stay_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, four_references: Store, attacks: list[str], logits: int | None
) -> None:
    e = parse(SMALL | {"defence": None, "audit": FOUR | {"attacks": attacks}})
    asked, tables = [], []
    for everything in (False, True):

        def loaded(folder: Path, *, logits: int | None, all_of_them: bool = everything) -> dict[str, np.ndarray]:
            asked.append(logits)
            return load_references(folder, logits=None if all_of_them else logits)

        monkeypatch.setattr("core.stages.auditing.load_references", loaded)
        store = Store(shutil.copytree(four_references.root, tmp_path / str(everything)))
        run(e, store)
        folder = store.path(plan(e)["before"])
        tables.append([pd.read_parquet(folder / f"{name}.parquet") for name in ("attacks", "records", "curves")])
    assert asked == [logits, logits]
    for one, other in zip(*tables, strict=True):
        pd.testing.assert_frame_equal(one, other)


def test_queries_give_one_column_each(tmp_path: Path) -> None:
    store, e = Store(tmp_path), parse(experiment(2, queries=3))
    run(e, store)
    assert load_references(store.path(plan(e)["shadows"]))["reference_phi"].shape == (2, 220, 3)


def die(number: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return number


def test_fan_out_here() -> None:
    assert sorted(fan_out(pow, [(n, 2) for n in range(7)], workers=2)) == [0, 1, 4, 9, 16, 25, 36]
    assert list(fan_out(pow, [])) == []


def test_a_worker_that_dies_is_said_in_words() -> None:
    with pytest.raises(BadInput, match=r"a worker process died.*start again for the rest"):
        list(fan_out(die, [(1,), (2,)], workers=2))


def test_cancelling_does_not_wait_for_the_next_result() -> None:
    def check() -> None:
        raise Cancelled

    started = time.monotonic()
    with pytest.raises(Cancelled):
        list(fan_out(time.sleep, [(30,), (30,)], workers=2, check=check))
    assert time.monotonic() - started < 20


def test_a_cluster_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed")
    monkeypatch.setattr("core.parallel.WAIT", 1)
    with pytest.raises(BadInput, match=r"the cluster tcp://127.0.0.1:9 does not answer within 1 s"):
        list(fan_out(pow, [(2, 2)], cluster="tcp://127.0.0.1:9"))


def test_a_cluster_without_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    distributed = pytest.importorskip("distributed")
    monkeypatch.setattr("core.parallel.WAIT", 0.5)
    with distributed.LocalCluster(n_workers=0, processes=False, dashboard_address=None) as cluster:
        address = cluster.scheduler_address
        with pytest.raises(BadInput, match=f"{address} has no workers: start one with `dask worker {address}`"):
            list(fan_out(pow, [(2, 2)], cluster=address))


def test_a_reference_that_fails_is_named_and_the_finished_ones_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REWINDLAB_WORKERS", "1")

    def diverges(e, records, shape, classes, seed, defended, watch):
        if seed - e.seed - OFFSET == failing:
            raise BadInput("training stopped in epoch 1: the loss is not finite.")
        return pipeline(e, records, shape, classes, seed, defended, watch)

    monkeypatch.setattr("core.shadow_training.pipeline", diverges)
    e = parse(experiment(4) | {"defence": None})
    for failing, advice in ((3, "set audit.shadows.models to 2"), (1, "another audit.shadows.seed")):
        with pytest.raises(BadInput, match=rf"^reference model {failing}: training stopped in epoch 1.*{advice}"):
            run(e, Store(tmp_path / str(failing)))
        assert len(references(Store(tmp_path / str(failing)))) == failing


def test_the_command_line_takes_the_address_of_a_cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    pytest.importorskip("distributed")
    monkeypatch.setattr("core.parallel.WAIT", 1)
    monkeypatch.setenv("REWINDLAB_CLUSTER", "")  # put back after the test
    config = tmp_path / "experiment.json"
    config.write_text(json.dumps(experiment(2)))
    assert main(["run", str(config), "--store", str(tmp_path / "s"), "--cluster", "tcp://127.0.0.1:9"]) == 2
    assert "the cluster tcp://127.0.0.1:9 does not answer" in capsys.readouterr().err


class KillAfterTheFirst(Progress):
    """Kills a process the moment the first reference model is stored."""

    def __init__(self, store: Store) -> None:
        super().__init__()
        self.store, self.worker, self.done_then = store, 0, 0

    def update(self, key, done, total, text="", row=None):
        if key == "shadows" and done == 1 and not self.done_then:
            self.done_then = len(references(self.store))
            os.kill(self.worker, signal.SIGKILL)


@pytest.mark.slow
def test_a_real_cluster_trains_the_same_references_though_one_of_its_two_workers_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    distributed = pytest.importorskip("distributed")
    sent = []
    monkeypatch.setattr(Dataset, "__getstate__", lambda dataset: sent.append(1) or vars(dataset), raising=False)
    audit = {"gradient_records": 0, "attacks": ["loss", "lira", "rmia"], "shadows": {"models": 6}}
    e = parse(SMALL | {"defence": None, "audit": audit, "train": {"epochs": 1}})
    there, here = Store(tmp_path / "cluster"), Store(tmp_path / "here")
    progress = KillAfterTheFirst(there)
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster:
        progress.worker = cluster.workers[0].pid
        monkeypatch.setenv("REWINDLAB_CLUSTER", cluster.scheduler_address)
        run(e, there, progress)
    assert progress.done_then == 1 and len(references(there)) == 6
    # the records went to the scheduler and on to a worker, again where that one died, and not with each of 6 tasks
    assert len(sent) <= 3
    monkeypatch.delenv("REWINDLAB_CLUSTER")
    monkeypatch.setenv("REWINDLAB_WORKERS", "1")
    run(e, here)
    ours, theirs = (load_references(store.path(plan(e)["shadows"])) for store in (here, there))
    assert ours.keys() == theirs.keys()
    for name, array in ours.items():
        np.testing.assert_array_equal(array, theirs[name])
    tables = [pd.read_parquet(store.path(plan(e)["before"]) / "attacks.parquet") for store in (here, there)]
    pd.testing.assert_frame_equal(*tables)


def test_references_of_brought_weights_are_said_to_follow_an_assumed_recipe(
    tmp_path: Path, finished: tuple[Store, object]
) -> None:
    made, e = finished
    trained = made.path(plan(e)["train"])
    weights = {"trained": str(trained / "final.safetensors"), "initial": str(trained / "initial.safetensors")}
    store, own = Store(tmp_path), parse(experiment(2) | {"weights": weights, "defence": None})
    run(own, store)
    attacks = pd.read_parquet(store.path(plan(own)["before"]) / "attacks.parquet").set_index("attack")
    assert set(attacks.loc[["rmia"], "adaptive"]) == {"assumed recipe"}
    assert attacks.loc[["rmia"], "title"].iloc[0] == "RMIA online (assumed recipe)"
