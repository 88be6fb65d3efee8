"""The commands that the READMEs name for its numbers start, from the root of the repository, with nothing set."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from core.defence import objective_of
from core.report import tpr
from core.sweeps.presets import PRESETS, RIVALS
from tests.conftest import TINY

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = [path.name for path in sorted((ROOT / "benchmarks").glob("*.py")) if "ArgumentParser" in path.read_text()]


@pytest.mark.slow
@pytest.mark.parametrize("name", SCRIPTS)
def test_a_benchmark_starts(name: str) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, f"benchmarks/{name}", "--help"], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert name in done.stdout


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch):
    """Loads a benchmark by its file: `import benchmarks` would find the package of that name that Opacus ships."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))  # as Python does for a script

    def load(name: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / f"{name}.py")
        assert spec and spec.loader
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, module)
        spec.loader.exec_module(module)
        return module

    return load


def test_the_experiments_of_the_tables_can_be_built_for_every_setting(script) -> None:
    sweeps, attacks = script("sweeps"), script("attacks")
    for setting, recipe in sweeps.SETTINGS.items():
        file = ROOT / "records.parquet" if "data" in recipe else None
        for models, experiment in attacks.experiments(setting, file, seed=3).items():
            assert experiment.audit.shadows.models == models and experiment.audit.attacks == attacks.ATTACKS[models]
            assert experiment.seed == experiment.data.seed == 3 and getattr(experiment.data, "path", None) == file
            assert experiment.data.members == recipe.get("data", {}).get("members", experiment.data.members)
            assert experiment.defence is not None
        base = sweeps.experiment(setting, file, audit=sweeps.AUDIT)
        assert getattr(base.data, "path", None) == file
        for name in PRESETS:
            assert PRESETS[name].make(base, 2).points


def test_only_some_methods_of_a_sweep(script) -> None:
    sweeps = script("sweeps")
    whole = PRESETS["defences"].make(sweeps.experiment("demo", None), 1)
    assert [p.label["method"] for p in sweeps.only(whole, "early stopping").points] == [
        "early stopping, half the epochs",
        "early stopping, fine-tuned",
        "early stopping, CWRF's base fine-tuned",
        "CWRF + early stopping",
    ]
    assert {p.label["objective"] for p in sweeps.only(whole, "HAMP;CCL").points} == {"HAMP", "CCL"}


def test_the_attack_table_can_use_any_rival_of_the_sweeps(script) -> None:
    attacks = script("attacks")
    for how, kind in (("scratch", "scratch"), ("cwrf", "cwrf")):
        for name, rival in RIVALS.items():
            (e, _) = attacks.experiments("demo", None, 1, name, how).values()
            objective = objective_of(e.defence)
            assert e.defence.kind == kind and objective.kind == rival.settings["kind"]
            assert {name: getattr(objective, name) for name in rival.settings} == rival.settings
            assert e.seed == e.data.seed == 1 and e.audit.attacks == attacks.ATTACKS[16]


def test_the_attack_table_of_two_targets(script, monkeypatch, tmp_path, capsys) -> None:
    attacks = script("attacks")
    monkeypatch.setattr(attacks, "ATTACKS", {4: ("loss", "lira", "rmia_offline")})
    monkeypatch.setitem(attacks.SETTINGS, "demo", {key: TINY[key] for key in ("data", "model", "train", "defence")})
    monkeypatch.setenv("REWINDLAB_WORKERS", "1")
    monkeypatch.setattr("sys.argv", ["attacks.py", "demo", "--seeds", "2", "--store", str(tmp_path)])
    attacks.main()
    lines = capsys.readouterr().out.splitlines()
    tables = [line.strip("| ").split(" | ") for line in lines if line.startswith("| ")]
    assert [row[:2] for row in tables] == 3 * [
        *(["attack", "references"], ["---", "---"], ["loss", "0"], ["lira", "4"], ["rmia_offline", "4"])
    ]
    one = tables[3]
    assert all(cell.count("[") == 1 for cell in one[2:6]) and one[6].count("[") == 3 and one[7] == "not resolvable"
    assert tables[2][4:6] == ["–", "–"]  # the loss attack knows of no defence
    mean = tables[13]
    assert len(mean) == 12 and all(cell.count("[") == 1 for cell in mean[2:9]) and mean[9:] == 3 * ["not resolvable"]
    (told,) = {line.partition(" a ")[0] for line in lines if line.startswith("4 references: ")}
    assert told == "4 references: lira variance shrunk, rmia_offline"
    assert sum("γ 2, questions per record 1" in line for line in lines) == 2
    assert sum(line.startswith("60 members, 60 non-members, seed ") for line in lines) == 2


def test_two_ways_to_use_a_defence_are_compared_seed_by_seed(script) -> None:
    attacks = script("attacks")
    cwrf, control = (attacks.experiments("demo", None, 1, "cross-entropy", how)[16] for how in ("cwrf", "control"))
    assert control.defence == cwrf.defence.model_copy(update={"fraction": 1e-12})  # of so few weights none is taken

    def rows(aucs: list[float]) -> list[dict]:
        sides = ({"before": None, attacks.SIDES[1]: {"auc": auc}, attacks.SIDES[2]: None} for auc in aucs)
        return [{"attack": "lira", "references": 16, **side} for side in sides]

    cells = attacks.contrast(rows([0.6, 0.7]), rows([0.5, 0.5])).splitlines()[2].strip("| ").split(" | ")
    # mean .15, standard error .05, t = 12.706 for one degree of freedom
    assert cells == ["lira", "16", "+.150 [−.485, +.785]", "–"]


def test_every_cell_of_the_attack_table_has_its_interval() -> None:
    assert tpr({"tpr_at_fpr": {"0.01": 0.05}, "members": 100}) == "5.0\u00a0% [1.6, 11.3]"
    assert tpr(None) == "–"


def test_the_readmes_name_scripts_that_are_there() -> None:
    readme = "".join((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "benchmarks/README.md"))
    named = {word.split("`")[0].split(" ")[0] for word in readme.split("benchmarks/")[1:]}
    assert {name for name in named if name.endswith(".py")} <= {path.name for path in (ROOT / "benchmarks").iterdir()}
