"""Ready-made sweeps compare like with like."""

from __future__ import annotations

import pytest

from core.defence import objective_of
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
