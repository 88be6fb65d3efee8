"""What single figures draw, against values worked out by hand."""

import json
import math

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import figures
from core.figures import layout
from core.figures.palette import AFTER, BEFORE, MEMBER, NON_MEMBER


def named(fig, name):
    return next(trace for trace in fig.data if trace.name == name)


ROC = pd.DataFrame(
    {
        "fpr": [0, 0, 0.5, 1] * 2,
        "tpr": [0, 0.25, 0.75, 1] * 2,
        "attack": "Loss",
        "when": ["before"] * 4 + ["after"] * 4,
    }
)


def test_roc_colours_mean_before_and_after_and_dashes_repeat_it() -> None:
    fig = figures.roc_figure(ROC, False, 500)
    before, after = named(fig, "Loss, before"), named(fig, "Loss, after")
    assert (before.line.color, after.line.color) == (BEFORE.color, AFTER.color)
    assert before.line.dash != after.line.dash
    several = figures.roc_figure(pd.concat([ROC, ROC.assign(attack="LiRA")]), False, 500)
    assert named(several, "Loss, before").line.dash != named(several, "LiRA, before").line.dash
    assert named(several, "LiRA, before").line.color == named(several, "Loss, before").line.color


@pytest.mark.parametrize("log", [False, True])
def test_roc_shades_what_fewer_than_ten_false_positives_decide(log: bool) -> None:
    (band,) = figures.roc_figure(ROC, log, 500).layout.shapes
    assert band.x1 == pytest.approx(0.02)
    (band,) = figures.roc_figure(ROC, log, 4).layout.shapes  # nothing at all can be resolved
    assert band.x1 == 1


def test_log_roc_leaves_out_zero_rates_and_starts_at_half_a_record() -> None:
    trace = named(figures.roc_figure(ROC, True, 500), "Loss, before")
    assert list(trace.x) == [0.001, 0.5, 1]
    assert list(trace.y) == [0.25, 0.75, 1]


@pytest.mark.parametrize("log", [False, True])
def test_roc_is_drawn_in_steps_and_never_interpolated(log: bool) -> None:
    several = pd.concat([ROC, ROC.assign(attack="LiRA")])
    drawn = [trace for trace in figures.roc_figure(several, log, 500).data if trace.name]
    # hold, then rise: at an FPR between two points the rate is that of the point on the left
    assert len(drawn) == 4 and {trace.line.shape for trace in drawn} == {"hv"}


def test_log_roc_starts_where_the_first_member_is_found() -> None:
    late = pd.DataFrame({"fpr": [0, 0.1, 0.2, 1], "tpr": [0, 0, 0.5, 1], "attack": "Loss", "when": "before"})
    trace = named(figures.roc_figure(late, True, 500), "Loss, before")
    assert (trace.x[0], trace.y[0]) == (0.2, 0.5)  # and not at half a record, with no rise on the way


def test_before_after_writes_values_and_keeps_intervals() -> None:
    rows = pd.DataFrame(
        [("AUC", "before", 0.64, 0.60, 0.69, "AUC"), ("AUC", "after", 0.572, np.nan, np.nan, "AUC")],
        columns=["label", "when", "value", "low", "high", "unit"],
    )
    fig = figures.before_after(rows)
    assert list(fig.layout.yaxis.ticktext) == ["before  <b>.640</b>", "after  <b>.572</b>"]
    dots = [trace for trace in fig.data if trace.mode == "markers"]
    assert dots[0].error_x.array == pytest.approx([0.05])
    assert dots[0].error_x.arrayminus == pytest.approx([0.04])
    assert dots[1].error_x.array is None
    low, high = fig.layout.xaxis.range
    assert low < 0.572 and high > 0.69


def test_training_curves_tell_members_without_colour_too() -> None:
    log = pd.DataFrame(
        {
            "epoch": [2, 1, 1, 2],
            "split": ["members", "members", "non-members", "non-members"],
            "loss": [0.5, 1.0, 1.5, 1.25],
            "accuracy": [0.9, 0.5, 0.4, 0.6],
        }
    )
    fig = figures.curves(log, "loss")
    members, others = named(fig, "members"), named(fig, "non-members")
    assert list(members.y) == [1.0, 0.5]  # by epoch, not by row
    assert (members.line.color, others.line.color) == (MEMBER.color, NON_MEMBER.color)
    assert members.line.dash != others.line.dash
    assert members.marker.symbol != others.marker.symbol
    assert "0.75 nats" in figures.caption_of(fig)
    assert "−30.0 points" in figures.caption_of(figures.curves(log, "accuracy"))


def test_training_curves_show_what_is_minimised_where_it_is_not_cross_entropy() -> None:
    rows = [(e, split, 1 / e, 0.5, -e) for e in (2, 1) for split in ("members", "non_members")]
    log = pd.DataFrame(rows, columns=["epoch", "split", "loss", "accuracy", "objective"])
    fig = figures.curves(log, "loss", "HAMP")
    objective = named(fig, "HAMP")
    assert (list(objective.x), list(objective.y)) == ([1, 2], [-1, -2])
    assert objective.line.dash == "dot" and objective.line.width < named(fig, "members").line.width
    assert "Dotted: what training minimises, HAMP." in figures.caption_of(fig)
    # plain cross-entropy, another value, and the first rows of runs that do not report it
    without = [
        figures.curves(log, "loss"),
        figures.curves(log, "accuracy", "HAMP"),
        figures.curves(log.drop(columns="objective"), "loss", "HAMP"),
    ]
    assert all([trace.name for trace in fig.data] == ["members", "non-members"] for fig in without)


def test_score_histogram_colours_only_what_lies_right_of_the_threshold() -> None:
    counts = pd.DataFrame({"layer": "a", "bin_low": [-3, -2, -1], "bin_high": [-2, -1, 0], "count": [90, 9, 1]})
    fig = figures.score_histogram(counts, -1.5)
    tail = fig.data[1]
    assert min(tail.x) == -1.5 and max(tail.x) == 0
    assert max(tail.y) == 9
    assert "1\u00a0%" in figures.caption_of(fig)
    assert len(figures.score_histogram(counts, None).data) == 1
    assert len(figures.score_histogram(counts, 5.0).data) == 1  # nothing is critical


def test_heatmap_reads_shares_and_keeps_the_forward_order() -> None:
    table = pd.DataFrame(
        {"layer": ["z", "z", "a", "a"], "type": "conv", "count": 10, "r": [0.1, 0.01] * 2, "share": [0.5, 0.1, 0, 0.02]}
    )
    (heat,) = figures.critical_share(table).data
    assert list(heat.x) == ["1\u00a0%", "10\u00a0%"]
    assert np.asarray(heat.text).tolist() == [["10", "50"], ["2", "0"]]
    assert np.asarray(heat.z, float)[0] == pytest.approx([-1, math.log10(0.5)])
    fig = figures.critical_share(table)
    assert list(fig.layout.yaxis.ticktext) == ["z", "a"] and fig.layout.yaxis.autorange == "reversed"
    assert "z has most, 50\u00a0%" in figures.caption_of(fig)


def test_density_is_not_transposed() -> None:
    counts = np.zeros((3, 2))
    counts[2, 0] = 100  # high learnability, low vulnerability
    fig = figures.score_density({"x_edges": np.arange(4), "y_edges": np.arange(3), "counts": counts}, 0.941)
    z = np.asarray(fig.data[0].z, float)
    assert z.shape == (2, 3) and z[0, 2] == 2 and np.isnan(z[1, 2])
    assert any("Pearson r = .941" in note.text for note in fig.layout.annotations)
    assert "sample" not in figures.caption_of(fig) + fig.data[0].hovertemplate


def test_a_density_of_a_sample_says_so() -> None:
    grid = {"x_edges": np.arange(3), "y_edges": np.arange(3), "counts": np.ones((2, 2))}
    fig = figures.score_density(grid, 0.5, sample=1_000_000)
    assert "Counted in a sample of 1.0 M weights" in figures.caption_of(fig)
    assert "sampled weights" in fig.data[0].hovertemplate and "sampled" in fig.data[0].colorbar.title.text


def test_concentration_says_what_the_chosen_fraction_holds() -> None:
    curve = pd.DataFrame({"fraction": [0, 0.01, 0.1, 1], "share": [0, 0.25, 0.6, 1], "score": "vulnerability"})
    fig = figures.concentration(curve, 0.01)
    assert figures.caption_of(fig) == "The top 1\u00a0% of weights hold 25\u00a0% of vulnerability."
    assert fig.layout.shapes[0].x0 == 0.01


def test_counts_per_layer() -> None:
    table = pd.DataFrame(
        {"layer": ["a", "b"], "region": "r", "type": "conv", "count": [100, 2000], "rewound": [50, 100]}
    )
    fig = figures.critical_counts(table)
    assert list(fig.data[0].x) == [0.5, 0.05]
    assert list(fig.data[0].text) == ["50 of 100", "100 of 2.0 k"]
    assert figures.caption_of(fig).startswith("150 of 2.1 k weights (7.1\u00a0%)")


def test_weight_image_thins_large_layers_and_marks_the_right_places() -> None:
    matrix = np.zeros((450, 30))
    mask = np.zeros((450, 30), bool)
    mask[3, 7] = mask[4, 7] = True  # row 4 falls out when every third is shown
    fig = figures.weight_image(matrix, mask)
    assert np.asarray(fig.data[0].z).shape == (150, 30)
    assert (list(fig.data[1].x), list(fig.data[1].y)) == ([7], [3])
    assert "One row in 3 is shown." in figures.caption_of(fig)
    conv = figures.weight_image(np.ones((4, 3, 3, 3)), np.zeros((4, 3, 3, 3), bool))
    assert np.asarray(conv.data[0].z).shape == (4, 27)
    assert np.asarray(figures.weight_image(np.ones(5), np.ones(5, bool)).data[0].z).shape == (1, 5)


def test_scatter_draws_every_weight_of_the_sample() -> None:
    sample = pd.DataFrame({"initial": np.arange(300), "trained": 0, "critical": np.arange(300) % 100 == 0})
    fig = figures.initial_vs_trained(sample)
    assert (len(named(fig, "critical").x), len(named(fig, "stay").x)) == (3, 297)


def test_regions_are_in_forward_order_and_chance_is_in_view() -> None:
    table = pd.DataFrame(
        [("stem", 0.7, 0.65, 0.75, w) for w in ("before", "after")]
        + [("head", 0.9, 0.85, 0.95, w) for w in ("before", "after")],
        columns=["region", "auc", "low", "high", "when"],
    )
    fig = figures.risk_by_region(table)
    assert list(fig.layout.yaxis.ticktext) == ["stem", "head"]
    assert fig.layout.yaxis.range[0] > fig.layout.yaxis.range[1]  # the first on top
    assert fig.layout.xaxis.range[0] < 0.5
    assert "head gives most away before the defence (AUC .900 [.850, .950])" in figures.caption_of(fig)
    alone = figures.risk_by_region(table[table["when"] == "before"].drop(columns="when"))
    assert list(alone.data[0].y) == [0, 1]


def test_short_names_stay_apart() -> None:
    assert layout.short("head.linear") == "head.linear"
    assert len(layout.short("encoder.layers.encoder_layer_10.in_proj_weight")) == 18
    alike = ["a" * 10 + "1" + "b" * 20, "a" * 10 + "2" + "b" * 20]
    assert layout.short_all(alike) == alike


@given(st.floats(-1, 1), st.floats(1e-4, 2))
def test_percent_ticks_are_few_inside_and_distinct(low: float, span: float) -> None:
    fig = go.Figure()
    layout.percent_axis(fig, "x", low, low + span, most=6)
    values, labels = fig.layout.xaxis.tickvals, fig.layout.xaxis.ticktext
    assert 1 <= len(values) <= 7
    assert all(low - 1e-6 <= value <= low + span + 1e-6 for value in values)
    assert len(set(labels)) == len(labels)


def test_percent_ticks_by_hand() -> None:
    fig = go.Figure()
    layout.percent_axis(fig, "y", 0, 1, most=5)
    assert list(fig.layout.yaxis.ticktext) == ["0\u00a0%", "25\u00a0%", "50\u00a0%", "75\u00a0%", "100\u00a0%"]
    layout.percent_axis(fig, "y", 0.80, 0.87, most=5)
    assert list(fig.layout.yaxis.ticktext) == ["80\u00a0%", "82\u00a0%", "84\u00a0%", "86\u00a0%"]


def test_a_figure_serialises_with_its_caption() -> None:
    fig = layout.empty("Nothing yet.", x="x", y="y")
    assert json.loads(fig.to_json())["layout"]["meta"]["caption"] == "Nothing yet."
    assert layout.caption_of(go.Figure()) == ""


def test_agreement_says_how_many_where_attacks_scored_different_numbers_of_records() -> None:
    table = pd.DataFrame(
        [("a", "b", 1000, 50, 20.0, 2.5), ("a", "g", 100, 5, 1.0, 0.25), ("b", "g", 100, 5, 2.0, 0.25)],
        columns=["first", "second", "members", "k", "shared", "expected"],
    )
    titles = {"a": "LiRA online (adaptive)", "b": "Loss threshold", "g": "Gradient norm, white box"}
    fig = figures.agreement_heatmap(table, titles)
    told = figures.caption_of(fig)
    assert "5 to 50 most exposed of 100 to 1\u00a0000 members" in told and "would share 5 %" in told
    assert "fewer where one scored only some records" in told
    assert fig.layout.xaxis.ticktext[0] == "LiRA online<br>(adaptive)"
    assert "the 50 most exposed of 1\u00a0000 members two attacks share;" in figures.caption_of(
        figures.agreement_heatmap(table[:1], titles)
    )
