"""The commands that the README names for its numbers start, from the root of the repository, with nothing set."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

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


def test_the_readme_names_scripts_that_are_there() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    named = {word.split("`")[0].split(" ")[0] for word in readme.split("benchmarks/")[1:]}
    assert {name for name in named if name.endswith(".py")} <= {path.name for path in (ROOT / "benchmarks").iterdir()}
