"""`python -m core sweep`."""

from __future__ import annotations

import json

import pytest

from core.cli import main
from tests.sweeps.conftest import GRID


def test_the_command_line(swept, capsys, tmp_path):
    store, _, _ = swept
    file = tmp_path / "sweep.json"
    file.write_text(json.dumps(GRID))
    assert main(["sweep", str(file), "--store", str(store.root), "--json", "--bootstrap"]) == 0
    out = capsys.readouterr().out
    rows = json.loads(out.strip().splitlines()[-1])
    assert len(rows) == 7 and rows[0]["method"] == "none" and rows[0]["strength"] is None
    assert "test accuracy" in out
    line = next(line for line in out.splitlines() if line.startswith("none"))
    # accuracy, AUC, TPR, calibration error, and AUC once more: it is the same AUC with another interval
    assert line.count("[") == 5
    assert line.split("[")[1].split()[-1] == line.split("[")[4].split()[-1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "nothing varies"),
        (["--preset", "everything"], "there is no preset everything"),
        (["--vary", "seed"], "write FIELD=VALUE"),
        (["--vary", "sed=1,2"], "there is no such field"),
        (["--vary", "seed=1,x"], "seed: give whole numbers from 0 up (got 'x')"),
        (["--vary", "seed=1,2", "--seeds", "2"], "give either seeds or values of vary.seed"),
    ],
)
def test_mistakes_on_the_command_line(arguments, said, capsys, tmp_path):
    assert main(["sweep", "--store", str(tmp_path), *arguments]) == 2
    assert said in capsys.readouterr().err


def test_too_many_seeds_in_a_preset(capsys, tmp_path):
    assert main(["sweep", "--store", str(tmp_path), "--preset", "defences", "--seeds", "50"]) == 2
    assert "at most 1000" in capsys.readouterr().err
