"""The figures that compare defences and those of the onion question: the house rules, and what they say."""

import re

import numpy as np
import pandas as pd
import pytest

from core import figures
from core.figures.methods import METHODS, RISKS, axis_range, guarantee, inks
from core.figures.palette import AFTER, BEFORE, CONTEXT, MEMBER, NON_MEMBER


def points(*rows) -> pd.DataFrame:
    """Rows (method, strength, accuracy, auc, front) with intervals."""
    table = pd.DataFrame(rows, columns=["method", "strength", "test_accuracy", "auc", "front"])
    for name, half in (("test_accuracy", 0.02), ("auc", 0.01)):
        table = table.assign(**{f"{name}_low": table[name] - half, f"{name}_high": table[name] + half})
    return table.assign(
        label=[f"r = {value}" for value in table["strength"]],
        seeds=5,
        experiment=[f"hash{number}" for number in range(len(table))],
        tpr_01=table["auc"] / 10,
        epsilon=[4.0, *[np.nan] * (len(table) - 1)],
    )


POINTS = points(
    ("CWRF", 0.01, 0.85, 0.62, False),
    ("CWRF", 0.1, 0.86, 0.58, True),
    ("CWRF", 0.5, 0.60, 0.53, True),
    ("RelaxLoss", np.nan, 0.84, 0.59, False),
)
BEFORE_ROWS = points(("before", np.nan, 0.84, 0.64, False))
CELLS = pd.DataFrame(
    [("A1", "ce", 0.11, 0.51), ("A3", "ce", 0.84, 0.60), ("A3", "relaxloss", 0.85, 0.58)],
    columns=["mode", "objective", "test_accuracy", "auc"],
)
CHANGES = pd.DataFrame(
    [
        ("PVE", 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 5),
        ("random", -0.02, -0.03, -0.01, 0.03, 0.01, 0.05, 5),
        ("magnitude", 0.01, -0.01, 0.03, -0.002, -0.02, 0.016, 5),
    ],
    columns=[
        "method",
        "test_accuracy",
        "test_accuracy_low",
        "test_accuracy_high",
        "auc",
        "auc_low",
        "auc_high",
        "seeds",
    ],
)
SHARES = pd.concat(
    pd.DataFrame({"region": ["stem", "block 1", "head"], "when": when, "share": share})
    for when, share in (("before", [0.6, 0.3, 0.1]), ("after", [0.45, 0.35, 0.2]), ("control", [0.58, 0.32, 0.1]))
)
OVERLAP = pd.DataFrame(
    [(r, r**power, when) for when, power in (("after", 0.8), ("control", 0.1)) for r in (0.001, 0.01, 0.1, 1.0)],
    columns=["fraction", "overlap", "when"],
)

DRAWN = {
    "trade-off": lambda: figures.trade_off(POINTS, before=BEFORE_ROWS),
    "trade-off in TPR": lambda: figures.trade_off(POINTS, risk="tpr_01"),
    "trade-off in ε": lambda: figures.trade_off(POINTS, risk="epsilon"),
    "along r": lambda: figures.sensitivity(POINTS, title="fraction r", log=True, before=BEFORE_ROWS),
    "along λ": lambda: figures.sensitivity(POINTS, title="λ", risk="tpr_01"),
    "matrix": lambda: figures.mode_matrix(CELLS, rows="mode", columns="objective"),
    "against": lambda: figures.against(CHANGES, reference="PVE"),
    "shift": lambda: figures.share_shift(SHARES),
    "overlap": lambda: figures.overlap_curve(OVERLAP),
}
EMPTY = {
    "trade-off": lambda: figures.trade_off(POINTS[:0]),
    "unknown risk": lambda: figures.trade_off(POINTS[1:], risk="epsilon"),
    "no strength": lambda: figures.sensitivity(POINTS[3:], title="r"),
    "matrix": lambda: figures.mode_matrix(CELLS[:0], rows="mode", columns="objective"),
    "only the reference": lambda: figures.against(CHANGES[:1], reference="PVE"),
    "shift": lambda: figures.share_shift(SHARES[:0]),
    "overlap": lambda: figures.overlap_curve(OVERLAP[:0]),
}


def named(fig, name):
    return next(trace for trace in fig.data if trace.name == name)


@pytest.mark.parametrize("name", DRAWN)
def test_the_house_rules(name: str) -> None:
    fig = DRAWN[name]()
    assert [axis for axis in fig.select_xaxes() if axis.title.text]
    assert all(axis.title.text for axis in fig.select_yaxes())
    caption = figures.caption_of(fig)
    assert caption.endswith(".") and 20 < len(caption) < 300 and "nan" not in caption
    assert fig.layout.paper_bgcolor == "rgba(0,0,0,0)" and fig.layout.font.color is None
    text = fig.to_json()
    assert not re.search(r"#0000(0[1-9]|[1-3]\d|40)", text)  # placeholders of Streamlit's theme
    assert len(text) < 200_000 and not any(trace.type.endswith("gl") for trace in fig.data)


@pytest.mark.parametrize("name", EMPTY)
def test_an_empty_table_says_what_is_missing(name: str) -> None:
    fig = EMPTY[name]()
    assert len(fig.data) == 0
    assert fig.layout.annotations[0].text == figures.caption_of(fig) != ""


def test_methods_differ_without_colour_and_leave_fixed_meanings_alone() -> None:
    names = [f"method {number}" for number in range(9)]
    drawn = inks([], names)
    first = list(drawn.values())[: len(METHODS)]
    assert len({ink.symbol for ink in first}) == len({ink.color for ink in first}) == len(METHODS)
    assert not {ink.color for ink in first} & {MEMBER.color, NON_MEMBER.color, BEFORE.color}
    assert list(drawn.values())[len(METHODS) :] == [CONTEXT, CONTEXT]
    assert inks(["method 8"], names) == dict.fromkeys(names, CONTEXT) | {"method 8": METHODS[0]}


def test_grey_methods_stand_once_in_the_legend() -> None:
    fig = figures.trade_off(POINTS.assign(method=["a", "b", "c", "d"]), methods=["c"])
    assert [trace.name for trace in fig.data if trace.showlegend is not False] == ["Pareto front", "other methods", "c"]
    assert sum(trace.name == "other methods" for trace in fig.data) == 3


def test_colours_follow_the_order_given_not_what_has_finished() -> None:
    fig = figures.trade_off(POINTS[3:], methods=["CWRF", "RelaxLoss"])
    assert named(fig, "RelaxLoss").marker.color == METHODS[1].color
    assert named(figures.trade_off(POINTS), "CWRF").marker.color == AFTER.color


def test_a_point_has_both_intervals_and_knows_its_experiment() -> None:
    fig = figures.trade_off(POINTS, before=BEFORE_ROWS)
    line = named(fig, "CWRF")
    assert (list(line.x), list(line.y)) == ([0.62, 0.58, 0.53], [0.85, 0.86, 0.60])
    assert [key for (key,) in line.customdata] == ["hash0", "hash1", "hash2"]
    assert line.error_x.array == pytest.approx([0.01] * 3) and line.error_y.arrayminus == pytest.approx([0.02] * 3)
    assert line.text[1].startswith(
        "CWRF, r = 0.1<br>test accuracy 86.0\u00a0% [84.0, 88.0]<br>attack AUC .580 [.570, .590]"
    )
    assert line.unselected.marker.opacity == 1  # a click must not fade the rest
    assert named(fig, "before").marker.color == BEFORE.color
    assert " 2 of 4 points lie on the grey front." in figures.caption_of(fig)
    assert [note.text for note in fig.layout.annotations][:2] == ["r = 0.01", "r = 0.5"]  # the ends of the only line
    assert len(fig.layout.shapes) == 1 and fig.layout.shapes[0].x0 == 0.5  # chance is near enough to be drawn


def test_only_what_is_in_colour_has_whiskers_and_of_many_they_are_pale() -> None:
    fig = figures.trade_off(POINTS, methods=["RelaxLoss"], before=BEFORE_ROWS)
    grey, own = named(fig, "other methods"), named(fig, "RelaxLoss")
    assert grey.error_x.array is None and grey.mode == "markers" and grey.marker.size < own.marker.size
    assert own.error_x.color.endswith("0.6)")
    many = pd.concat([POINTS[:3].assign(method=name) for name in "abc"])
    assert named(figures.trade_off(many), "a").error_x.color.endswith("0.25)")
    several = pd.concat([BEFORE_ROWS, BEFORE_ROWS.assign(method="before, group norm")])
    marks = [trace.marker.symbol for trace in figures.trade_off(POINTS, before=several).data[1:3]]
    assert marks == ["circle-open", "square-open"]


def test_the_front_is_a_staircase_from_the_safest_to_the_most_accurate() -> None:
    front = named(figures.trade_off(POINTS), "Pareto front")
    assert (list(front.x), list(front.y), front.line.shape) == ([0.53, 0.58], [0.60, 0.86], "hv")
    with_before = figures.trade_off(POINTS, before=BEFORE_ROWS.assign(test_accuracy=0.9, front=True))
    assert list(named(with_before, "Pareto front").x) == [0.53, 0.58, 0.64]


def test_one_seed_with_a_huge_interval_does_not_flatten_the_figure() -> None:
    wide = POINTS.assign(auc_low=-3.0, auc_high=4.0)
    low, high = figures.trade_off(wide).layout.xaxis.range
    assert 0.4 < low < 0.53 and 0.62 < high < 0.75


def test_whiskers_of_the_usual_length_are_seen_whole() -> None:
    apart = pd.DataFrame({"test_accuracy": [0.76, 0.81]})
    apart = apart.assign(
        test_accuracy_low=apart["test_accuracy"] - 0.049, test_accuracy_high=apart["test_accuracy"] + 0.049
    )
    low, high = axis_range(apart, "test_accuracy", 0.0, 1.0)
    assert 0.70 < low < 0.711 and 0.859 < high < 0.87


def test_sensitivity_draws_bands_and_leaves_out_what_has_no_strength() -> None:
    fig = figures.sensitivity(POINTS, title="fraction r", log=True, before=BEFORE_ROWS)
    lines = [trace for trace in fig.data if trace.mode == "lines+markers"]
    assert [list(trace.x) for trace in lines] == [[0.01, 0.1, 0.5]] * 2
    assert list(lines[0].y) == [0.85, 0.86, 0.60] and list(lines[1].y) == [0.62, 0.58, 0.53]
    bands = [trace for trace in fig.data if trace.fill == "toself"]
    assert list(bands[1].y) == pytest.approx([0.63, 0.59, 0.54, 0.52, 0.57, 0.61])
    assert fig.layout.xaxis.type == "log" and list(fig.layout.xaxis2.ticktext) == ["1\u00a0%", "10\u00a0%"]
    assert [shape.y0 for shape in fig.layout.shapes] == [0.84, 0.64]
    assert "between 60.0\u00a0% and 86.0\u00a0%, attack AUC between .530 and .620" in figures.caption_of(fig)


def test_matrix_writes_accuracy_over_risk_and_leaves_holes() -> None:
    fig = figures.mode_matrix(CELLS, rows="mode", columns="objective")
    (heat,) = fig.data
    assert np.asarray(heat.text).tolist() == [
        ["11.0\u00a0%<br>.510", ""],
        ["84.0\u00a0%<br>.600", "85.0\u00a0%<br>.580"],
    ]
    assert np.isnan(np.asarray(heat.z, float)[0, 1])
    assert list(fig.layout.yaxis.ticktext) == ["A1", "A3"]
    assert "The lowest: A1, ce, .510 at an accuracy of 11.0\u00a0%." in figures.caption_of(fig)


def test_against_draws_paired_differences_and_says_which_are_settled() -> None:
    fig = figures.against(CHANGES, reference="PVE", methods=["PVE", "random", "magnitude"])
    first, *_, last = fig.data
    assert list(first.x) == [-2.0] and first.error_x.array == pytest.approx([1.0])  # points, not fractions
    assert list(last.x) == [-0.002] and last.marker.color == METHODS[2].color
    assert first.text[0] == "random − PVE: −2.0 points [−3.0 points, −1.0 points], 5 pairs"
    caption = figures.caption_of(fig)
    assert "Riskier than PVE: random. Not settled, for the whisker of the risk crosses zero: 1 other." in caption
    assert [(shape.x0, shape.xref) for shape in fig.layout.shapes] == [(0, "x"), (0, "x2")]  # the lines it speaks of
    one = figures.against(CHANGES.assign(seeds=1), reference="PVE")
    assert "one seed" in figures.caption_of(one)


def test_shares_shift_names_what_moved_beside_the_control() -> None:
    fig = figures.share_shift(SHARES)
    assert list(named(fig, "after").x) == [0.45, 0.35, 0.2]
    assert list(fig.layout.yaxis.ticktext) == ["stem", "block 1", "head"]
    caption = figures.caption_of(fig)
    assert "The share of stem changed most, by −15.0 points; without a rewind (control) it changes by −2.0" in caption
    assert len(figures.share_shift(SHARES[:3]).data) == 1


def test_overlap_reads_the_smallest_fraction() -> None:
    fig = figures.overlap_curve(OVERLAP, control="second scoring")
    assert [trace.name for trace in fig.data] == ["after the rewind", "second scoring", "by chance"]
    assert list(named(fig, "by chance").y) == pytest.approx(list(named(fig, "by chance").x))
    assert "of the top 0.1\u00a0%, 0.4\u00a0% stayed" in figures.caption_of(fig)  # .001 ** .8 = .00398


@pytest.mark.parametrize("risk", ["auc", "tpr_01", "tpr_001", "epsilon"])
def test_every_figure_of_a_risk_names_the_attack_and_what_it_knows(risk: str) -> None:
    attack = "LiRA, online (adaptive)"
    cells = CELLS.assign(tpr_01=0.1, tpr_001=0.1, epsilon=1.0)
    rate = {
        f"{name}{end}": v for name in ("tpr_01", "tpr_001") for end, v in (("", 0.1), ("_low", 0.0), ("_high", 0.2))
    }
    changes = CHANGES.assign(**rate, epsilon=1.0, epsilon_low=0.0, epsilon_high=2.0)
    points = POINTS.assign(tpr_001=0.1)
    drawn = [
        figures.trade_off(points, risk=risk, attack=attack),
        figures.sensitivity(points, title="r", risk=risk, attack=attack),
        figures.mode_matrix(cells, rows="mode", columns="objective", risk=risk, attack=attack),
        figures.against(changes, reference="PVE", risk=risk, attack=attack),
    ]
    assert all(attack in fig.to_json() for fig in drawn)
    assert "LiRA" not in figures.trade_off(POINTS.assign(dp_epsilon=1.0), risk="dp_epsilon", attack=attack).to_json()


def test_a_guarantee_has_its_delta_and_one_too_weak_is_called_vacuous() -> None:
    assert guarantee({"dp_epsilon": 7.96, "dp_delta": 1 / 240}) == "7.96, δ = 0.004"
    ends = {"dp_epsilon_low": 3.9, "dp_epsilon_high": 4.1}
    assert guarantee({"dp_epsilon": 4.0, "dp_delta": 1e-5, **ends}) == "4 [3.9, 4.1], δ = 1e-05"
    assert guarantee({"dp_epsilon": 1001.0, "dp_delta": 1e-5}) == "> 1000: vacuous, δ = 1e-05"
    assert guarantee({"dp_epsilon": np.nan, "dp_delta": np.nan}) == "–"
    tuned = {"dp_epsilon": np.nan, "dp_delta": np.nan, "tuning_epsilon": 7.96, "tuning_delta": 1 / 240}
    assert guarantee(tuned) == "7.96, δ = 0.004 (the fine-tuning alone)"
    assert guarantee(tuned | {"tuning_epsilon": np.nan}) == "–"
    assert RISKS["dp_epsilon"].write(1001.0) == "> 1000: vacuous" and RISKS["epsilon"].write(1001.0) == "1e+03"
