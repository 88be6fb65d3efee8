"""What the points of a sweep are: grids, lists, seeds, and what is refused."""

from __future__ import annotations

import pytest

from core.config import BadInput
from core.sweeps.sweep import MOST, parse_sweep, points, values_of
from tests.conftest import TINY as BASE


def test_a_field_with_one_value_is_not_part_of_a_name():
    sweep = parse_sweep({"base": BASE, "vary": {"train.epochs": [2], "defence.fraction": [0.1, 0.2]}})
    assert [(p.label["method"], p.label["strength"]) for p in points(sweep)] == [
        ("CWRF + RelaxLoss", 0.1),
        ("CWRF + RelaxLoss", 0.2),
    ]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (
            {"vary": {"defence.fraction": [0.1, 2]}},
            r"point defence.fraction 2: defence.fraction: should be less than 1",
        ),
        ({"vary": {"defence.fracton": [0.1]}}, "defence.fracton: there is no such field"),
        ({"vary": {"seed": list(range(MOST + 1))}}, f"has {MOST + 1} points, at most {MOST}"),
        ({"vary": {"seed": []}}, "vary.seed has no values"),
        ({"vary": {"seed": [1]}, "seeds": 0}, "seeds: should be greater"),
        ({"varied": {}}, "varied: there is no such field"),
    ],
)
def test_bad_sweeps_are_refused_before_anything_runs(value, said):
    with pytest.raises(BadInput, match=said):
        parse_sweep(value)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("0.1, 2", [0.1, 2]),
        ("A2,A3", ["A2", "A3"]),
        ("none,5", [None, 5]),
        ("[8,16],[16]", [[8, 16], [16]]),
        ("true", [True]),
    ],
)
def test_values_as_people_type_them(text, values):
    assert values_of(text) == values


def test_a_grid_over_seeds_repeats_the_points_it_does_not_make_lines_of_them():
    varied = points(parse_sweep({"base": BASE, "vary": {"seed": [0, 1], "defence.fraction": [0.1, 0.2]}}))
    repeated = points(parse_sweep({"base": BASE, "vary": {"defence.fraction": [0.1, 0.2]}, "seeds": 2}))
    assert [(p.label, p.seed, p.experiment.hash) for p in varied] == [
        (p.label, p.seed, p.experiment.hash) for p in repeated
    ]
    assert parse_sweep({"base": BASE, "vary": {"seed": [4, 7]}}).repeats == 2
