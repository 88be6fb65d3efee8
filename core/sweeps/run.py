"""Running a sweep: many experiments as one job that share every stage they can. Free of torch until one runs."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from core import jobs
from core.config import BadInput
from core.experiment import Experiment, check_targets, finished, parse, plan
from core.machine import workers
from core.progress import Cancelled, Progress, Row
from core.store import Stage, Store
from core.sweeps.listing import remember
from core.sweeps.sweep import Sweep, points


def submit(store: Store, sweep: Sweep) -> str:
    """Start the sweep as a job, or find it running; its key."""
    remember(store, sweep)
    jobs.submit(store, sweep.model_dump(mode="json"), sweep.hash, "sweep")
    return sweep.hash


def run_sweep(sweep: Sweep, store: Store, progress: Progress) -> None:
    """Compute what is missing: first what several points share, then point by point, over all processes.

    What one point cannot do does not stop the others: a BadInput at the end names the first failure and their number.
    """
    every = points(sweep)
    remember(store, sweep)
    progress.plan(["shared", "points"])
    wanted, failed = _possible([p.experiment for p in every if not finished(store, p.experiment.hash)])
    _shared(wanted, store, progress)
    missing = [(experiment, "experiment") for experiment in wanted]
    done, total = len(every) - len(missing), len(every)
    progress.stage("points", "running")
    progress.update("points", done, total, _told(done, total, failed))
    for error in _spread(missing, store, progress):
        done += 1
        failed += [error] if error else []
        progress.update("points", done, total, _told(done, total, failed))
    if failed:
        raise BadInput(f"{len(failed)} of {total} points failed, the others are kept; the first: {failed[0]}")
    progress.stage("points", "done")


def _told(done: int, total: int, failed: list[str]) -> str:
    return f"{done} of {total}" + (f", {len(failed)} failed" if failed else "")


def _possible(experiments: list[Experiment]) -> tuple[list[Experiment], list[str]]:
    """Those whose targets are within reach, and of each of the others why not, before anything is trained for them."""
    kept, failed = [], []
    for experiment in experiments:
        try:
            check_targets(experiment)
        except BadInput as error:
            failed.append(str(error))
        else:
            kept.append(experiment)
    return kept, failed


def _shared(experiments: list[Experiment], store: Store, progress: Progress) -> None:
    """Compute the stages that several experiments need, each once, as many at a time as there are processes."""
    plans = [(experiment, plan(experiment)) for experiment in experiments]
    uses = Counter(folder for _, stages in plans for folder in {stage.folder for stage in stages.values()})
    todo: dict[str, tuple[Stage, Experiment, str]] = {}
    for experiment, stages in plans:
        for key, stage in stages.items():
            if uses[stage.folder] > 1 and store.find(stage) is None:
                todo.setdefault(stage.folder, (stage, experiment, key))
    progress.stage("shared", "running")
    total = len(todo)
    what = f"of {total} results that several experiments share"
    while todo:
        ready = [item for item in todo.values() if not any(i.folder in todo for i in item[0].inputs.values())]
        # reference models fan out over all processes by themselves
        alone = [stage for stage, _, _ in ready if stage.kind == "shadows"]
        others = [(experiment, key) for stage, experiment, key in ready if stage.kind != "shadows"]
        count = total - len(todo)
        progress.update("shared", count, total, f"{count} {what}")
        for _ in _spread(others, store, progress):
            count += 1
            progress.update("shared", count, total, f"{count} {what}")
        for stage in alone:
            try:
                store.ensure(stage, _Within(progress, count, total, f"{count} {what}"))
            except Cancelled:
                raise
            except Exception:  # whatever it is: the points that need the stage meet and tell it
                pass
            count += 1
        for stage, _, _ in ready:
            todo.pop(stage.folder)
        # what cannot be computed is told by the points that need it; the others go on (inputs come before their users)
        for folder, (stage, _, _) in list(todo.items()):
            if any(i.folder not in todo and store.find(i) is None for i in stage.inputs.values()):
                todo.pop(folder)
    progress.stage("shared", "done")


class _Within(Progress):
    """Of one shared stage: what it says goes behind what the sweep says; it stops when the sweep is told to."""

    def __init__(self, outer: Progress, done: int, total: int, told: str) -> None:
        super().__init__()
        self.check = outer.check  # type: ignore[method-assign]
        self._say = lambda text: outer.update("shared", done, total, f"{told}; {text}")

    def update(self, key: str, done: int, total: int, text: str = "", row: Row | None = None) -> None:
        self._say(text)


def _spread(wanted: list[tuple[Experiment, str]], store: Store, progress: Progress) -> Iterator[str]:
    """Compute these stages (experiment, key) over all processes; of each, as it ends, "" or what went wrong."""
    from core.parallel import fan_out

    tasks = [(str(store.root), experiment.model_dump(mode="json"), key) for experiment, key in wanted]
    cluster = os.environ.get("REWINDLAB_CLUSTER", "")
    return fan_out(_compute, tasks, cluster=cluster, workers=workers(), check=progress.check)


def _compute(root: str, value: dict[str, Any], key: str) -> str:
    """Compute one stage of an experiment in a worker process; "" or what went wrong in words."""
    import torch

    if not (Path(root) / "format.json").is_file():
        return f"a worker does not see the store {root}: put it on a file system that all of them share"
    if not torch.cuda.is_available():
        torch.set_num_threads(1)
    os.environ["REWINDLAB_WORKERS"] = "1"  # this process is one of many already
    try:
        Store(root).ensure(plan(parse(value))[key], Progress())
    except Exception as error:
        return jobs.in_words(error)
    return ""
