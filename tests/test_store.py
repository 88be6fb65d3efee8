"""The store: hashes that notice every change, results that are whole or absent, one computation at a time."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core import store as store_module
from core.config import BadInput
from core.progress import Cancelled, Progress, TerminalProgress
from core.store import Build, Stage, Store, digest, file_digest, read_json, write_json

REPO = Path(__file__).resolve().parent.parent


class Recorder(Progress):
    def __init__(self) -> None:
        super().__init__()
        self.events: list[tuple[str, str]] = []
        self.texts: list[str] = []

    def stage(self, key, state, seconds=None):
        self.events.append((key, state))

    def update(self, key, done, total, text="", row=None):
        self.texts.append(text)
        self.check()


def nothing(build: Build) -> None:
    pass


def stage(key="a", kind="kind", config=None, inputs=None, build=nothing) -> Stage:
    return Stage(key, kind, config or {}, inputs or {}, build)


def test_hash_is_the_documented_one():
    text = '{"config":{"r":0.5},"format":2,"inputs":{},"kind":"train"}'
    expected = hashlib.sha256(text.encode()).hexdigest()[:16]
    item = stage("anything", "train", {"r": 0.5})
    assert item.hash == expected
    assert item.folder == f"train-{expected}"


def test_hash_notices_config_kind_input_and_input_name_but_not_key(monkeypatch):
    leaf = stage(config={"seed": 0})
    others = [
        stage(kind="other", config={"x": 1}, inputs={"data": leaf}),
        stage(config={"x": 2}, inputs={"data": leaf}),
        stage(config={"x": 1}, inputs={"data": stage(config={"seed": 1})}),
        stage(config={"x": 1}, inputs={"model": leaf}),
        stage(config={"x": 1}),
    ]
    base = stage("one", config={"x": 1}, inputs={"data": leaf})
    assert len({base.hash, *(item.hash for item in others)}) == 6
    assert stage("two", config={"x": 1}, inputs={"data": leaf}).hash == base.hash
    monkeypatch.setattr(store_module, "FORMAT", 99)
    assert stage(config={"x": 1}, inputs={"data": leaf}).hash != base.hash


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.text(max_size=5), st.one_of(st.integers(), st.text(max_size=5), st.booleans()), max_size=6))
def test_digest_ignores_the_order_of_keys_and_nothing_else(value):
    backwards = dict(reversed(list(value.items())))
    assert digest(backwards) == digest(value) == digest(json.loads(json.dumps(value)))
    assert digest({**value, "a longer key": 1}) != digest(value)


def test_hash_refuses_what_json_cannot_say():
    with pytest.raises(TypeError):
        _ = stage(config={"path": Path("x")}).hash
    with pytest.raises(ValueError):
        _ = stage(config={"r": float("nan")}).hash


def test_ensure_builds_inputs_first_each_once_and_records_what_made_it(tmp_path):
    built = []

    def build(run: Build) -> None:
        built.append(run.key)
        run.notes.update(device="cpu", hash="forged")
        names = {name: (path / "out.txt").read_text() for name, path in run.inputs.items()}
        (run.folder / "out.txt").write_text(f"{run.config['n']}{sorted(names.items())}")

    data = stage("data", "data", {"n": 0}, build=build)
    left = stage("left", "side", {"n": 1}, {"data": data}, build)
    right = stage("right", "side", {"n": 2, "seed": 7}, {"data": data}, build)
    top = stage("top", "top", {"n": 3}, {"l": left, "r": right}, build)
    store, progress = Store(tmp_path / "runs"), Recorder()
    assert store.find(top) is None
    path = store.ensure(top, progress)

    assert built == ["data", "left", "right", "top"]
    assert progress.events == [(key, state) for key in built for state in ("running", "done")]
    assert path == store.path(top) == store.find(top) == tmp_path / "runs" / top.folder
    assert (path / "out.txt").read_text().startswith("3[('l', \"1[('data',")
    record = read_json(store.path(right) / "stage.json")
    assert record["config"] == {"n": 2, "seed": 7}
    assert record["inputs"] == {"data": data.hash}
    assert (record["hash"], record["kind"], record["format"]) == (right.hash, "side", 2)
    assert (record["seed"], record["device"]) == (7, "cpu")
    assert record["versions"]["numpy"] == np.__version__
    assert record["seconds"] >= 0 and record["created"].endswith("+00:00")
    assert "seed" not in read_json(store.path(left) / "stage.json")
    assert list((store.root / ".tmp").iterdir()) == []


def test_a_found_result_is_reused_and_its_inputs_are_left_alone(tmp_path):
    store, built = Store(tmp_path), []
    data = stage("data", "data", build=lambda run: built.append("data"))
    top = stage("top", "top", inputs={"data": data}, build=lambda run: built.append("top"))
    store.ensure(top, Progress())
    (store.path(data) / "stage.json").unlink()
    progress = Recorder()
    Store(tmp_path).ensure(top, progress)
    assert built == ["data", "top"]
    assert progress.events == [("top", "reused")]
    # a folder without its stage.json is no result, and does not stand in the way of one
    assert store.find(data) is None
    store.ensure(data, progress)
    assert built == ["data", "top", "data"] and store.find(data)


def test_ensure_all_tells_of_a_shared_input_once(tmp_path):
    data = stage("data", "data")
    left, right = (stage(name, name, inputs={"data": data}) for name in ("left", "right"))
    store, progress = Store(tmp_path), Recorder()
    store.ensure_all([data, left, right], progress)
    assert progress.events == [(key, state) for key in ("data", "left", "right") for state in ("running", "done")]
    assert all(store.find(item) for item in (data, left, right))


@pytest.mark.parametrize("error", [RuntimeError("no"), Cancelled(), KeyboardInterrupt()])
def test_a_failed_build_leaves_nothing(tmp_path, error):
    def build(run: Build) -> None:
        (run.folder / "half").write_text("x")
        raise error

    store = Store(tmp_path)
    with pytest.raises(type(error)):
        store.ensure(stage(build=build), Progress())
    assert store.find(stage()) is None
    assert list((tmp_path / ".tmp").iterdir()) == []
    assert store.ensure(stage(), Progress()).is_dir()


def test_cancel_stops_the_build_and_whatever_follows(tmp_path):
    store, progress = Store(tmp_path), Recorder()

    def build(run: Build) -> None:
        run.update(1, 3)
        progress.cancel()
        run.update(2, 3)

    first = stage("first", config={"n": 1}, build=build)
    with pytest.raises(Cancelled):
        store.ensure(stage("second", config={"n": 2}, inputs={"first": first}), progress)
    assert progress.events == [("first", "running")]
    assert progress.texts == ["", ""]


def test_waiting_for_somebody_else_is_told_and_can_be_cancelled(tmp_path):
    store, progress, item = Store(tmp_path), Recorder(), stage()
    with store.lock(item.folder):
        threading.Timer(0.3, progress.cancel).start()
        with pytest.raises(Cancelled):
            store.ensure(item, progress)
    assert set(progress.texts) == {"waiting for another run that computes the same"}
    assert progress.events == []


BUILDER = """
import sys, time
from pathlib import Path
from core.progress import Progress
from core.store import Stage, Store

def build(run):
    with open(sys.argv[2], "a") as file:
        file.write("built\\n")
    (run.folder / "half").write_text("x")
    time.sleep(float(sys.argv[3]))

class Loud(Progress):
    def stage(self, key, state, seconds=None):
        print(state, flush=True)

Store(sys.argv[1]).ensure(Stage("a", "kind", {}, {}, build), Loud())
"""


def builder(*arguments: object) -> subprocess.Popen[str]:
    line = [sys.executable, "-c", BUILDER, *map(str, arguments)]
    return subprocess.Popen(line, cwd=REPO, stdout=subprocess.PIPE, text=True)


def test_two_processes_compute_once(tmp_path):
    counter = tmp_path / "counter"
    both = [builder(tmp_path / "runs", counter, 0.7) for _ in range(2)]
    said = sorted(process.communicate(timeout=30)[0].split() for process in both)
    assert [process.returncode for process in both] == [0, 0]
    assert said == [["reused"], ["running", "done"]]
    assert counter.read_text() == "built\n"


def test_leftovers_of_the_dead_are_swept_those_of_the_living_stay(tmp_path):
    root = tmp_path / "runs"
    process = builder(root, tmp_path / "counter", 60)
    deadline = time.monotonic() + 20
    while not list(root.glob(".tmp/*/half")) and time.monotonic() < deadline:
        time.sleep(0.02)
    (leftover,) = root.glob(".tmp/kind-*")
    assert leftover.name.rsplit("-", 2)[1] == str(process.pid)
    store = Store(root)
    assert leftover.is_dir()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    store = Store(root)
    assert not leftover.exists()
    assert store.find(stage()) is None
    assert store.ensure(stage(), Progress()).is_dir()


def test_another_format_is_refused_with_both_versions_and_the_way_out(tmp_path):
    Store(tmp_path)
    assert read_json(tmp_path / "format.json") == {"format": 2}
    write_json(tmp_path / "format.json", {"format": 9})
    with pytest.raises(BadInput, match=r"format 9, .*format 2; .*--store or .*REWINDLAB_STORE, or delete") as caught:
        Store(tmp_path)
    assert str(tmp_path) in str(caught.value) and "\n" not in str(caught.value)
    (tmp_path / "format.json").write_text("{")
    with pytest.raises(BadInput, match="format unknown"):
        Store(tmp_path)


def test_a_store_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    for root in (tmp_path / "file", tmp_path / "file" / "runs"):
        with pytest.raises(
            BadInput, match=r"cannot be written \(.+\); give another with --store or .*REWINDLAB_STORE"
        ) as caught:
            Store(root)
        assert str(root) in str(caught.value)
    Store(tmp_path / "runs")

    def read_only(*_, **__):
        raise OSError(30, os.strerror(30))

    monkeypatch.setattr(store_module.tempfile, "TemporaryFile", read_only)
    with pytest.raises(BadInput, match="Read-only file system"):
        Store(tmp_path / "runs")


def test_root_from_argument_then_environment_then_beside_the_app(tmp_path, monkeypatch):
    monkeypatch.setenv("REWINDLAB_STORE", str(tmp_path / "env"))
    assert Store().root == tmp_path / "env"
    assert Store(tmp_path / "given").root == tmp_path / "given"
    monkeypatch.chdir(tmp_path)
    assert Store("relative").root == tmp_path / "relative"
    monkeypatch.delenv("REWINDLAB_STORE")
    monkeypatch.setattr(store_module, "__file__", str(tmp_path / "repo" / "core" / "store.py"))
    assert Store().root == tmp_path / "repo" / "runs"


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("a.parquet", "a.parquet"),
        ("../../etc/pass wd", "pass_wd"),
        ("C:\\x\\y.pt", "y.pt"),
        ("..", "file"),
        ("", "file"),
    ],
)
def test_uploads_lie_under_their_content(tmp_path, name, safe):
    store, data = Store(tmp_path), b"content"
    path = store.upload(data, name)
    assert path == tmp_path / "uploads" / hashlib.sha256(data).hexdigest()[:16] / safe
    assert path.read_bytes() == data
    assert store.upload(data, name) == path
    assert store.upload(b"other", name).parent != path.parent


def test_file_digest_follows_the_file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"one")
    assert file_digest(path) == hashlib.sha256(b"one").hexdigest()
    path.write_bytes(b"four")
    assert file_digest(path) == hashlib.sha256(b"four").hexdigest()


def test_write_json_replaces_whole_files_and_takes_numpy(tmp_path):
    path = tmp_path / "x.json"
    write_json(path, {"a": np.float32(0.5), "b": np.arange(2)})
    assert read_json(path) == {"a": 0.5, "b": [0, 1]}
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert read_json(path) == {"a": 0.5, "b": [0, 1]}
    assert [item.name for item in tmp_path.iterdir()] == ["x.json"]


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("terminal", [True, False])
def test_terminal_progress_speaks_on_a_terminal_only(terminal):
    stream = Terminal() if terminal else io.StringIO()
    progress = TerminalProgress(stream)
    progress.stage("data", "reused")
    progress.stage("train", "running")
    progress.update("train", 1, 2, "epoch 1")
    progress.stage("train", "done", 1.25)
    said = stream.getvalue()
    assert ("data: in the store" in said and "train: done in 1.2 s" in said) if terminal else said == ""
    progress.cancel()
    with pytest.raises(Cancelled):
        progress.update("train", 1, 2)
    progress.close()
