"""Ready-made sweeps compare like with like."""

from __future__ import annotations

import pytest

from core.defence import objective_of, stop_of
from core.experiment import Experiment, parse
from core.sweeps.presets import FRACTIONS, PRESETS
from core.sweeps.sweep import Sweep, points


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize(
    "base",
    [
        {},
        {"defence": None},
        {"defence": {"kind": "scratch"}},
        {"model": {"kind": "mlp"}},
        {"defence": {"mode": "A2", "base": "trained"}},
        {"defence": {"selection": "random", "rewind_to": "fresh"}},
        {"defence": {"rounds": 2}},
        {"defence": {"finetune": {"epochs": 1}}},
        {"defence": {"finetune": {"epochs": 0}}},
    ],
)
def test_every_preset_is_valid_around_any_experiment(name, base):
    sweep = PRESETS[name].make(parse(base), 2)
    found = points(Sweep.model_validate(sweep.model_dump(mode="json")))
    assert len(found) == sweep.size and all(p.label.get("method") for p in found)
    hashes = [p.experiment.hash for p in found]
    assert len(set(hashes)) == len(hashes)


def test_the_sweep_over_r_has_twelve_points():
    found = points(PRESETS["fraction"].make(Experiment(), 1))
    assert [p.experiment.defence.fraction for p in found] == list(FRACTIONS) and len(found) == 12


def test_presets_compare_like_with_like():
    """Nothing of the experiment's own objective stays in one rival and not in another, and no schedule is cut short."""
    own = {"kind": "hamp", "entropy_weight": 0.03, "gamma": 0.5, "test_time": True}
    sweep = PRESETS["defences"].make(parse({"defence": {"finetune": {"objective": own}}}), 1)
    hamp = [objective_of(p.experiment.defence) for p in points(sweep) if p.label.get("objective") == "HAMP"]
    assert len(hamp) == 4 and len({h.model_dump_json() for h in hamp}) == 1
    stopped = PRESETS["defences"].make(parse({"defence": {"kind": "scratch", "stop_after": 1}}), 1)
    cut = [p.label["method"] for p in points(stopped) if getattr(p.experiment.defence, "stop_after", None)]
    assert cut == ["early stopping, half the epochs"]


def test_presets_call_things_what_they_are_whatever_the_experiment_is():
    base = parse({"defence": {"mode": "A2", "selection": "random", "rewind_to": "fresh"}})
    for name in ("ablation", "defences", "selection", "fraction"):
        for p in points(PRESETS[name].make(base, 1)):
            d, method = p.experiment.defence, str(p.label["method"])
            if d.kind == "cwrf":
                assert (
                    d.rewind_to == "initial" and d.rounds == 1 and d.mode == (method[:2] if method[1] in "12" else "A3")
                )
                assert (d.fraction < 1e-9) == ("base" in method or method == "nothing rewound")
                assert d.selection == (
                    "pve"
                    if name != "selection" or p.label["rule"] == "nothing"
                    else p.label["rule"].lower().replace("past γ", "past")
                )
    trained = [
        str(p.label["method"]) for p in points(PRESETS["ablation"].make(parse({"defence": {"base": "trained"}}), 1))
    ]
    assert "A3 from the scoring run" in trained
    past = [
        p.experiment.defence for p in points(PRESETS["defences"].make(base, 1)) if p.label.get("objective") == "PAST"
    ]
    assert [objective_of(d).plain_epochs for d in past] == [10, 0, 0, 0]


def test_weights_somebody_brings_are_never_trained_with_what_does_not_fit_them():
    given = {"weights": {"trained": "x"}, "defence": {"base": "trained"}}
    objectives = {p.label.get("objective") for p in PRESETS["defences"].make(parse(given), 1).points}
    assert "DP-SGD" not in objectives and "CRL" in objectives


def test_the_lines_along_r_are_named_by_their_objective():
    def along(objective: dict) -> dict[str, set[str]]:
        sweep = PRESETS["curves"].make(parse({"defence": {"fraction": 0.07, "finetune": {"objective": objective}}}), 1)
        found: dict[str, set[str]] = {}
        for p in points(sweep):
            d = p.experiment.defence
            if d.kind == "cwrf" and d.fraction == p.label["strength"]:
                found.setdefault(str(p.label["method"]), set()).add(objective_of(d).kind)
        return found

    assert along({"kind": "relaxloss"}) == {"CWRF alone": {"ce"}, "CWRF + RelaxLoss, along r": {"relaxloss"}}
    assert along({"kind": "ce"}) == {"CWRF alone": {"ce"}}


def test_a_method_of_a_preset_is_one_line():
    """Two points of one method at one strength would be averaged as if they were seeds."""
    for name, preset in PRESETS.items():
        at = [(p.label["method"], p.label.get("strength")) for p in points(preset.make(Experiment(), 1))]
        assert len(set(at)) == len(at), name


def test_early_stopping_is_used_in_every_way():
    def stopped(base: dict) -> dict[str, tuple]:
        found = points(PRESETS["defences"].make(parse(base), 1))
        return {
            str(p.label["how"]): (
                p.label["method"],
                objective_of(p.experiment.defence).kind,
                stop_of(p.experiment.defence),
            )
            for p in found
            if p.label["objective"] == "early stopping"
        }

    tuned = {"defence": {"finetune": {"epochs": 6, "stop_after": 5}}}
    assert stopped(tuned) == {
        "from scratch": ("early stopping, half the epochs", "ce", 10),
        "fine-tuning": ("early stopping, fine-tuned", "ce", 3),
        "CWRF's base fine-tuned": ("early stopping, CWRF's base fine-tuned", "ce", 3),
        "CWRF": ("CWRF + early stopping", "ce", 3),
    }
    # the experiment's own stop is not cut into what the others do
    others = points(PRESETS["defences"].make(parse(tuned), 1))
    assert not any(stop_of(p.experiment.defence) for p in others if p.label["objective"] != "early stopping")
    assert list(stopped({"defence": {"finetune": {"epochs": 1}}})) == ["from scratch"]
