"""Runs in the background: one detached process per experiment, seen through its folder and the process table.

`<store>/jobs/<key>/` holds config.json, state.json, rows.jsonl (log rows as they come) and log.txt (what it printed).
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import psutil
from filelock import FileLock, Timeout

from core.config import BadInput, whole_number
from core.machine import gpus
from core.progress import Cancelled, JobProgress, Progress
from core.store import Store, read_json, write_json

Kind = Literal["run", "sweep"]
State = Literal["queued", "running", "done", "failed", "cancelled", "interrupted"]
ACTIVE = ("queued", "running")
GONE = "the process is gone (killed, out of memory or the machine restarted); start it again and it resumes"

_ROOT = Path(__file__).resolve().parent.parent
_KEY = re.compile(r"[0-9a-f]{8,64}")
_POLL = 0.1
_spawned: dict[int, subprocess.Popen[bytes]] = {}
"""Our own children by pid: they stay zombies until polled."""


@dataclass(frozen=True)
class StageStatus:
    """One line of a job's progress."""

    key: str
    state: str
    """pending, running, reused, done, skipped (not needed), or how the job ended while it was under way."""
    done: int = 0
    total: int = 0
    """0: unknown."""
    text: str = ""
    seconds: float | None = None


@dataclass(frozen=True)
class JobStatus:
    """What is known of a job; times are seconds since 1970 (UTC)."""

    key: str
    state: State
    folder: Path
    submitted: float
    started: float | None = None
    ended: float | None = None
    error: str = ""
    """Why it failed, in words."""
    cancelling: bool = False
    """Still there, but asked to stop."""
    pid: int | None = None
    stages: tuple[StageStatus, ...] = ()
    kind: Kind = "run"
    """One experiment, or a sweep of many."""

    @property
    def active(self) -> bool:
        return self.state in ACTIVE

    @property
    def config(self) -> dict[str, Any]:
        """The experiment's config, as submitted."""
        return read_json(self.folder / "config.json")


def command(store: Store, key: str, kind: Kind = "run") -> list[str]:
    """The command line of a job's process."""
    config = _folder(store, key) / "config.json"
    return [sys.executable, "-m", "core", kind, str(config), "--store", str(store.root), "--job", key]


def submit(store: Store, config: dict[str, Any], key: str, kind: Kind = "run") -> JobStatus:
    """Starts the job, or returns the one that is already queued or running under this key.

    `key` is the hash of the experiment or sweep. A job that ended in any way starts anew in its folder and
    finds its finished stages in the store. Raises BadInput for a key that is no hash.
    """
    folder = _folder(store, key)
    with _lock(store, key):
        now = status(store, key)
        if now is not None and now.active:
            return now
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "config.json", config)
        (folder / "cancel.json").unlink(missing_ok=True)
        (folder / "rows.jsonl").write_bytes(b"")
        with (folder / "log.txt").open("wb") as log:
            process = subprocess.Popen(
                command(store, key, kind),
                cwd=_ROOT,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},  # a killed process leaves a whole log
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # it outlives the page's server, and Ctrl-C there is not meant for it
            )
        _spawned[process.pid] = process
        # the process cannot write its own state before we let go of the lock
        JobProgress(folder, **_identity(process.pid)).set(state="queued", submitted=time.time(), kind=kind)
        result = status(store, key)
        assert result is not None
        return result


def run_job(store: Store, key: str, work: Callable[[Progress], None]) -> int:
    """The life of a job inside its own process: wait for a slot, work, say how it ended.

    `work` reports to the progress it is given. Returns the exit status: 0 done, 1 failed, 130 cancelled. Call it from
    the main thread, as early as can be: what fails before it has no words.
    """
    folder = _folder(store, key)
    folder.mkdir(parents=True, exist_ok=True)
    with _lock(store, key):
        before = _read_state(folder)
        progress = JobProgress(folder, **_identity(os.getpid()))
        signal.signal(signal.SIGTERM, lambda *_: progress.cancel())
        kept = {"submitted": before.get("submitted", time.time()), "kind": before.get("kind", "run")}
        progress.set(state="queued", **kept)
    slot = None
    try:
        slot = _take_slot(store, progress)
        progress.set(state="running", started=time.time())
        work(progress)
        progress.end("done")
        return 0
    except (Cancelled, KeyboardInterrupt):
        progress.end("cancelled")
        return 130
    except Exception as error:
        traceback.print_exc()
        progress.end("failed", in_words(error))
        return 1
    finally:
        if slot is not None:
            slot.release()


def status(store: Store, key: str) -> JobStatus | None:
    """The job's state from its folder and the process table; None where there is no such job.

    Raises BadInput for a key that is no hash.
    """
    folder = _folder(store, key)
    raw = _read_state(folder)
    if not raw:
        return None
    state, error = raw["state"], raw.get("error", "")
    if state in ACTIVE and _process(raw) is None:
        raw = _read_state(folder)  # it may have ended properly between our two looks
        state, error = raw["state"], raw.get("error", "")
        if state in ACTIVE:
            state, error = ("cancelled", "") if _asked(raw, folder) else ("interrupted", GONE)
    stages = [StageStatus(**item) for item in raw["stages"]]
    if state not in ACTIVE:
        stages = [replace(item, state=state) if item.state == "running" else item for item in stages]
    times = {name: raw.get(name) for name in ("started", "ended")}
    return JobStatus(
        key,
        state,
        folder,
        raw["submitted"],
        **times,
        error=error,
        cancelling=state in ACTIVE and _asked(raw, folder),
        pid=raw.get("pid"),
        stages=tuple(stages),
        kind=raw.get("kind", "run"),
    )


def rows(store: Store, key: str) -> list[dict[str, Any]]:
    """The log rows so far, each with its `stage`; a line that is only half written is left out."""
    path = _folder(store, key) / "rows.jsonl"
    found = []
    if path.is_file():
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            with contextlib.suppress(ValueError):
                found.append(json.loads(line))
    return found


def cancel(store: Store, key: str, grace: float = 5.0, wait: bool = True) -> JobStatus | None:
    """Asks the job to stop, and after `grace` seconds makes it.

    With `wait=False` a thread does the waiting and the status returned may still be an active one, `cancelling`. A
    job that has ended is left as it is.
    """
    now = status(store, key)
    if now is None or not now.active:
        return now
    process = _process(_read_state(now.folder))
    if process is not None:
        write_json(now.folder / "cancel.json", {"pid": process.pid})
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
        # not a daemon: a server that shuts down meanwhile still sees the cancelling through
        thread = threading.Thread(target=_finish_cancel, args=(store, key, process, grace))
        thread.start()
        if wait:
            thread.join()
    return status(store, key)


def listing(store: Store) -> list[JobStatus]:
    """All jobs of the store, newest first."""
    keys = [path.name for path in (store.root / "jobs").iterdir() if _KEY.fullmatch(path.name)]
    found = [item for item in (status(store, key) for key in keys) if item is not None]
    return sorted(found, key=lambda item: item.submitted, reverse=True)


def slots() -> int:
    """How many jobs compute at a time: REWINDLAB_SLOTS, else one per GPU, else one per two cores."""
    return whole_number("REWINDLAB_SLOTS") or len(gpus()) or max(1, (os.cpu_count() or 1) // 2)


def _folder(store: Store, key: str) -> Path:
    if not _KEY.fullmatch(key):
        raise BadInput(f"{key[:80]!r} is not an experiment's hash (8 to 64 hex digits)")
    return store.root / "jobs" / key


def _lock(store: Store, key: str) -> FileLock:
    """Held while a job is started or declared over, so that there is never more than one process per key."""
    return store.lock(f"job-{key}")


def _read_state(folder: Path) -> dict[str, Any]:
    try:
        return read_json(folder / "state.json")
    except (FileNotFoundError, ValueError):
        return {}


def _identity(pid: int) -> dict[str, Any]:
    """A pid alone may come to mean another process; with its start time it does not."""
    try:
        return {"pid": pid, "create_time": psutil.Process(pid).create_time()}
    except psutil.NoSuchProcess:
        return {"pid": pid, "create_time": 0.0}


def _process(raw: dict[str, Any]) -> psutil.Process | None:
    """The job's living process; zombies are dead."""
    child = _spawned.get(raw.get("pid", -1))
    if child is not None and child.poll() is not None:
        _spawned.pop(child.pid, None)
    try:
        process = psutil.Process(raw["pid"])
        # the system's clock may be set between two readings, so the start times need not agree to the tick
        same = abs(process.create_time() - raw["create_time"]) < 2.0
        return process if same and process.status() != psutil.STATUS_ZOMBIE else None
    except (psutil.NoSuchProcess, KeyError):
        return None


def _asked(raw: dict[str, Any], folder: Path) -> bool:
    """Whether somebody asked this very process to stop: then its death is a cancellation, however it died."""
    with contextlib.suppress(FileNotFoundError, ValueError):
        return read_json(folder / "cancel.json") == {"pid": raw.get("pid")}
    return False


def _finish_cancel(store: Store, key: str, process: psutil.Process, grace: float) -> None:
    folder = _folder(store, key)
    identity = {"pid": process.pid, "create_time": process.create_time()}
    family: set[psutil.Process] = set()
    deadline = time.monotonic() + grace
    while _process(identity) is not None and time.monotonic() < deadline:
        with contextlib.suppress(psutil.NoSuchProcess):
            family.update(process.children(recursive=True))
        time.sleep(_POLL / 2)
    for member in (process, *family):  # helpers that outlived a willing parent go too
        with contextlib.suppress(psutil.NoSuchProcess):
            member.kill()
    while _process(identity) is not None:
        time.sleep(_POLL / 10)
    with _lock(store, key):
        raw = _read_state(folder)
        if raw.get("state") in ACTIVE and raw.get("pid") == process.pid:
            write_json(folder / "state.json", {**raw, "state": "cancelled", "ended": time.time()})


def _take_slot(store: Store, progress: Progress) -> FileLock:
    """Waits for one of the slots; on several GPUs each slot is one of them. Raises Cancelled."""
    devices = gpus()
    locks = [store.lock(f"slot-{number}") for number in range(slots())]
    while True:
        for number, lock in enumerate(locks):
            with contextlib.suppress(Timeout):
                lock.acquire(blocking=False)
                if len(devices) > 1:
                    os.environ["CUDA_VISIBLE_DEVICES"] = devices[number % len(devices)]
                return lock
        progress.check()
        time.sleep(_POLL)


def in_words(error: Exception) -> str:
    """One line for a person; the traceback is in the log."""
    if isinstance(error, BadInput):
        return str(error)
    text = " ".join(str(error).split())
    # torch says it by its own class on a GPU and by a RuntimeError on a CPU
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in text:
        return "not enough memory: use a smaller model, fewer records or a smaller batch"
    return f"{type(error).__name__}: {text[:300]}" if text else type(error).__name__
