"""Results on disk, each under the hash of what made it; written once, whole or not at all.

Layout: `<kind>-<hash>/` one result each, `uploads/` files people brought, `jobs/` runs, `.locks/` and `.tmp/`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from core.config import BadInput

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from core.progress import Progress

FORMAT = 2
"""Version of the layout and of what the hashes cover; raise it whenever old results must not be read as new ones."""

ANOTHER = "give another with --store or the environment variable REWINDLAB_STORE"
LIBRARIES = ("torch", "torchvision", "numpy", "scikit-learn")
WAITING = "waiting for another run that computes the same"


@dataclass(frozen=True, eq=False)
class Stage:
    """One step of an experiment as a value: what to compute, from what, and the function that does it."""

    key: str
    """Its place in the experiment ("train", "vulnerability"): shown to people, not hashed."""
    kind: str
    """First part of the folder's name; hashed."""
    config: dict[str, Any]
    """Everything the result depends on, JSON-able and free of paths of this machine."""
    inputs: dict[str, Stage]
    build: Callable[[Build], None]
    """Writes the result's files into `Build.folder`."""

    @cached_property
    def hash(self) -> str:
        """16 hex digits that change when the config, any input or the store's format changes."""
        inputs = {name: stage.hash for name, stage in self.inputs.items()}
        value = {"format": FORMAT, "kind": self.kind, "config": self.config, "inputs": inputs}
        return digest(value)

    @property
    def folder(self) -> str:
        return f"{self.kind}-{self.hash}"


@dataclass
class Build:
    """What a stage's build function gets."""

    folder: Path
    """Empty and temporary; whatever lies in it at the end is the result."""
    inputs: dict[str, Path]
    config: dict[str, Any]
    key: str
    progress: Progress
    store: Store
    """For stages that gather many small results of their own."""
    notes: dict[str, Any] = field(default_factory=dict)
    """Facts worth keeping that are not part of the hash, such as the device; merged into stage.json."""

    def update(self, done: int, total: int, text: str = "", row: dict[str, Any] | None = None) -> None:
        """Reports `done` of `total` steps and perhaps one row of the log; raises Cancelled."""
        self.progress.update(self.key, done, total, text, row)

    def write(self, name: str, table: pd.DataFrame) -> None:
        """Adds one table to the result, as Parquet."""
        table.to_parquet(self.folder / f"{name}.parquet", index=False)


class Store:
    """A folder of results. Opening it creates it, checks its format and sweeps up after dead processes."""

    def __init__(self, root: Path | str | None = None) -> None:
        """`root`: default REWINDLAB_STORE, else `runs/` beside app.py. Raises BadInput where it cannot be used."""
        default = os.environ.get("REWINDLAB_STORE") or Path(__file__).resolve().parent.parent / "runs"
        self.root = Path(root or default).expanduser().absolute()
        try:
            for name in (".tmp", ".locks", "jobs", "uploads"):
                (self.root / name).mkdir(parents=True, exist_ok=True)
            # existing folders say nothing about a read-only disk: only writing does
            with tempfile.TemporaryFile(dir=self.root / ".tmp"):
                pass
            self._check_format()
            self._sweep()
        except OSError as error:
            reason = error.strerror or str(error)
            raise BadInput(f"the store {self.root} cannot be written ({reason}); {ANOTHER}") from error

    def path(self, stage: Stage) -> Path:
        """Where the stage's result lies or would lie."""
        return self.root / stage.folder

    def find(self, stage: Stage) -> Path | None:
        """The stage's result, if it was computed."""
        path = self.path(stage)
        return path if (path / "stage.json").is_file() else None

    def ensure(self, stage: Stage, progress: Progress) -> Path:
        """The stage's result, computed now where it is missing, its missing inputs first.

        Two processes that ask for the same at once share one computation. Raises Cancelled and whatever the build
        function raises; nothing of a failed build stays.
        """
        return self._ensure(stage, progress, {})

    def ensure_all(self, stages: Iterable[Stage], progress: Progress) -> None:
        """`ensure` for several stages in order; a stage met before counts as reused under its other keys too."""
        seen: dict[str, Path] = {}
        told: set[str] = set()
        for stage in stages:
            known = stage.folder in seen
            self._ensure(stage, progress, seen)
            if known and stage.key not in told:
                progress.stage(stage.key, "reused")
            told.add(stage.key)

    def put(self, stage: Stage, arrays: dict[str, dict[str, np.ndarray]]) -> Path:
        """Stores a result that was computed elsewhere, as safetensors files by name; one that is there stays."""
        from safetensors.numpy import save_file

        def build(b: Build) -> None:
            for name, part in arrays.items():
                save_file(part, b.folder / name)

        from core.progress import Progress

        return self.ensure(replace(stage, build=build), Progress())

    def upload(self, data: bytes, name: str) -> Path:
        """Keeps a file somebody brought, under its content's hash, and returns where it lies."""
        base = re.split(r"[/\\]", name)[-1]
        safe = re.sub(r"[^A-Za-z0-9._-]+", "_", base).lstrip(".")[-100:] or "file"
        path = self.root / "uploads" / hashlib.sha256(data).hexdigest()[:16] / safe
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_bytes(path, data)
        return path

    def lock(self, name: str) -> FileLock:
        """An unheld lock of that name, shared by all processes on this store; freed by the kernel if one dies."""
        return FileLock(self.root / ".locks" / f"{name}.lock")

    def _ensure(self, stage: Stage, progress: Progress, seen: dict[str, Path]) -> Path:
        if stage.folder in seen:
            return seen[stage.folder]
        path = self.find(stage)
        if path is not None:
            progress.stage(stage.key, "reused")
        else:
            inputs = {name: self._ensure(item, progress, seen) for name, item in stage.inputs.items()}
            with self._held(stage, progress):
                path = self.find(stage)  # somebody else may have made it while we waited
                if path is not None:
                    progress.stage(stage.key, "reused")
                else:
                    path = self._compute(stage, inputs, progress)
        seen[stage.folder] = path
        return path

    def _compute(self, stage: Stage, inputs: dict[str, Path], progress: Progress) -> Path:
        progress.check()
        progress.stage(stage.key, "running")
        started = time.monotonic()
        target = self.path(stage)
        folder = self.root / ".tmp" / f"{stage.folder}-{os.getpid()}-{secrets.token_hex(4)}"
        folder.mkdir()
        try:
            build = Build(folder, inputs, stage.config, stage.key, progress, self)
            stage.build(build)
            seconds = round(time.monotonic() - started, 3)
            # notes first: they must not be able to hide what the result was made from
            write_json(folder / "stage.json", {**build.notes, **_record(stage), "seconds": seconds})
            _flush(folder)
            if target.exists():  # no stage.json in it, so nobody may trust it, and no rename can replace it
                shutil.rmtree(target)
            folder.rename(target)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        progress.stage(stage.key, "done", seconds)
        return target

    @contextlib.contextmanager
    def _held(self, stage: Stage, progress: Progress) -> Iterator[None]:
        """The stage's lock, waited for in short steps so that the waiting can be seen and cancelled."""
        lock = self.lock(stage.folder)
        while True:
            try:
                lock.acquire(blocking=False)
                break
            except Timeout:
                progress.update(stage.key, 0, 0, WAITING)
                time.sleep(0.1)
        try:
            yield
        finally:
            lock.release()

    def _check_format(self) -> None:
        path = self.root / "format.json"
        if not path.is_file():
            write_json(path, {"format": FORMAT})
            return
        try:
            found = read_json(path)["format"]
        except (ValueError, KeyError, TypeError):
            found = "unknown"
        if found != FORMAT:
            raise BadInput(
                f"the store {self.root} has format {found}, this version of RewindLab reads format {FORMAT}; "
                f"{ANOTHER}, or delete that one"
            )

    def _sweep(self) -> None:
        """Removes temporary folders left by processes that died.

        A living builder holds its result's lock, and the kernel frees the locks of the dead: unlike the pid in the
        name this also holds for pids used again and for several containers on one store.
        """
        for folder in filter(Path.is_dir, (self.root / ".tmp").iterdir()):
            lock = self.lock(folder.name.rsplit("-", 2)[0])
            with contextlib.suppress(Timeout), lock.acquire(blocking=False):
                if folder.is_dir():
                    shutil.rmtree(folder, ignore_errors=True)


def digest(value: Any) -> str:
    """First 16 hex digits of the SHA-256 of a JSON-able value, whatever the order of its keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def file_digest(path: Path | str) -> str:
    """SHA-256 of a file in hex, remembered until the file changes."""
    stat = os.stat(path)
    return _file_digest(str(path), stat.st_mtime_ns, stat.st_size)


def read_json(path: Path) -> Any:
    """Raises FileNotFoundError, and ValueError where the file is not JSON."""
    return json.loads(path.read_text(encoding="utf-8"))


def write_json(path: Path, value: Any, *, durable: bool = True) -> None:
    """Replaces the file in one step: a reader sees the old or the new one. `durable` survives a power cut."""
    write_bytes(path, (json.dumps(value, indent=1, default=plain) + "\n").encode(), durable=durable)


def write_bytes(path: Path, data: bytes, *, durable: bool = True) -> None:
    """As `write_json`, for bytes."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def plain(value: Any) -> Any:
    """For `json.dumps(default=…)`: NumPy and torch scalars and arrays as numbers and lists."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


@lru_cache(maxsize=256)
def _file_digest(path: str, mtime_ns: int, size: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@lru_cache(maxsize=1)
def _versions() -> dict[str, str]:
    versions = {}
    for name in LIBRARIES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return versions


def _record(stage: Stage) -> dict[str, Any]:
    """What stage.json says of how a result came about."""
    record = {
        "format": FORMAT,
        "kind": stage.kind,
        "hash": stage.hash,
        "config": stage.config,
        "inputs": {name: item.hash for name, item in stage.inputs.items()},
        "versions": _versions(),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    return {**record, "seed": stage.config["seed"]} if "seed" in stage.config else record


def _flush(folder: Path) -> None:
    """Sends all files of a folder to the disk: after a power cut a renamed folder must not hold empty files."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
