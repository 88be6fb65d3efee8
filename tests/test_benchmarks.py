"""The commands that the README names for its numbers start, from the root of the repository, with nothing set."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from core.report import tpr
from core.sweeps.presets import PRESETS

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


def test_every_cell_of_the_attack_table_has_its_interval() -> None:
    assert tpr({"tpr_at_fpr": {"0.01": 0.05}, "members": 100}) == "5.0\u00a0% [1.6, 11.3]"
    assert tpr(None) == "–"


def test_the_readme_names_scripts_that_are_there() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    named = {word.split("`")[0].split(" ")[0] for word in readme.split("benchmarks/")[1:]}
    assert {name for name in named if name.endswith(".py")} <= {path.name for path in (ROOT / "benchmarks").iterdir()}
