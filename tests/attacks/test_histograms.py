import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from core.attacks.histograms import score_histograms


def test_two_values_get_two_bins_of_their_own():
    found = score_histograms(
        scores={"before": np.array([1, 1, 0, 1.0]), "after": np.array([0, 1, 0, 0.0])},
        is_member=np.array([True, True, True, False]),
    )
    before, after = found.counts["before"], found.counts["after"]
    assert before["score_low"].tolist() == [-0.5, 0.5] and before["score_high"].tolist() == [0.5, 1.5]
    assert before["members"].tolist() == [1, 2] and before["non_members"].tolist() == [0, 1]
    assert after["members"].tolist() == [2, 1] and after["non_members"].tolist() == [1, 0]
    assert (found.log, found.beyond, found.fullest) == (False, 0, 2)


def test_one_value_is_one_bin():
    found = score_histograms(scores={"before": np.full(3, 7.0)}, is_member=np.array([True, False, False]))
    assert found.counts["before"].to_dict("list") == {
        "score_low": [6.5],
        "score_high": [7.5],
        "members": [1],
        "non_members": [2],
    }


def test_losses_over_many_powers_of_ten_are_binned_by_their_logarithm():
    scores = -np.geomspace(1e-6, 10, 801)
    found = score_histograms(scores={"before": scores}, is_member=np.arange(801) % 2 == 0, bins=7)
    table = found.counts["before"]
    assert found.log
    # −10 is drawn at −1, −10⁻⁶ at 6; even in the logarithm means even counts
    assert table["score_low"].iloc[0] == pytest.approx(-1 + 7 * 0.005) and table["score_high"].iloc[-1] < 6
    total = table["members"] + table["non_members"]
    assert total.sum() == 801 and total.max() - total.min() <= 5
    plain = score_histograms(scores={"before": scores}, is_member=np.arange(801) % 2 == 0, bins=7, log=False)
    assert not plain.log and plain.counts["before"]["members"].iloc[-1] > 200


def test_scores_of_both_signs_stay_linear():
    scores = np.concatenate([-np.geomspace(1e-6, 10, 100), [1.0]])
    assert not score_histograms(scores={"before": scores}, is_member=np.ones(101, bool)).log


def test_a_few_outliers_go_to_the_end_bins():
    scores = np.concatenate([np.linspace(0, 1, 998), [1e9, -np.inf]])
    found = score_histograms(scores={"before": scores}, is_member=np.arange(1000) < 998, bins=10)
    table = found.counts["before"]
    assert table["score_high"].iloc[-1] < 1.1 and found.beyond >= 2
    assert table["non_members"].iloc[0] == 1 and table["non_members"].iloc[-1] == 1
    assert table["members"].sum() == 998


def test_a_loss_of_exactly_zero_is_the_surest_member():
    scores = np.append(-np.geomspace(1e-6, 10, 500), 0.0)
    found = score_histograms(scores={"before": scores}, is_member=np.arange(501) == 500)
    assert found.log and found.counts["before"]["members"].iloc[-1] == 1


def test_records_without_a_score_stay_out():
    scores = np.array([np.nan, 1.0, 2.0, np.nan])
    found = score_histograms(scores={"before": scores}, is_member=np.array([True, True, False, False]))
    assert found.counts["before"][["members", "non_members"]].to_numpy().sum() == 2
    nothing = score_histograms(scores={"before": np.full(2, np.nan)}, is_member=np.array([True, False]))
    assert nothing.fullest == 0


@given(
    arrays(np.float64, st.integers(1, 200), elements=st.floats(-1e6, 1e6) | st.sampled_from([-np.inf, np.inf, 0.0])),
    st.integers(1, 30),
)
def test_every_record_is_counted_once_and_equal_scores_share_a_bin(scores, bins):
    member = np.arange(len(scores)) % 3 == 0
    found = score_histograms(scores={"before": scores, "after": -scores}, is_member=member, bins=bins)
    for table in found.counts.values():
        assert table["members"].sum() == member.sum() and table["non_members"].sum() == (~member).sum()
        assert (table["score_high"] >= table["score_low"]).all()
        assert len(table) <= max(bins, 1)
    before = found.counts["before"]
    twice = score_histograms(scores={"before": np.tile(scores, 2)}, is_member=np.tile(member, 2), bins=bins)
    assert twice.counts["before"]["members"].sum() == 2 * before["members"].sum()
    best = scores.max()
    tied = score_histograms(scores={"before": scores}, is_member=scores == best, bins=bins).counts["before"]
    assert (tied["members"] > 0).sum() == 1
