"""The command line: every flag reaches the config, and every mistake is one line and exit status 2."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from core import cli
from core.config import fields
from core.experiment import Experiment
from core.store import Store

ROOT = Path(__file__).resolve().parent.parent
LOCATION = ROOT.parent / "shared" / "data" / "location30.parquet"

SIZES = ["--data.members=40", "--data.non_members=30", "--data.reference=20", "--data.population=20"]
TINY = [
    *SIZES,
    *("--model.kind", "mlp", "--model.hidden", "8", "--train.epochs", "1", "--defence.finetune.epochs", "1"),
    *("--audit.attacks", "loss,correctness", "--audit.gradient_records", "0"),
]


@pytest.fixture
def store(tmp_path) -> Path:
    return tmp_path / "runs"


def call(*arguments: object) -> int:
    """Exit status, also where argparse leaves by itself."""
    try:
        return cli.main([str(a) for a in arguments])
    except SystemExit as leave:
        return int(leave.code or 0)


def refused(capsys, *arguments: object) -> str:
    """The one line on stderr of a call that must end with status 2."""
    assert call(*arguments) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("error: ") and err.count("\n") == 1 and "Traceback" not in err
    return err


def experiment_of(*arguments: str) -> Experiment:
    return cli.parse(cli._parser().parse_args(["run", *arguments]))


# --- from flags and files to an experiment


def test_no_flags_is_the_demo():
    assert experiment_of() == Experiment()


def test_flags_reach_their_fields():
    e = experiment_of(
        *("--data.members", "400", "--train.lr", "0.1", "--train.augment", "true", "--model.channels", "8,16"),
        *("--defence.exclude", "norm,head.bias", "--defence.layer_fractions", '{"head.weight": 0.5}'),
        *("--defence.finetune.lr", "none", "--importance.epochs", "7", "--audit.attacks", "loss", "--seed", "3"),
    )
    assert (e.data.members, e.train.lr, e.train.augment, e.model.channels) == (400, 0.1, True, (8, 16))
    assert e.defence.exclude == ("norm", "head.bias") and e.defence.layer_fractions == {"head.weight": 0.5}
    assert (e.defence.finetune.lr, e.importance.epochs, e.audit.attacks, e.seed) == (None, 7, ("loss",), 3)


def test_a_change_of_kind_drops_the_fields_of_the_old_kind():
    e = experiment_of("--data.kind", "table", "--data.path", "x.parquet", "--model.kind", "mlp")
    assert e.data.kind == "table" and e.data.label_noise == 0  # not the digits' 0.1
    assert e.model.hidden == (256, 128)
    e = experiment_of("--defence.finetune.objective.kind", "ce", "--defence.fraction", "0.01")
    assert e.defence.finetune.objective.kind == "ce" and e.defence.finetune.epochs == 10 and e.defence.fraction == 0.01
    e = experiment_of("--train.objective.kind", "relaxloss", "--train.objective.alpha", "1")
    assert e.train.objective.alpha == 1


def test_the_same_kind_again_keeps_the_rest(tmp_path):
    (tmp_path / "e.json").write_text('{"defence": {"finetune": {"objective": {"kind": "relaxloss", "alpha": 2}}}}')
    e = experiment_of(str(tmp_path / "e.json"), "--defence.finetune.objective.kind", "relaxloss")
    assert e.defence.finetune.objective.alpha == 2


def test_no_defence_and_weights_that_are_brought():
    assert experiment_of("--defence", "none").defence is None
    e = experiment_of("--weights.trained", "a.safetensors", "--weights.initial_seed", "4")
    assert (str(e.weights.trained), e.weights.initial, e.weights.initial_seed) == ("a.safetensors", None, 4)
    # the model is kept outside the rewound weights, and nobody flips the labels it was trained with
    assert e.defence.base == "trained" and e.data.label_noise == 0
    assert experiment_of("--weights.trained", "a", "--defence.base", "pve").defence.base == "pve"
    assert (
        experiment_of("--weights.trained", "a", "--data.kind", "images", "--data.path", "b").defence.base == "trained"
    )


def test_flags_override_the_file(tmp_path):
    file = tmp_path / "e.json"
    file.write_text('{"seed": 5, "train": {"epochs": 3}, "defence": null, "data": {"kind": "svhn", "members": 10}}')
    e = experiment_of(str(file), "--train.epochs", "4", "--data.members", "11")
    assert (e.seed, e.train.epochs, e.defence, e.data.kind, e.data.members) == (5, 4, None, "svhn", 11)
    assert experiment_of(str(file), "--defence.fraction", "0.2").defence.fraction == 0.2


def test_a_stored_config_is_the_experiment_again(tmp_path):
    e = experiment_of("--defence.fraction", "0.02", "--model.kind", "vit")
    (tmp_path / "e.json").write_text(json.dumps(e.model_dump(mode="json")))
    assert experiment_of(str(tmp_path / "e.json")) == e


def test_help_names_every_field(capsys):
    assert call("run", "--help") == 0
    out = capsys.readouterr().out
    for path, _, field, _ in fields(Experiment):
        assert f"--{path} " in out, path
        assert field.description, path
    assert "--json" in out and "--store" in out and "--job" not in out
    assert call("--help") == 0 and "run" in capsys.readouterr().out


# --- mistakes


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--data.kind", "mnist"], "data.kind: should be one of 'digits', 'cifar10'"),
        (["--model.kind", "vgg"], "model.kind: should be one of 'mlp', 'convnet'"),
        (["--defence.fraction", "0"], "defence.fraction: should be greater than 0 (got '0')"),
        (["--defence.fraction", "1"], "defence.fraction: should be less than 1 (got '1')"),
        (["--defence.fraction", "1.5"], "defence.fraction: should be less than 1"),
        (["--defence.fraction", "much"], "defence.fraction: should be a valid number"),
        (["--train.epochs", "-3"], "train.epochs: should be greater than or equal to 1 (got '-3')"),
        (["--defence.finetune.epochs", "-1"], "defence.finetune.epochs: should be greater than or equal to 0"),
        (["--train.lr", "nan"], "train.lr: should be a finite number"),
        (["--data.members", "5000"], "there are 1797 records, but 6200 are needed"),
        (["--data.members", "1"], "data.members should be at least 2"),
        (["--data.reference", "0"], "data.reference should be at least 2"),
        (["--data.kind", "table", "--data.path", "x.parquet"], "the data are a table: use model.kind mlp"),
        (["--data.kind", "table", "--model.kind", "mlp"], "data.path: Field required"),
        (["--data.path", "x.parquet"], "data.path: there is no such field"),
        (["--data.kind", "images", "--data.path", "missing.parquet"], "there is no file missing.parquet"),
        (["--data.member_indices", "missing.json"], "there is no file missing.json"),
        (["--weights.trained", "missing.pt"], "there is no file missing.pt"),
        (["--weights.initial_seed", "1"], "weights.trained: Field required"),
        (["--audit.attacks", "magic"], "audit.attacks.0: should be 'loss'"),
        (["--audit.attacks", ""], "audit.attacks: "),
        (["--defence", "none", "--defence.fraction", "0.1"], "does not go with switching defence off"),
        (["--defence", "maybe"], "defence: should be"),
        (["--defence.layer_fractions", "{"], "invalid JSON object value: '{'"),
        (["--unknown", "1"], "there is no flag --unknown (see"),
        (["--data.member", "400"], "there is no flag --data.member, did you mean --data.members?"),
        (["--seed"], "expected one argument"),
        (["--seed", "1.5"], "seed: should be a valid integer"),
    ],
)
def test_mistakes_in_flags(capsys, store, flags, message):
    assert message in refused(capsys, "run", "--store", store, *flags)


@pytest.mark.parametrize("arguments", [[], ["walk"]])
def test_no_or_an_unknown_command(capsys, arguments):
    assert "command" in refused(capsys, *arguments)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not a readable JSON file"),
        ("[" * 100_000, "is not a readable JSON file"),
        ("[1]", "must hold a JSON object"),
        ('{"tarin": {}}', "tarin: there is no such field"),
        ('{"train": {"lr": NaN}}', "train.lr: should be a finite number"),
        ('{"train": 3}', "train: should be"),
        ('{"data": null}', "data: "),
        ("\udcff", "is not a readable JSON file"),
    ],
)
def test_mistakes_in_files(capsys, store, tmp_path, content, message):
    file = tmp_path / "e.json"
    file.write_bytes(content.encode("utf-8", "surrogateescape"))
    assert message in refused(capsys, "run", file, "--store", store)


def test_a_file_that_is_missing_or_a_folder(capsys, store, tmp_path):
    assert "there is no file" in refused(capsys, "run", tmp_path / "none.json", "--store", store)
    assert "is not a readable JSON file" in refused(capsys, "run", tmp_path, "--store", store)


def write_parquet(path: Path, **columns) -> Path:
    pd.DataFrame(columns).to_parquet(path)
    return path


@pytest.mark.parametrize("kind", ["images", "table"])
def test_parquet_that_cannot_be_used(capsys, store, tmp_path, kind):
    run = ["run", "--store", store, "--data.kind", kind, *("--model.kind", "mlp")]
    corrupt = tmp_path / "corrupt.parquet"
    corrupt.write_bytes(b"PAR1 this is not what it says PAR1")
    assert "is not a readable Parquet file" in refused(capsys, *run, "--data.path", corrupt)
    (tmp_path / "empty.parquet").write_bytes(b"")
    assert "is empty" in refused(capsys, *run, "--data.path", tmp_path / "empty.parquet")
    wrong = write_parquet(tmp_path / "wrong.parquet", picture=[1, 2], target=[0, 1])
    missing = "img" if kind == "images" else "label"
    assert f"lacks the column {missing} (found picture, target)" in refused(capsys, *run, "--data.path", wrong)
    cut = write_parquet(tmp_path / "cut.parquet", a=np.arange(1000.0), label=np.arange(1000) % 2)
    cut.write_bytes(cut.read_bytes()[:500])
    assert "is not a readable Parquet file" in refused(capsys, *run, "--data.path", cut)


def test_a_table_with_too_few_records_or_one_class(capsys, store, tmp_path):
    run = ["run", "--store", store, *SIZES, "--data.kind", "table", "--model.kind", "mlp", "--data.path"]
    few = write_parquet(tmp_path / "few.parquet", a=np.arange(50.0), label=np.arange(50) % 2)
    assert "there are 50 records, but 110 are needed" in refused(capsys, *run, few)
    one = write_parquet(tmp_path / "one.parquet", a=np.arange(150.0), label=np.zeros(150, int))
    assert "one class only" in refused(capsys, *run, one)


def test_a_store_that_cannot_be_written(capsys, tmp_path):
    (tmp_path / "file").write_text("")
    assert "cannot be written (Not a directory)" in refused(capsys, "run", "--store", tmp_path / "file" / "runs")


def test_a_store_of_another_format(capsys, store):
    Store(store)
    (store / "format.json").write_text('{"format": 999}')
    assert "has format 999" in refused(capsys, "run", "--store", store)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--defence.regions", "neck"], "unknown region 'neck': this model has layer 1, head"),
        (["--model.kind", "vit", "--model.patch", "3"], "ViT: patches of 3 do not divide images of 8×8 pixels"),
    ],
)
def test_mistakes_that_show_once_the_network_is_built(capsys, store, flags, message):
    # the stages before are reported as done, the last line is the error
    given = [flag for flag in TINY if flags[0] != "--model.kind" or flag not in ("--model.hidden", "8")]
    assert call("run", "--store", store, *given, *flags) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.splitlines()[-1] == f"error: {message}"


def test_a_model_that_is_brought_needs_to_say_what_it_was_trained_on(capsys, store, tmp_path):
    (tmp_path / "weights.safetensors").write_bytes(b"")
    assert "which records the model was trained on" in refused(
        capsys, "run", "--store", store, "--weights.trained", str(tmp_path / "weights.safetensors")
    )


@pytest.mark.parametrize("seed", [-1, 2**31])
def test_the_seed_of_a_fresh_initialisation_has_bounds(capsys, store, seed):
    flags = ["--weights.trained", "model.safetensors", "--weights.initial_seed", seed]
    assert "weights.initial_seed: should be" in refused(capsys, "run", "--store", store, *flags)


def test_what_nobody_expected_is_one_line_too(capsys, store, monkeypatch):
    def fails(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr("core.cli.run", fails)
    assert call("run", "--store", store, *TINY) == 1
    assert capsys.readouterr().err == "error: OSError: No space left on device\n"


# --- running


def test_a_run_prints_a_table_and_one_json_object(capsys, store):
    assert call("run", "--store", store, *TINY, "--json") == 0
    out, err = capsys.readouterr()
    found = json.loads(out.splitlines()[-1])
    assert {"experiment", "dataset", "model", "weights", "before", "after"} <= found.keys()
    assert {"count", "pearson"} <= found["weights"].keys() and "all" in found["weights"]["pearson"]
    for side in ("before", "after"):
        assert {"train_accuracy", "test_accuracy", "train_loss", "test_loss", "attacks"} <= found[side].keys()
        assert {"auc", "auc_low", "auc_high", "tpr_at_fpr"} <= found[side]["attacks"]["loss"].keys()
        assert found[side]["attacks"]["loss"]["tpr_at_fpr"].keys() == {"0.01", "0.001"}
    assert "accuracy on non-members" in out and "AUC loss" in out
    assert err == ""  # not a terminal: stderr is for errors
    # the same again is found in the store, and without --json nothing but the table is printed
    assert call("run", "--store", store, *TINY) == 0
    again, err = capsys.readouterr()
    assert again.rstrip() == "\n".join(out.splitlines()[:-1]).rstrip() and err == ""


def test_what_cannot_run_is_said_on_a_terminal_before_any_training(capsys, store, monkeypatch):
    monkeypatch.setattr("core.cli.run", lambda *_: pytest.fail("trained"))
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    with pytest.raises(pytest.fail.Exception, match="trained"):
        call("run", "--store", store, *TINY, *("--audit.attacks", "lira,loss"), *("--audit.shadows.models", "2"))
    assert "not run: lira; needs at least 2 reference models" in capsys.readouterr().err


def test_json_knows_no_nan():
    text = json.dumps(cli._finite({"a": [float("nan"), 1.0, {"b": float("inf")}], "c": "x"}), allow_nan=False)
    assert json.loads(text) == {"a": [None, 1.0, {"b": None}], "c": "x"}


def test_a_cancelled_run_says_so(capsys, store, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "run", interrupted)
    assert call("run", "--store", store) == 130
    assert capsys.readouterr().err == "cancelled; finished stages are kept\n"


def test_the_real_program(store):
    def program(*arguments: object) -> subprocess.CompletedProcess:
        command = [sys.executable, "-m", "core", *map(str, arguments)]
        env = {**os.environ, "REWINDLAB_STORE": str(store)}
        return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)

    done = program("run", *TINY, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["dataset"] == "digits"
    assert (store / "format.json").is_file()
    wrong = program("run", "--defence.fraction", "2")
    assert wrong.returncode == 2 and wrong.stdout == ""
    assert wrong.stderr == "error: defence.fraction: should be less than 1 (got '2')\n"


@pytest.mark.skipif(not LOCATION.is_file(), reason="needs ../shared/data/location30.parquet")
def test_a_real_table(capsys, store):
    data = ["--data.kind", "table", "--data.path", LOCATION, "--model.kind", "mlp", "--train.epochs", "1"]
    data += ["--defence.finetune.epochs", "1"]
    audit = ["--audit.attacks", "loss", "--audit.gradient_records", "0"]
    assert call("run", "--store", store, *data, *audit, "--json") == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["classes"] == 30 and found["weights"]["count"] == 446 * 256 + 256 + 256 * 128 + 128 + 128 * 30 + 30
