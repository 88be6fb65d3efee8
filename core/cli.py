"""The command line: one flag per config field, read off the config models, so that it can never fall behind them."""

from __future__ import annotations

import argparse
import difflib
import json
import math
import os
import sys
import typing
from pathlib import Path
from typing import Any, NoReturn

from pydantic.fields import FieldInfo

from core.config import BadInput, Config, fields, merge, nested
from core.experiment import Experiment, plan, run, summary
from core.experiment import parse as validated
from core.figures import numbers as n
from core.jobs import in_words, run_job
from core.progress import Cancelled, Progress, TerminalProgress
from core.report import not_run, sweep_text, text
from core.store import Store, read_json
from core.sweeps.presets import PRESETS, ready
from core.sweeps.results import bootstrapped, results
from core.sweeps.run import run_sweep
from core.sweeps.sweep import Sweep, parse_sweep, points, values_of

EXAMPLE = "python -m core run --data.members 400 --defence.fraction 0.01 --defence.finetune.objective.kind ce"
SWEEP_EXAMPLE = "python -m core sweep --vary defence.fraction=0.01,0.03,0.1 --seeds 3"


class Parser(argparse.ArgumentParser):
    """argparse whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message} (see {self.prog} --help)\n")


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 done, 1 failed, 2 bad input (one line on stderr), 130 cancelled."""
    parser = _parser()
    given, unknown = parser.parse_known_args(arguments)
    if unknown:
        parser.error(_unknown(unknown[0].partition("=")[0], [f"--{k[1:]}" for k in vars(given) if k.startswith(".")]))
    if given.cluster:
        os.environ["REWINDLAB_CLUSTER"] = given.cluster
    try:
        store = Store(given.store)
        sweeping = given.command == "sweep"
        if given.job:
            # a config that cannot be read must fail as a job does, where the page can see it
            return run_job(store, given.job, lambda progress: _work(given, store, progress))
        if sweeping:
            return _sweep(sweep_of(given), store, given.json, given.bootstrap)
        return _run(parse(given), store, given.json)
    except BadInput as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except Exception as error:  # no memory, a full disk, a damaged result
        print(f"error: {in_words(error)}", file=sys.stderr)
        return 1


def parse(given: argparse.Namespace) -> Experiment:
    """The experiment from defaults, then the JSON file, then the flags. Raises BadInput."""
    return validated(_complete(merge(_read(given.config) if given.config else {}, _flags(given))))


def _complete(own: dict[str, Any]) -> dict[str, Any]:
    """The defaults with `own` laid over them. A model that somebody brings is kept outside the rewound weights, and
    its records have the labels it was trained with."""
    value = Experiment().model_dump(mode="json")
    if own.get("weights"):
        value = merge(value, {"defence": {"base": "trained"}, "data": {"label_noise": 0.0}})
    return merge(value, own)


def sweep_of(given: argparse.Namespace) -> Sweep:
    """The sweep from its JSON file or a preset, with the flags laid over its base. Raises BadInput."""
    value: dict[str, Any] = _read(given.config) if given.config else {}
    flags = _flags(given)
    if given.preset:
        if given.preset not in PRESETS:
            raise BadInput(f"there is no preset {given.preset}: choose one of {', '.join(PRESETS)}")
        base = _complete(merge(value.get("base") or {}, flags))
        value = ready(given.preset, validated(base), 1 if given.seeds is None else given.seeds).model_dump(mode="json")
    else:
        value["base"] = _complete(merge(value.get("base") or {}, flags))
    for item in given.vary:
        name, equals, values = item.partition("=")
        if not equals or not values:
            raise BadInput(f"--vary {item}: write FIELD=VALUE,VALUE, as in defence.fraction=0.01,0.05")
        value.setdefault("vary", {})[name] = values_of(values)
    if given.seeds is not None:
        value["seeds"] = given.seeds
    if not (value.get("vary") or value.get("points")):
        raise BadInput("nothing varies: give --preset, --vary FIELD=A,B or a JSON file with vary or points")
    return parse_sweep(value)


def _flags(given: argparse.Namespace) -> dict[str, Any]:
    """The experiment's fields given as flags, nested as in its JSON."""
    flags = {k[1:]: v for k, v in vars(given).items() if k.startswith(".") and v is not None}
    return nested({k: None if v is NONE else v for k, v in flags.items()})


def _work(given: argparse.Namespace, store: Store, progress: Progress) -> None:
    """What a job does in its own process."""
    if given.command == "sweep":
        run_sweep(sweep_of(given), store, progress)
    else:
        run(parse(given), store, progress)


def _parser() -> argparse.ArgumentParser:
    top = Parser(prog="python -m core", description="RewindLab's engine on the command line.")
    commands = top.add_subparsers(required=True, metavar="command", dest="command")
    one = commands.add_parser(
        "run",
        help="run one experiment",
        description=f"Train, score, rewind, fine-tune and attack. Without flags: the demo. Example: {EXAMPLE}",
        allow_abbrev=False,
    )
    one.add_argument("config", nargs="?", type=Path, help="JSON file of an experiment; flags override it")
    many = commands.add_parser(
        "sweep",
        help="run many experiments that share what they can",
        description=f"A grid over any fields of an experiment, or a ready-made sweep. Example: {SWEEP_EXAMPLE}",
        allow_abbrev=False,
    )
    many.add_argument("config", nargs="?", type=Path, help="JSON file of a sweep; flags override its base experiment")
    many.add_argument("--preset", metavar="…", help=f"a ready-made sweep: {', '.join(PRESETS)}")
    many.add_argument("--vary", metavar="FIELD=A,B,…", action="append", default=[], help="a field and its values")
    many.add_argument("--bootstrap", action="store_true", help="also bootstrap the AUC, models first, then records")
    many.add_argument("--seeds", type=int, metavar="…", help="repeats of every point with other seeds")
    for command in (one, many):
        command.add_argument("--store", help="folder of results (default: REWINDLAB_STORE, else runs/)")
        command.add_argument("--json", action="store_true", help="print the result as JSON on the last line")
        command.add_argument("--cluster", help="address of a Dask scheduler for reference models and points of a sweep")
        command.add_argument("--job", help=argparse.SUPPRESS)
        _experiment_flags(command)
    return top


def _experiment_flags(command: argparse.ArgumentParser) -> None:
    for path, kind, field, default in fields(Experiment):
        where = f"[{kind}] " if kind else ""
        shown = (
            ""
            if default is None or isinstance(default, Config) or repr(default) == "PydanticUndefined"
            else f" (default: {default})"
        )
        text_ = f"{where}{field.description or ''}{shown}".replace("%", "%%")
        command.add_argument(f"--{path}", dest=f".{path}", metavar="…", type=_reader(field), help=text_)


def _unknown(flag: str, flags: list[str]) -> str:
    close = difflib.get_close_matches(flag, flags, 1)
    return f"there is no flag {flag}" + (f", did you mean {close[0]}?" if close else "")


def _reader(field: FieldInfo):
    """How a flag's text becomes the value that the config then checks: lists by comma, JSON objects, `none`."""
    kinds = (field.annotation, *typing.get_args(field.annotation))
    origins = {typing.get_origin(kind) for kind in kinds}

    def read(value: str) -> Any:
        if type(None) in kinds and value.lower() in ("none", "null", ""):
            return NONE
        if tuple in origins:
            return [part.strip() for part in value.split(",") if part.strip()]
        if dict in origins:
            return json.loads(value)
        return value

    read.__name__ = "JSON object" if dict in origins else "value"
    return read


NONE = object()
"""Stands for an explicit `none` on the command line, where None means that the flag was not given."""


def _before(experiments: list[Experiment], store: Store) -> None:
    """What is worth knowing before the work starts, for a person at a terminal: whether weights that were brought fit
    their data, which attacks (of the first experiment) cannot run, and how long it will take. Raises BadInput where the
    weights do not fit."""
    told = []
    if experiments[0].weights:
        from core.brought import check  # imports torch

        plan(experiments[0])  # says which file is missing
        told += check(experiments[0])
    if sys.stderr.isatty():
        from core.attacks.ahead import cannot_run
        from core.sweeps.cost import sweep_estimate

        told += not_run(cannot_run(experiments[0]))
        cost = sweep_estimate(experiments, store)
        known = cost.seconds is not None and cost.parts
        told += [f"About {n.seconds(cost.seconds)} of training ({cost.basis})."] if known else []
        print("\n".join(told), file=sys.stderr)


def _run(experiment: Experiment, store: Store, as_json: bool) -> int:
    _before([experiment], store)
    progress = TerminalProgress()
    try:
        found = run(experiment, store, progress)
    except (KeyboardInterrupt, Cancelled):
        progress.close()
        print("cancelled; finished stages are kept", file=sys.stderr)
        return 130
    finally:
        progress.close()
    print(text(found))
    if as_json:
        print(json.dumps(_finite(found), allow_nan=False))
    return 0


def _sweep(sweep: Sweep, store: Store, as_json: bool, resample: bool) -> int:
    every = [point.experiment for point in points(sweep)]
    _before(every, store)
    progress = TerminalProgress()
    try:
        run_sweep(sweep, store, progress)
    except (KeyboardInterrupt, Cancelled):
        progress.close()
        print("cancelled; finished points are kept", file=sys.stderr)
        return 130
    finally:
        progress.close()
    rows = results(store, sweep)
    ran = list(summary(store, every[0].hash)["before"]["attacks"])
    print(sweep_text(rows, bootstrapped=bootstrapped(store, rows, ran[0]) if resample and ran else None))
    if as_json:
        print(json.dumps(_finite(rows.to_dict("records")), allow_nan=False))
    return 0


def _read(path: Path) -> dict[str, Any]:
    try:
        value = read_json(path)
    except FileNotFoundError:
        raise BadInput(f"there is no file {path}") from None
    except (ValueError, OSError, RecursionError) as error:
        raise BadInput(f"{path} is not a readable JSON file: {error}") from None
    if not isinstance(value, dict):
        raise BadInput(f"{path} must hold a JSON object with the experiment's fields")
    return value


def _finite(value: Any) -> Any:
    """The same with null for numbers that JSON does not have, such as the correlation of a constant."""
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
