"""What a sweep is: a base experiment and a grid over any of its fields, or a list of points. Free of torch."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import dataclass
from typing import Any

from pydantic import Field, ValidationError, model_validator

from core.config import BadInput, Config, explain, merge, nested
from core.defence import named
from core.experiment import Experiment, parse
from core.store import digest

MOST = 1000
"""Points of one sweep; more are refused before anything runs."""

Label = dict[str, str | int | float]

SAID = ("defence", "defence.kind", "defence.mode", "defence.objective.kind", "defence.finetune.objective.kind")
"""Fields that the name of a point's method tells already."""


class SweepPoint(Config):
    """One experiment of a sweep: what it is called and how it differs from the base."""

    label: Label = Field(default_factory=dict)
    """Free words; `method` names its line in a picture, `strength` its place along it, and `field` what that is a value
    of."""
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
        if self.size > MOST:
            raise ValueError(f"this sweep has {self.size} points, at most {MOST} are taken: vary fewer values or seeds")
        if empty := [name for name, values in self.vary.items() if not values]:
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
    """Method, strength and field of a grid point: the first field that takes numbers runs along the line."""
    numbers = [name for name, v in varied.items() if isinstance(v, int | float) and not isinstance(v, bool)]
    words = [f"{name} {value}" for name, value in varied.items() if name not in (*numbers[:1], *SAID)]
    label: Label = {name: v if isinstance(v, str | int | float) else str(v) for name, v in varied.items()}
    label["method"] = ", ".join([str(given.get("method", named(defence))), *words])
    return label | ({"strength": float(varied[numbers[0]]), "field": numbers[0]} if numbers else {})
