"""Ready-made sweeps: the questions people ask about a defence, as points around one experiment. Free of torch.

Each preset is a function of the experiment a person has at hand and a number of seeds. From the experiment come data,
model, recipes and, of its CWRF, the share r, scope, base and fine-tuning; what else makes up CWRF is the paper's unless
the preset varies it, so that the labels of the points are true whatever the experiment is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from pydantic import ValidationError

from core.config import BadInput, explain
from core.defence import CWRF, Finetune, FineTuning, FromScratch, nothing, objective_of
from core.experiment import Experiment
from core.sweeps.sweep import Label, Sweep, SweepPoint


class Rival(NamedTuple):
    """A training objective as presets use it."""

    settings: dict[str, Any]
    strength: str
    """The field that trades accuracy for privacy."""
    strengths: tuple[float, ...]
    """From weak to strong; the middle one is what presets use where they ask for one strength and the experiment's own
    objective is another. It need not be the field's default."""


RIVALS: dict[str, Rival] = {
    "RelaxLoss": Rival({"kind": "relaxloss", "variant": "flatten-all"}, "alpha", (0.2, 0.5, 1.0)),
    "RelaxLoss as published": Rival({"kind": "relaxloss", "variant": "official"}, "alpha", (0.2, 0.5, 1.0)),
    "HAMP": Rival({"kind": "hamp", "test_time": True}, "gamma", (0.5, 0.8, 0.95)),
    "HAMP's training alone": Rival({"kind": "hamp"}, "gamma", (0.5, 0.8, 0.95)),
    "CCL": Rival({"kind": "ccl"}, "alpha", (0.75, 0.5, 0.25)),
    "CRL": Rival({"kind": "crl"}, "alpha", (0.2, 0.5, 1.0)),
    "PAST": Rival({"kind": "past"}, "lam", (0.005, 0.01, 0.02)),
    "label smoothing": Rival({"kind": "label_smoothing"}, "smoothing", (0.05, 0.1, 0.3)),
    "confidence penalty": Rival({"kind": "confidence_penalty"}, "penalty", (0.05, 0.1, 0.5)),
    "adversarial regularisation": Rival({"kind": "adversarial"}, "lam", (1.0, 3.0, 6.0)),
    "distillation": Rival({"kind": "distillation"}, "temperature", (1.0, 4.0, 10.0)),
    "DP-SGD": Rival({"kind": "dpsgd"}, "target_epsilon", (1000.0, 100.0, 8.0)),
}
"""Objectives by the name their line carries. Where the field's defaults suit a data set better, edit the sweep."""

FRACTIONS = (0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.3, 0.5)
LAMBDAS = (0.1, 0.3, 0.5, 0.7, 0.9)
LEFT_OUT = "epochs left out"
"""What the strength of early stopping is, as a share of all."""
CE = {"kind": "ce"}
PAPER = {"mode": "A3", "selection": "pve", "rewind_to": "initial", "rounds": 1}
"""CWRF as published, where a preset does not vary it."""
MODES = {"A3": "A3: CWRF", "A2": "A2: only the rewound weights are tuned", "A1": "A1: the weights are removed"}


def ablation(experiment: Experiment, seeds: int = 1) -> Sweep:
    objective = objective_of(experiment.defence or CWRF()).model_dump(mode="json")
    tuned = _tuned(experiment, objective)
    other, words = (
        ("pve", "the scoring run") if _own(experiment).base == "trained" else ("trained", "the trained model")
    )
    points = [
        *(_point(_rewound(experiment, mode=mode, finetune=tuned), method=told) for mode, told in MODES.items()),
        _point(_rewound(experiment, finetune=tuned, base=other), method=f"A3 from {words}"),
        # the base of the rewind is often the scoring run: the same start with nothing rewound tells its part
        _point(
            _rewound(experiment, finetune=tuned, **nothing(_own(experiment))), method="fine-tuning of A3's base alone"
        ),
        _point({"defence": {"kind": "fine-tuning", "finetune": tuned}}, method="fine-tuning alone, nothing rewound"),
        _point({"defence": _scratch(objective)}, method="the objective from scratch"),
    ]
    return _sweep("ablation", experiment, points, seeds)


def fraction(experiment: Experiment, seeds: int = 1) -> Sweep:
    points = [_point(_rewound(experiment, fraction=r), method="CWRF", strength=r) for r in FRACTIONS]
    return _sweep("fraction", experiment, points, seeds)


def lam(experiment: Experiment, seeds: int = 1) -> Sweep:
    points = [
        _point({**_rewound(experiment), "importance.lam": value}, method="CWRF", strength=value) for value in LAMBDAS
    ]
    return _sweep("lambda", experiment, points, seeds)


def modes(experiment: Experiment, seeds: int = 1) -> Sweep:
    points = [
        _point(
            _with(experiment, name, "cwrf", mode=mode),
            method=f"{mode}, {name}",
            mode=mode,
            objective=name,
        )
        for name in ("cross-entropy", *_rivals(experiment))
        if _enough(experiment, name, "cwrf")
        for mode in ("A1", "A2", "A3")
    ]
    return _sweep("modes", experiment, points, seeds)


def defences(experiment: Experiment, seeds: int = 1) -> Sweep:
    points = [
        _point(_with(experiment, name, kind), method=words.format(name), how=how, objective=name)
        for name in ("cross-entropy", *_rivals(experiment))
        for kind, how, words in HOW
        if (name, kind) != ("cross-entropy", "scratch")  # that is the model before
        and _enough(experiment, name, kind)
    ]
    stopped = "early stopping"
    points.append(
        _point(_stopped(experiment, 0.5), method=f"{stopped}, half the epochs", how="from scratch", objective=stopped)
    )
    if _tuning_epochs(experiment) > 1:  # of a single epoch there is no half
        points += [
            _point(_stopped(experiment, 0.5, kind), method=words.format(stopped), how=how, objective=stopped)
            for kind, how, words in HOW
            if kind != "scratch"
        ]
    return _sweep("defences", experiment, points, seeds)


def curves(experiment: Experiment, seeds: int = 1) -> Sweep:
    points = [
        _point(
            _with(experiment, name, kind, strength),
            method=words.format(name),
            strength=strength,
            field=rival.strength,
            how=how,
            objective=name,
        )
        for name, rival in _rivals(experiment).items()
        for kind, how, words in HOW
        if _enough(experiment, name, kind)
        for strength in rival.strengths
    ]
    points += [
        _point(
            _stopped(experiment, share), method="early stopping", strength=1 - share, field=LEFT_OUT, how="from scratch"
        )
        for share in (0.75, 0.5, 0.25)
    ]
    own = objective_of(_own(experiment))
    for r in FRACTIONS[::3]:
        at: dict[str, str | float] = {"strength": r, "field": "defence.fraction"}
        points.append(_point(_with(experiment, "cross-entropy", "cwrf", fraction=r), method="CWRF alone", **at))
        if own.kind != CE["kind"]:  # "CWRF + …" alone may be a line along the objective's strength
            points.append(_point(_rewound(experiment, fraction=r), method=f"CWRF + {own.title}, along r", **at))
    return _sweep("curves", experiment, points, seeds)


def selection(experiment: Experiment, seeds: int = 1) -> Sweep:
    rules = {
        "PVE": "pve",
        "learnability": "learnability",
        "magnitude": "magnitude",
        "random": "random",
        "PAST γ": "past",
    }
    points = [_point(_rewound(experiment, selection=rule), method=name, rule=name) for name, rule in rules.items()]
    # from the same weights: the trained model would change two things at once
    points.append(_point(_rewound(experiment, **nothing(_own(experiment))), method="nothing rewound", rule="nothing"))
    return _sweep("selection", experiment, points, seeds)


def location(experiment: Experiment, seeds: int = 1) -> Sweep:
    places = {"initial values": "initial", "an early epoch": "early", "fresh values": "fresh"}
    points = [_point(_rewound(experiment, rewind_to=to), method=name, place=name) for name, to in places.items()]
    return _sweep("location", experiment, points, seeds)


def rounds(experiment: Experiment, seeds: int = 1) -> Sweep:
    points = [
        _point({**_rewound(experiment, rounds=number), "onion": True}, method="CWRF", strength=number)
        for number in (1, 2, 3)
    ]
    return _sweep("rounds", experiment, points, seeds)


@dataclass(frozen=True)
class Preset:
    """A ready-made sweep and the question it answers."""

    title: str
    question: str
    make: Callable[[Experiment, int], Sweep]
    axis: str = ""
    """What `strength` is, where the sweep has one line along a field."""


PRESETS: dict[str, Preset] = {
    "ablation": Preset("What the rewind adds", "Is it the rewind, the freezing, or the objective?", ablation),
    "fraction": Preset("Sensitivity to r", "How much should be rewound?", fraction, "fraction r"),
    "lambda": Preset("Sensitivity to λ", "How much does the weighting inside PVE matter?", lam, "λ of PVE"),
    "defences": Preset("Every defence", "Which defence, from scratch, by fine-tuning or after a rewind?", defences),
    "curves": Preset("Every defence at three strengths", "What does each defence cost at each strength?", curves),
    "modes": Preset("A1, A2 and A3 under every objective", "Does rewind and freeze win under all of them?", modes),
    "selection": Preset("Which weights", "Does the choice of weights matter, at the same r?", selection),
    "location": Preset("Location or value", "Does it matter what the weights are rewound to?", location),
    "rounds": Preset("Rounds of rewinding", "Does a second round help?", rounds, "rounds"),
}
"""By name, in the order a page shows them."""


def ready(name: str, experiment: Experiment, seeds: int) -> Sweep:
    """A preset around an experiment. Raises BadInput for too many points or seeds."""
    try:
        return PRESETS[name].make(experiment, seeds)
    except ValidationError as error:
        raise BadInput(explain(error, Sweep)) from error


HOW: tuple[tuple[str, str, str], ...] = (
    ("scratch", "from scratch", "{}"),
    ("fine-tuning", "fine-tuning", "{}, fine-tuned"),
    ("control", "CWRF's base fine-tuned", "{}, CWRF's base fine-tuned"),
    ("cwrf", "CWRF", "CWRF + {}"),
)
"""Kind, way and method of the ways to use an objective. CWRF usually starts from the scoring run and fine-tuning from
the trained model; the control starts where CWRF starts and rewinds nothing."""


def _sweep(name: str, experiment: Experiment, points: Sequence[SweepPoint], seeds: int) -> Sweep:
    base = experiment.model_dump(mode="json")
    return Sweep(name=PRESETS[name].title, base=base, points=tuple(points), seeds=seeds)


def _point(changes: dict[str, Any], **label: str | float) -> SweepPoint:
    named: Label = dict(label)
    return SweepPoint(label=named, changes=changes)


def _rivals(experiment: Experiment) -> dict[str, Rival]:
    """Those the model can be trained with: weights somebody brings keep their batch norm, so not with DP-SGD."""
    fixed = experiment.weights is not None and getattr(experiment.model, "norm", "") == "batch"
    return {name: rival for name, rival in RIVALS.items() if not (fixed and name == "DP-SGD")}


def _enough(experiment: Experiment, name: str, kind: str) -> bool:
    """Whether an objective used in this way gets to work: adversarial regularisation begins with a plain epoch."""
    epochs = experiment.train.epochs if kind == "scratch" else _tuning_epochs(experiment)
    return name != "adversarial regularisation" or epochs != 1


def _own(experiment: Experiment) -> CWRF:
    """The experiment's own CWRF, or the default one."""
    return experiment.defence if isinstance(experiment.defence, CWRF) else CWRF()


def _rewound(experiment: Experiment, **changes: Any) -> dict[str, Any]:
    """The paper's CWRF with the experiment's settings and these fields changed."""
    return {"defence": _own(experiment).model_dump(mode="json") | PAPER | changes}


def _with(
    experiment: Experiment, name: str, kind: str, strength: float | None = None, **changes: Any
) -> dict[str, Any]:
    """Changes that use an objective from scratch, for fine-tuning alone or after a rewind; the middle strength unless
    given. Epochs and learning rate of a fine-tuning stay those of the experiment."""
    objective: dict[str, Any] = CE
    if name in RIVALS:
        rival = RIVALS[name]
        objective = {**rival.settings, rival.strength: strength or rival.strengths[len(rival.strengths) // 2]}
        own = objective_of(experiment.defence).model_dump(mode="json") if experiment.defence else {}
        if strength is None and own.get("kind") == rival.settings["kind"] and own[rival.strength] is not None:
            objective[rival.strength] = own[rival.strength]  # tuned for these data already
    # whole dumps: nothing of the experiment's own objective may stay in one rival and not in another
    objective = FineTuning.model_validate({"finetune": {"objective": objective}}).finetune.objective.model_dump()
    tuned = _tuned(experiment, objective)
    if kind == "scratch":
        if name == "PAST":  # it is made to follow on normal training, here on half of it
            objective |= {"plain_epochs": experiment.train.epochs // 2}
        out: dict[str, Any] = {"defence": _scratch(objective)}
    elif kind == "fine-tuning":
        out = {"defence": {"kind": "fine-tuning", "finetune": tuned}}
    else:
        out = _rewound(
            experiment, finetune=tuned, **(nothing(_own(experiment)) if kind == "control" else {}), **changes
        )
    # DP-SGD cannot train batch norm: its line has a baseline of its own
    private = name == "DP-SGD" and getattr(experiment.model, "norm", "") == "batch"
    return {**({"model.norm": "group"} if private else {}), **out}


def _tuned(experiment: Experiment, objective: dict[str, Any]) -> dict[str, Any]:
    """Fine-tuning with this objective, for as long as the experiment's own and never stopped early."""
    own = getattr(experiment.defence, "finetune", None)
    # said, because what is not is taken from the experiment
    return {"objective": objective, "stop_after": None} | ({"epochs": own.epochs, "lr": own.lr} if own else {})


def _tuning_epochs(experiment: Experiment) -> int:
    """Epochs of the fine-tunings around this experiment."""
    return getattr(experiment.defence, "finetune", Finetune()).epochs


def _stopped(experiment: Experiment, share: float, kind: str = "scratch") -> dict[str, Any]:
    """Changes that use cross-entropy in this way and stop after this share of its epochs."""
    changes = _with(experiment, "cross-entropy", kind)
    whole = experiment.train.epochs if kind == "scratch" else _tuning_epochs(experiment)
    epochs = max(1, round(share * whole))
    last = changes["defence"] if kind == "scratch" else changes["defence"]["finetune"]
    last["stop_after"] = epochs if epochs < whole else None
    return changes


def _scratch(objective: dict[str, Any]) -> dict[str, Any]:
    return FromScratch.model_validate({"objective": objective}).model_dump(mode="json")
