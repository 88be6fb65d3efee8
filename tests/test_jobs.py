"""Jobs as real processes: a small stand-in program takes the place of the engine."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from functools import partial
from pathlib import Path

import psutil
import pytest

from core import jobs, machine
from core.config import BadInput
from core.machine import gpus, workers
from core.progress import Cancelled, JobProgress
from core.store import Store, read_json, write_json
from tests.conftest import wait_for_job

KEY = "0123456789abcdef"
OTHER = "fedcba9876543210"

# each stage: [name, seconds], less once <store>/go exists; "deaf" ones never report, so never hear they should stop
PROGRAM = """
import subprocess, sys, time
from core.config import BadInput
from core.machine import gpus, workers
from core.jobs import run_job
from core.store import Stage, Store, read_json

store, key = Store(sys.argv[1]), sys.argv[2]
config = read_json(store.root / "jobs" / key / "config.json")

def build(run):
    with open(store.root / "built.txt", "a") as file:
        file.write(run.config["name"] + "\\n")
    (run.folder / "half").write_text("x")
    if config.get("helper"):
        subprocess.Popen(["sleep", "60"])
    if run.config["name"] == config.get("fail"):
        raise {"input": BadInput("too few records"), "memory": MemoryError(), "bug": KeyError("x")}[config["how"]]
    end = time.monotonic() + run.config["seconds"]
    if not config.get("deaf"):
        run.update(1, 4, "epoch 1 of 4", row={"loss": 0.5})
    while time.monotonic() < end and not (store.root / "go").exists():
        time.sleep(0.02)
        if not config.get("deaf"):
            run.update(2, 4, "epoch 2 of 4")

def work(progress):
    stages = [Stage(name, "toy", {"name": name, "seconds": seconds}, {}, build) for name, seconds in config["stages"]]
    progress.plan([stage.key for stage in stages])
    for stage in stages:
        print("stage", stage.key)
        store.ensure(stage, progress)

sys.exit(run_job(store, key, work))
"""


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setattr(
        jobs, "command", lambda store, key, kind="run": [sys.executable, "-c", PROGRAM, str(store.root), key]
    )
    monkeypatch.setenv("REWINDLAB_SLOTS", "2")
    store = Store(tmp_path / "runs")
    yield store
    for job in jobs.listing(store):
        jobs.cancel(store, job.key, grace=0)


wait_for = partial(wait_for_job, key=KEY)


def ended(job):
    return not job.active


def in_stage(name):
    return lambda job: any(item.key == name and item.state == "running" and item.done for item in job.stages)


def built(store):
    path = store.root / "built.txt"
    return path.read_text().split() if path.exists() else []


def shown(job):
    return [(item.key, item.state) for item in job.stages]


def test_a_job_runs_detached_and_tells_its_story(store):
    config = {"stages": [["a", 0], ["b", 0.3]]}
    first = jobs.submit(store, config, KEY)
    assert first.state == "queued" and first.active and first.key == KEY
    assert os.getsid(first.pid) == first.pid != os.getsid(0)
    job = wait_for(store, ended)
    assert (job.state, job.error, job.pid) == ("done", "", first.pid)
    assert shown(job) == [("a", "done"), ("b", "done")]
    b = job.stages[1]
    assert (b.done, b.total) == (4, 4) and 0.3 <= b.seconds < 5
    assert first.submitted <= job.started <= job.ended
    assert job.config == config
    assert jobs.rows(store, KEY) == [{"stage": "a", "loss": 0.5}, {"stage": "b", "loss": 0.5}]
    assert (job.folder / "log.txt").read_text() == "stage a\nstage b\n"


def test_submitting_twice_at_once_starts_one_process(store):
    results = []
    config = {"stages": [["a", 30]]}
    threads = [threading.Thread(target=lambda: results.append(jobs.submit(store, config, KEY))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({job.pid for job in results}) == 1
    wait_for(store, in_stage("a"))
    assert jobs.submit(store, config, KEY).pid == results[0].pid
    assert built(store) == ["a"]


def test_a_killed_job_is_interrupted_breaks_nothing_and_resumes(store):
    config = {"stages": [["a", 0], ["b", 60], ["c", 0]]}
    jobs.submit(store, config, KEY)
    job = wait_for(store, in_stage("b"))
    os.kill(job.pid, signal.SIGKILL)
    job = wait_for(store, ended)
    assert job.state == "interrupted" and "resumes" in job.error
    assert shown(job) == [("a", "done"), ("b", "interrupted"), ("c", "pending")]
    assert [path.name for path in store.root.glob("toy-*")] == [
        path.parent.name for path in store.root.glob("toy-*/*.json")
    ]
    assert len(list(store.root.glob("toy-*"))) == 1

    (store.root / "go").touch()
    again = jobs.submit(store, config, KEY)
    assert again.pid != job.pid and not again.cancelling
    job = wait_for(store, ended)
    assert job.state == "done"
    assert shown(job) == [("a", "reused"), ("b", "done"), ("c", "done")]
    assert built(store) == ["a", "b", "b", "c"]
    assert list((store.root / ".tmp").iterdir()) == []
    assert [row["stage"] for row in jobs.rows(store, KEY)] == ["b", "c"]


def test_cancel_is_heard_at_the_next_report(store):
    jobs.submit(store, {"stages": [["a", 60], ["b", 0]]}, KEY)
    wait_for(store, in_stage("a"))
    job = jobs.cancel(store, KEY, grace=20)
    assert job.state == "cancelled" and job.ended
    assert shown(job) == [("a", "cancelled"), ("b", "skipped")]
    assert list((store.root / ".tmp").iterdir()) == []
    assert jobs.cancel(store, KEY) == job
    again = jobs.submit(store, {"stages": [["a", 0]]}, KEY)
    assert again.active and not again.cancelling
    assert wait_for(store, ended).state == "done"


def test_a_deaf_job_and_its_helpers_are_killed_after_the_grace_period(store):
    jobs.submit(store, {"stages": [["a", 60]], "deaf": True, "helper": True}, KEY)
    job = wait_for(store, lambda job: built(store) == ["a"])
    process = psutil.Process(job.pid)
    while not process.children():
        time.sleep(0.02)
    (helper,) = process.children()
    asked = time.monotonic()
    now = jobs.cancel(store, KEY, grace=0.5, wait=False)
    assert now.state == "running" and now.cancelling
    assert time.monotonic() - asked < 0.4
    job = wait_for(store, ended)
    assert job.state == "cancelled" and shown(job) == [("a", "cancelled")] and not job.cancelling
    assert time.monotonic() - asked >= 0.5
    assert jobs._process({"pid": job.pid, "create_time": process.create_time()}) is None
    deadline = time.monotonic() + 5
    while helper.is_running() and helper.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_job_that_dies_of_a_cancellation_is_cancelled_even_if_nobody_was_left_to_say_so(store):
    jobs.submit(store, {"stages": [["a", 60]]}, KEY)
    job = wait_for(store, in_stage("a"))
    write_json(job.folder / "cancel.json", {"pid": job.pid})
    os.kill(job.pid, signal.SIGKILL)
    job = wait_for(store, ended)
    assert (job.state, job.error, shown(job)) == ("cancelled", "", [("a", "cancelled")])


def test_cancel_before_the_program_is_up(store):
    jobs.submit(store, {"stages": [["a", 60]]}, KEY)
    assert jobs.cancel(store, KEY).state == "cancelled"
    assert jobs.status(store, KEY).state == "cancelled"


def test_one_slot_queues_the_second_job_which_can_be_cancelled_there(store, monkeypatch):
    monkeypatch.setenv("REWINDLAB_SLOTS", "1")
    jobs.submit(store, {"stages": [["a", 60]]}, KEY)
    wait_for(store, in_stage("a"))
    third = "00000000"
    for key, name in ((OTHER, "b"), (third, "c")):
        jobs.submit(store, {"stages": [[name, 0]]}, key)
    assert jobs.cancel(store, third, grace=20).state == "cancelled"
    assert jobs.status(store, OTHER).state == "queued"
    assert jobs.status(store, KEY).state == "running"
    first = jobs.cancel(store, KEY, grace=20)
    second = wait_for(store, ended, key=OTHER)
    assert second.state == "done" and second.started >= first.ended
    assert built(store) == ["a", "b"]
    assert [job.key for job in jobs.listing(store)] == [third, OTHER, KEY]


def test_a_killed_job_gives_its_slot_back(store, monkeypatch):
    monkeypatch.setenv("REWINDLAB_SLOTS", "1")
    jobs.submit(store, {"stages": [["a", 60]]}, KEY)
    job = wait_for(store, in_stage("a"))
    os.kill(job.pid, signal.SIGKILL)
    jobs.submit(store, {"stages": [["b", 0]]}, OTHER)
    assert wait_for(store, ended, key=OTHER).state == "done"


@pytest.mark.parametrize(
    ("how", "reason"),
    [("input", "too few records"), ("memory", "not enough memory: use a smaller"), ("bug", "KeyError: 'x'")],
)
def test_failure_in_words(store, how, reason):
    jobs.submit(store, {"stages": [["a", 0], ["b", 0], ["c", 0]], "fail": "b", "how": how}, KEY)
    job = wait_for(store, ended)
    assert job.state == "failed" and job.error.startswith(reason) and "\n" not in job.error
    assert shown(job) == [("a", "done"), ("b", "failed"), ("c", "skipped")]
    assert "Traceback" in (job.folder / "log.txt").read_text()
    assert len(list(store.root.glob("toy-*"))) == 1


def test_exit_status_says_how_it_ended(store):
    jobs.submit(store, {"stages": [["a", 0]], "fail": "a", "how": "bug"}, KEY)
    process = jobs._spawned[jobs.status(store, KEY).pid]
    assert process.wait(20) == 1
    jobs.submit(store, {"stages": [["a", 60]]}, OTHER)
    process = jobs._spawned[jobs.status(store, OTHER).pid]
    wait_for(store, in_stage("a"), key=OTHER)
    process.terminate()
    assert process.wait(20) == 130


def test_unknown_keys_and_keys_that_would_leave_the_folder(store):
    assert jobs.status(store, KEY) is None
    assert jobs.cancel(store, KEY) is None
    assert jobs.rows(store, KEY) == []
    assert jobs.listing(store) == []
    for key in ("../../../etc", "", "0123456", "0123456g", "0" * 65, "01234567\n", "ABCDEF0123"):
        for call in (jobs.status, jobs.rows, jobs.cancel):
            with pytest.raises(BadInput, match="not an experiment's hash"):
                call(store, key)
        with pytest.raises(BadInput):
            jobs.submit(store, {}, key)


def test_a_pid_used_again_by_somebody_else_is_not_the_job(store):
    progress = JobProgress(store.root / "jobs" / KEY, pid=os.getpid(), create_time=psutil.Process().create_time())
    (store.root / "jobs" / KEY).mkdir()
    progress.set(state="running", submitted=1.0)
    assert jobs.status(store, KEY).state == "running"
    progress.set(create_time=psutil.Process().create_time() - 100)
    assert jobs.status(store, KEY).state == "interrupted"


def test_half_a_row_is_left_out(store):
    folder = store.root / "jobs" / KEY
    folder.mkdir()
    (folder / "rows.jsonl").write_bytes(b'{"stage": "train", "loss": NaN}\n{"stage": "tr\xc3')
    (row,) = jobs.rows(store, KEY)
    assert row["stage"] == "train" and row["loss"] != row["loss"]


def test_updates_are_written_at_most_five_times_a_second(tmp_path, monkeypatch):
    writes = []
    monkeypatch.setattr("core.progress.write_json", lambda path, value, durable: writes.append(str(value)))
    progress = JobProgress(tmp_path)
    progress.plan(["a", "b"])
    progress.stage("a", "running")
    end = time.monotonic() + 0.5
    steps = 0
    while time.monotonic() < end:
        steps += 1
        progress.update("a", steps, 0)
    assert steps > 100 and 2 + 1 <= len(writes) <= 2 + 3
    progress.stage("a", "done", 0.5)
    progress.stage("a", "reused")
    assert "reused" not in writes[-1] and "'done'" in writes[-1]
    progress.cancel()
    with pytest.raises(Cancelled):
        progress.update("b", 1, 2)


def test_slots_from_environment_gpus_or_cores(monkeypatch):
    monkeypatch.setenv("REWINDLAB_SLOTS", "3")
    assert jobs.slots() == 3
    for bad in ("0", "-1", "many"):
        monkeypatch.setenv("REWINDLAB_SLOTS", bad)
        with pytest.raises(BadInput, match="REWINDLAB_SLOTS"):
            jobs.slots()
    monkeypatch.delenv("REWINDLAB_SLOTS")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
    assert gpus() == ["2", "5"] and jobs.slots() == 2
    monkeypatch.setattr(os, "cpu_count", lambda: 9)
    assert workers() == 4
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert gpus() == [] and jobs.slots() == 4 and workers() == 9
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    assert jobs.slots() == 1


def test_gpus_are_counted_by_the_driver_s_tool(tmp_path, monkeypatch):
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'GPU 0: X (UUID: a)'\necho '  MIG 1g.10gb'\necho 'GPU 1: X (UUID: b)'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(machine, "_installed", machine._installed.__wrapped__)  # as asked for the first time
    assert gpus() == ["0", "1"]


def test_the_real_command_names_the_config_the_store_and_the_job(tmp_path):
    store = Store(tmp_path)
    line = jobs.command(store, KEY)
    assert line[0] == sys.executable
    assert line[1:4] == ["-m", "core", "run"]
    assert Path(line[4]) == tmp_path / "jobs" / KEY / "config.json"
    assert line[5:] == ["--store", str(tmp_path), "--job", KEY]


def test_neither_store_nor_jobs_bring_torch_or_streamlit():
    import subprocess

    code = "import sys, core.store, core.jobs, core.progress; print(sorted({'torch', 'streamlit'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=jobs._ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_broken_state_file_is_no_job(store):
    folder = store.root / "jobs" / KEY
    folder.mkdir()
    (folder / "state.json").write_text("{")
    assert jobs.status(store, KEY) is None
    write_json(folder / "state.json", {"state": "done", "submitted": 1.0, "stages": []})
    assert jobs.status(store, KEY).state == read_json(folder / "state.json")["state"] == "done"
