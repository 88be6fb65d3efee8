"""The walls of the house: what must not import what."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def imported(path: Path) -> set[str]:
    """Top-level names of all imports of a file, also of those inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found


def files(folder: str) -> list[Path]:
    found = sorted((ROOT / folder).rglob("*.py"))
    assert found, folder
    return found


def test_the_engine_never_imports_streamlit_or_pages():
    offenders = {str(p.relative_to(ROOT)): bad for p in files("core") if (bad := imported(p) & {"streamlit", "pages"})}
    assert offenders == {}


def test_pages_never_import_torch():
    bad = {"torch", "torchvision", "sklearn"}
    offenders = {str(p.relative_to(ROOT)): found for p in files("pages") if (found := imported(p) & bad)}
    assert offenders == {}


MODULES = ["core.experiment", "core.jobs", "core.figures", "core.audit", "core.demo"]


@pytest.mark.parametrize("modules", [MODULES, ["core.cli"]], ids=["pages", "command line"])
def test_planning_and_drawing_need_no_torch(modules):
    code = f"import json, sys, {', '.join(modules)}; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(json.loads(done.stdout))
    assert loaded & {"torch", "torchvision", "sklearn", "streamlit", "matplotlib", "opacus", "dask"} == set()
