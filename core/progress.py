"""How long work tells what it does and hears that it should stop: silently, in a terminal, or into a job's folder."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any, Literal, TextIO

from tqdm import tqdm

from core.store import plain, write_json

StageState = Literal["running", "reused", "done"]
Row = dict[str, Any]


class Cancelled(Exception):
    """Somebody asked the work to stop; raised from inside it at the next progress call."""


class Progress:
    """Says nothing. The base of all others, and what tests and notebooks pass.

    `cancel` only sets a flag, so a signal handler or another thread may call it.
    """

    def __init__(self) -> None:
        self._cancelled = False

    def plan(self, keys: list[str]) -> None:
        """The stages to come, in order."""

    def stage(self, key: str, state: StageState, seconds: float | None = None) -> None:
        """A stage starts, was found in the store, or is done after so many seconds."""

    def update(self, key: str, done: int, total: int, text: str = "", row: Row | None = None) -> None:
        """`done` of `total` steps of a stage (total 0: unknown), and perhaps one row of its log. Raises Cancelled."""
        self.check()

    def cancel(self) -> None:
        self._cancelled = True

    def check(self) -> None:
        """Raises Cancelled once `cancel` was called."""
        if self._cancelled:
            raise Cancelled("cancelled")


class TerminalProgress(Progress):
    """One bar per stage on a terminal's stderr, and a line when it is done; quiet where stderr is a file or a pipe,
    which then holds nothing but an error."""

    def __init__(self, stream: TextIO | None = None) -> None:
        super().__init__()
        self._stream = stream or sys.stderr
        self._bars: dict[str, tqdm] = {}

    def stage(self, key: str, state: StageState, seconds: float | None = None) -> None:
        bar = self._bars.pop(key, None)
        if bar is not None:
            bar.close()
        if not self._stream.isatty():
            return
        if state == "reused":
            tqdm.write(f"{key}: in the store", file=self._stream)
        elif state == "done":
            tqdm.write(f"{key}: done" + ("" if seconds is None else f" in {seconds:.1f} s"), file=self._stream)

    def update(self, key: str, done: int, total: int, text: str = "", row: Row | None = None) -> None:
        bar = self._bars.get(key)
        if bar is None:
            # disable=None: tqdm keeps quiet where the stream is a file or a pipe
            bar = tqdm(desc=key, file=self._stream, leave=False, disable=None, dynamic_ncols=True)
            self._bars[key] = bar
        bar.total = total or None
        bar.n = done
        bar.set_postfix_str(text, refresh=False)
        bar.refresh()
        self.check()

    def close(self) -> None:
        """Takes unfinished bars off the screen, so that an error message starts on its own line."""
        for bar in self._bars.values():
            bar.close()
        self._bars.clear()


class JobProgress(Progress):
    """Keeps `state.json` (whole state, replaced atomically) and `rows.jsonl` (one line per log row) of a job's folder.

    Plain updates reach the disk at most five times a second, changes of state always.
    """

    interval = 0.2
    """Seconds between two writes of plain updates."""

    def __init__(self, folder: Path, **state: Any) -> None:
        super().__init__()
        self._folder = folder
        self._state: Row = {**state, "stages": []}
        self._written = 0.0

    def set(self, **fields: Any) -> None:
        """Changes fields of the job's state (state, started, error …) and writes it."""
        self._state.update(fields)
        self._write()

    def plan(self, keys: list[str]) -> None:
        for key in keys:
            self._entry(key)
        self._write()

    def stage(self, key: str, state: StageState, seconds: float | None = None) -> None:
        entry = self._entry(key)
        if state == "reused" and entry["state"] == "done":
            return  # made by this very job, then met again as the input of a later stage
        if state == "running":
            entry.update(done=0, total=0)
        elif state == "done":
            entry.update(done=entry["total"])
        entry.update(state=state, text="", seconds=seconds)
        self._write()

    def update(self, key: str, done: int, total: int, text: str = "", row: Row | None = None) -> None:
        self._entry(key).update(done=done, total=total, text=text)
        if row is not None:
            with (self._folder / "rows.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps({"stage": key, **row}, default=plain) + "\n")
        if time.monotonic() - self._written >= self.interval:
            self._write(durable=False)
        self.check()

    def end(self, state: Literal["done", "failed", "cancelled"], error: str = "") -> None:
        """The last word: stages under way end like the job, stages never reached are 'skipped'."""
        for entry in self._state["stages"]:
            if entry["state"] == "running":
                entry["state"] = state
            elif entry["state"] == "pending":
                entry["state"] = "skipped"
        self.set(state=state, error=error, ended=time.time())

    def _entry(self, key: str) -> Row:
        for entry in self._state["stages"]:
            if entry["key"] == key:
                return entry
        entry = {"key": key, "state": "pending", "done": 0, "total": 0, "text": "", "seconds": None}
        self._state["stages"].append(entry)
        return entry

    def _write(self, durable: bool = True) -> None:
        self._written = time.monotonic()
        write_json(self._folder / "state.json", self._state, durable=durable)
