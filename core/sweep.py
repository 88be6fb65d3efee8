"""Sweeps: many experiments as one job that share every stage they can. Free of torch until one runs.

A sweep is a base experiment and a grid over any of its fields, or a list of points. Its result is nothing but the
results of its experiments, so finished points show at once, survive everything, and are shared with other sweeps.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from pydantic import Field, ValidationError, model_validator

from core.config import BadInput, Config, explain, merge, nested
from core.defence import named
from core.experiment import Experiment, parse, plan, run
from core.machine import workers
from core.progress import Progress, Row
from core.store import Stage, Store, digest, read_json, write_json

if TYPE_CHECKING:
    from core.metrics import Interval

MOST = 1000
"""Points of one sweep; more are refused before anything runs."""

Label = dict[str, str | int | float]

SAID = ("defence", "defence.kind", "defence.mode", "defence.objective.kind", "defence.finetune.objective.kind")
"""Fields that the name of a point's method tells already."""


class SweepPoint(Config):
    """One experiment of a sweep: what it is called and how it differs from the base."""

    label: Label = Field(default_factory=dict)
    """Free words; `method` names its line in a picture and `strength` its place along it."""
    changes: dict[str, Any] = Field(default_factory=dict)
    """Dotted field of the experiment → value."""


class Sweep(Config):
    """A base experiment and what is varied: every combination of `vary`, at each of `points`, for each seed."""

    name: str = Field("sweep", min_length=1, max_length=80)
    """What the sweep is called in lists."""
    base: dict[str, Any] = Field(default_factory=dict)
    """The experiment that is varied, as in an experiment's JSON file; empty: the demo."""
    vary: dict[str, tuple[Any, ...]] = Field(default_factory=dict)
    """Dotted field of the experiment → values; every combination is one point. Values of `seed` are repeats of all
    points, like `seeds`, but these very ones."""
    points: tuple[SweepPoint, ...] = ()
    """Single points beside or instead of a grid."""
    seeds: int = Field(1, ge=1, le=100)
    """Repeats of every point, each with its own split, initial weights and batch order: seeds from the base's on."""

    @model_validator(mode="after")
    def _bounded(self) -> Sweep:
        total = self.size
        if total > MOST:
            raise ValueError(f"this sweep has {total} points, at most {MOST} are taken: vary fewer values or seeds")
        empty = [name for name, values in self.vary.items() if not values]
        if empty:
            raise ValueError(f"vary.{empty[0]} has no values")
        if "seed" in self.vary and self.seeds > 1:
            raise ValueError("give either seeds or values of vary.seed, not both")
        return self

    @property
    def repeats(self) -> int:
        """Experiments per point, each with another seed."""
        return len(self.vary.get("seed", ())) or self.seeds

    @property
    def size(self) -> int:
        """How many experiments it comes to, seeds included."""
        return math.prod(len(values) for values in self.vary.values()) * max(1, len(self.points)) * self.seeds

    @property
    def hash(self) -> str:
        """Its name among the jobs; the same sweep has the same hash."""
        return digest({"sweep": self.model_dump(mode="json")})


@dataclass(frozen=True)
class Point:
    """One experiment of a sweep with its place in it."""

    label: Label
    seed: int
    experiment: Experiment


def values_of(text: str) -> list[Any]:
    """The values in "0.1, 0.2", "A2,A3", "none,5" or "[8,16],[16]": numbers, true, false and lists as in JSON."""
    try:
        return json.loads(f"[{text}]")
    except ValueError:
        return [_value(part.strip()) for part in text.split(",") if part.strip()]


def _value(text: str) -> Any:
    try:
        return None if text.lower() == "none" else json.loads(text)
    except ValueError:
        return text


def parse_sweep(value: dict[str, Any]) -> Sweep:
    """A validated sweep, its points too; BadInput with one line that names the point and the field."""
    try:
        sweep = Sweep.model_validate(value)
    except ValidationError as error:
        raise BadInput(explain(error, Sweep)) from error
    points(sweep)
    return sweep


def points(sweep: Sweep) -> list[Point]:
    """The experiments in order, seeds innermost, so that whole points finish early. Raises BadInput for a bad one."""
    base = merge(Experiment().model_dump(mode="json"), sweep.base)
    grid = {name: values for name, values in sweep.vary.items() if name != "seed"}
    found: list[Point] = []
    for point in sweep.points or (SweepPoint(),):
        for values in itertools.product(*grid.values()):
            varied = dict(zip(grid, values, strict=True))
            # each change on its own: a later one may concern a kind that an earlier one chose
            value = base
            for change in (point.changes | varied).items():
                value = merge(value, nested(dict([change])))
            words = ", ".join(f"{name} {given}" for name, given in (point.label | varied).items())
            try:
                first = parse(value)
            except BadInput as error:
                raise BadInput(f"point {words or len(found)}: {error}") from error
            told = {name: given for name, given in varied.items() if len(grid[name]) > 1}  # one tells nothing
            label = point.label | _label(told if point.label else point.changes | told, point.label, first.defence)
            for seed in sweep.vary.get("seed", range(first.seed, first.seed + sweep.seeds)):
                found.append(Point(label, seed, _seeded(first, seed)))
    return found


def _seeded(experiment: Experiment, seed: Any) -> Experiment:
    """The experiment with another seed, and another split as far from its own."""
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**31:
        raise BadInput(f"seed: give whole numbers from 0 up (got {seed!r})")
    split = (experiment.data.seed + seed - experiment.seed) % 2**31
    return experiment.model_copy(update={"seed": seed, "data": experiment.data.model_copy(update={"seed": split})})


def _label(varied: dict[str, Any], given: Label, defence: Any) -> Label:
    """Method and strength of a grid point: the first field that takes numbers runs along the line."""
    numbers = [name for name, v in varied.items() if isinstance(v, int | float) and not isinstance(v, bool)]
    words = [f"{name} {value}" for name, value in varied.items() if name not in (*numbers[:1], *SAID)]
    label: Label = {name: v if isinstance(v, str | int | float) else str(v) for name, v in varied.items()}
    label["method"] = ", ".join([str(given.get("method", named(defence))), *words])
    return label | ({"strength": float(varied[numbers[0]])} if numbers else {})


def run_sweep(sweep: Sweep, store: Store, progress: Progress) -> None:
    """Compute what is missing: first what several points share, then point by point, over all processes.

    What one point cannot do does not stop the others: a BadInput at the end names the first failure and their number.
    """
    from core.parallel import fan_out

    every = points(sweep)
    remember(store, sweep)
    progress.plan(["shared", "points"])
    _shared(every, store, progress)
    tasks = [(str(store.root), point.experiment.model_dump(mode="json")) for point in every]
    tasks = [task for task, point in zip(tasks, every, strict=True) if not finished(store, point.experiment)]
    done, total, failed = len(every) - len(tasks), len(every), []
    progress.stage("points", "running")
    progress.update("points", done, total, f"{done} of {total}")
    cluster = os.environ.get("REWINDLAB_CLUSTER", "")
    for error in fan_out(_point, tasks, cluster=cluster, workers=workers(), check=progress.check):
        done += 1
        failed += [error] if error else []
        progress.update("points", done, total, f"{done} of {total}" + (f", {len(failed)} failed" if failed else ""))
    if failed:
        raise BadInput(f"{len(failed)} of {total} points failed, the others are kept; the first: {failed[0]}")
    progress.stage("points", "done")


def finished(store: Store, experiment: Experiment) -> bool:
    """Whether the experiment's summary is in the store."""
    return (store.root / f"experiment-{experiment.hash}" / "stage.json").is_file()


def _shared(every: list[Point], store: Store, progress: Progress) -> None:
    """Compute the stages that several points need, each once, as many at a time as there are processes."""
    from core.parallel import fan_out

    plans = [(point.experiment, plan(point.experiment)) for point in every if not finished(store, point.experiment)]
    uses = Counter(folder for _, stages in plans for folder in {stage.folder for stage in stages.values()})
    todo: dict[str, tuple[Stage, Experiment, str]] = {}
    for experiment, stages in plans:
        for key, stage in stages.items():
            if uses[stage.folder] > 1 and store.find(stage) is None:
                todo.setdefault(stage.folder, (stage, experiment, key))
    progress.stage("shared", "running")
    total = len(todo)
    while todo:
        ready = [item for item in todo.values() if not any(i.folder in todo for i in item[0].inputs.values())]
        # reference models fan out over all processes by themselves
        alone = [item for item in ready if item[0].kind == "shadows"]
        tasks = [
            (str(store.root), e.model_dump(mode="json"), key) for stage, e, key in ready if stage.kind != "shadows"
        ]
        cluster = os.environ.get("REWINDLAB_CLUSTER", "")
        count = total - len(todo)

        def told(count: int = count) -> str:
            return f"{count} of {total} results that several experiments share"

        progress.update("shared", count, total, told())
        for _ in fan_out(_stage, tasks, cluster=cluster, workers=workers(), check=progress.check):
            count += 1
            progress.update("shared", count, total, told(count))
        for stage, _, _ in alone:
            with contextlib.suppress(BadInput):
                store.ensure(stage, _Within(progress, count, total, told(count)))
            count += 1
        for stage, _, _ in ready:
            todo.pop(stage.folder)
        # what cannot be computed is told by the points that need it; the others go on
        lost = {stage.folder for stage, _, _ in ready if store.find(stage) is None}
        while lost:
            todo = {name: item for name, item in todo.items() if name not in lost}
            lost = {n for n, item in todo.items() if any(_missing(i, todo, store) for i in item[0].inputs.values())}
    progress.stage("shared", "done")


def _missing(stage: Stage, todo: dict[str, Any], store: Store) -> bool:
    """Neither there nor to come."""
    return stage.folder not in todo and store.find(stage) is None


class _Within(Progress):
    """Of one shared stage: what it says goes behind what the sweep says; it stops when the sweep is told to."""

    def __init__(self, outer: Progress, done: int, total: int, told: str) -> None:
        super().__init__()
        self.check = outer.check  # type: ignore[method-assign]
        self._say = lambda text: outer.update("shared", done, total, f"{told}; {text}")

    def update(self, key: str, done: int, total: int, text: str = "", row: Row | None = None) -> None:
        self._say(text)


def _point(root: str, value: dict[str, Any]) -> str:
    """Run one experiment in a worker process; "" or what went wrong in words."""
    return _in_worker(root, lambda store: run(parse(value), store))


def _stage(root: str, value: dict[str, Any], key: str) -> str:
    """Compute one stage in a worker process; "" or what went wrong in words."""
    return _in_worker(root, lambda store: store.ensure(plan(parse(value))[key], Progress()))


def _in_worker(root: str, work: Callable[[Store], Any]) -> str:
    import torch

    from core.jobs import in_words

    if not (Path(root) / "format.json").is_file():
        return f"a worker does not see the store {root}: put it on a file system that all of them share"
    if not torch.cuda.is_available():
        torch.set_num_threads(1)
    os.environ["REWINDLAB_WORKERS"] = "1"  # this process is one of many already
    try:
        work(Store(root))
    except Exception as error:
        return in_words(error)
    return ""


def results(store: Store, sweep: Sweep, attack: str = "") -> pd.DataFrame:
    """One row per finished point and seed, and one per seed for the model before any defence (method "none").

    attack: which one's results; empty: the first of the audit with a result. Columns: method, strength (nan: none),
    seed, the labels; with _low and _high test_accuracy, auc, tpr_01 and tpr_001 (TPR at 1 % and 0.1 % FPR) and epsilon
    (empirical lower bound); train_accuracy, train_loss and test_loss (nats); dp_epsilon and dp_delta (guarantee of
    DP-SGD, nan: none); experiment (hash), audit (folder), adaptive (what the attack's reference models know).
    """
    rows: list[dict[str, Any]] = []
    undefended: dict[str, str] = {}
    plainly: dict[str, str] = {}
    for point in points(sweep):
        folder = store.root / f"experiment-{point.experiment.hash}"
        if not (folder / "stage.json").is_file():
            continue
        summary, stages = read_json(folder / "summary.json"), read_json(folder / "stages.json")
        name = attack or next(iter(summary["before"]["attacks"]), point.experiment.audit.attacks[0])
        common = {"seed": point.seed, "experiment": point.experiment.hash}
        if stages["before"] not in undefended:
            undefended[stages["before"]] = _baseline(point, plainly)
            base = {"method": undefended[stages["before"]], "strength": math.nan}
            rows.append({**base, **common, **_measured(store, stages["before"], summary["before"], name)})
        side = "after" if "after" in stages else "before"
        label = {"strength": math.nan, **point.label}
        rows.append({**label, **common, **_measured(store, stages[side], summary[side], name)})
    return pd.DataFrame(rows, columns=None if rows else ["method", "strength", "seed", "test_accuracy", "auc"])


def bootstrapped(store: Store, rows: pd.DataFrame, attack: str, resamples: int = 300) -> dict[tuple, Interval]:
    """AUC of each (method, strength or None) in `results`, with a percentile interval over models, then records.

    Needs every seed's scores of that attack; points without them are left out.
    """
    from core.metrics import auc, bootstrap

    found = {}
    for (method, strength), part in rows.groupby(["method", "strength"], sort=False, dropna=False):
        tables = [pd.read_parquet(store.root / audit / "records.parquet") for audit in part["audit"]]
        if all(f"score_{attack}" in table for table in tables):
            found[method, None if math.isnan(strength) else strength] = bootstrap(
                statistic=lambda scores, is_member: auc(scores=scores, is_member=is_member).value,
                scores=[table[f"score_{attack}"].to_numpy() for table in tables],
                is_member=[table["member"].to_numpy(bool) for table in tables],
                resamples=resamples,
            )
    return found


def _baseline(point: Point, known: dict[str, str]) -> str:
    """The undefended model's name: "none", and where points train differently, what tells the others from the first."""
    e = point.experiment
    signature = digest([e.model.model_dump(mode="json"), e.train.model_dump(mode="json"), _seedless(e.data)])
    if signature not in known:
        norm = "group norm" if getattr(e.model, "norm", "batch") == "group" else ""
        fields = ("model.", "train.", "data.")
        words = [norm] * bool(norm) + [f"{k} {v}" for k, v in point.label.items() if k.startswith(fields)]
        name = "none" if not known and not words else f"none, {', '.join(words) or len(known) + 1}"
        known[signature] = name
    return known[signature]


def _seedless(data: Any) -> dict[str, Any]:
    return {name: value for name, value in data.model_dump(mode="json").items() if name != "seed"}


def _measured(store: Store, audit: str, side: dict[str, Any], attack: str) -> dict[str, Any]:
    table = pd.read_parquet(store.root / audit / "attacks.parquet")
    found = table[(table["attack"] == attack) & (table["group"] == "all")].to_dict("records")
    row = found[0] if found else {"adaptive": ""}  # not every point needs to have run it
    out = {f"test_accuracy{end}": side[f"test_accuracy{end}"] for end in ("", "_low", "_high")}
    out |= {"train_accuracy": side["train_accuracy"], "train_loss": side["train_loss"], "test_loss": side["test_loss"]}
    for name in ("auc", "tpr_01", "tpr_001", "epsilon"):
        out |= {f"{name}{end}": row.get(f"{name}{end}", math.nan) for end in ("", "_low", "_high")}
    out["audit"] = audit
    out["adaptive"] = row["adaptive"]
    privacy = side.get("privacy") or {}
    # after a fine-tuning ε says nothing of the model as a whole
    covers = privacy.get("covers") == "training"
    out["dp_epsilon"] = privacy["epsilon"] if covers and privacy["epsilon"] is not None else math.nan
    out["dp_delta"] = privacy["delta"] if covers else math.nan
    return out


def submit(store: Store, sweep: Sweep) -> str:
    """Start the sweep as a job, or find it running; its key."""
    from core import jobs

    remember(store, sweep)
    jobs.submit(store, sweep.model_dump(mode="json"), sweep.hash, "sweep")
    return sweep.hash


def remember(store: Store, sweep: Sweep) -> None:
    """Note in the store that the sweep was started, and which experiments are there only because of it."""
    file = store.root / "sweeps" / f"{sweep.hash}.json"
    file.parent.mkdir(exist_ok=True)
    new = [point.experiment for point in points(sweep)]
    hashes = read_json(file)["experiments"] if file.is_file() else [e.hash for e in new if not finished(store, e)]
    write_json(file, {"sweep": sweep.model_dump(mode="json"), "experiments": hashes})


def sweeps(store: Store) -> list[tuple[str, Sweep]]:
    """All sweeps ever started on this store, the latest first; those this version cannot read are left out."""
    found = []
    for file, noted in _noted(store):
        try:
            found.append((file.stem, Sweep.model_validate(noted["sweep"])))
        except ValidationError:
            continue
    return found


def in_sweeps(store: Store) -> set[str]:
    """Hashes of the experiments that are there only as points of a sweep: lists of experiments put them last."""
    return {key for _, noted in _noted(store) for key in noted["experiments"]}


def _noted(store: Store) -> list[tuple[Path, dict[str, Any]]]:
    files = sorted((store.root / "sweeps").glob("*.json"), key=lambda file: file.stat().st_mtime, reverse=True)
    return [(file, read_json(file)) for file in files]
