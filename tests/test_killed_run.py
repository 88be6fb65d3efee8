"""A real experiment as a real process that is killed in the middle of a training, then resumed."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pandas as pd
import pytest
from safetensors.numpy import load_file

from core import jobs
from core.experiment import finished, parse, plan
from core.store import Store, read_json
from tests.conftest import TINY, wait_for_job


def results(store: Store) -> dict[str, int]:
    """Folder of every result → when it was finished; all that lies in them can be read."""
    found = {}
    for folder in [path for path in store.root.iterdir() if "-" in path.name]:
        assert read_json(folder / "stage.json")["hash"] == folder.name.split("-")[1]
        for file in folder.iterdir():
            {".safetensors": load_file, ".parquet": pd.read_parquet, ".json": read_json}.get(file.suffix, Path.stat)(
                file
            )
        found[folder.name] = (folder / "stage.json").stat().st_mtime_ns
    return found


@pytest.mark.slow
def test_a_run_that_is_killed_loses_the_stage_under_way_and_nothing_else(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("REWINDLAB_WORKERS", "1")
    store = Store(tmp_path / "runs")
    experiment = parse(TINY | {"train": {"epochs": 200}})
    key, stages = experiment.hash, plan(experiment)

    def training(job: jobs.JobStatus) -> bool:
        return any(s.key == "vulnerability" and s.state == "running" and 0 < s.done < s.total for s in job.stages)

    job = jobs.submit(store, experiment.model_dump(mode="json"), key)
    try:
        job = wait_for_job(store, lambda job: training(job) or not job.active, key, seconds=120)
        os.kill(job.pid, signal.SIGKILL)
        job = wait_for_job(store, lambda job: not job.active, key, seconds=120)
        assert job.state == "interrupted" and not finished(store, key)
        assert {s.key: s.state for s in job.stages}["vulnerability"] == "interrupted"
        before = results(store)
        assert set(before) == {stages["data"].folder, stages["train"].folder}  # learnability is the same training

        jobs.submit(store, experiment.model_dump(mode="json"), key)
        job = wait_for_job(store, lambda job: not job.active, key, seconds=120)
    finally:
        jobs.cancel(store, key, grace=0)
    assert job.state == "done" and finished(store, key)
    states = {s.key: s.state for s in job.stages}
    assert (states["data"], states["train"], states["vulnerability"]) == ("reused", "reused", "done")
    after = results(store)
    assert set(after) == {stage.folder for stage in stages.values()}
    assert {name: after[name] for name in before} == before
    assert list((store.root / ".tmp").iterdir()) == []
