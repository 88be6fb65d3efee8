import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from core.config import BadInput
from core.metrics import (
    best_epsilon_threshold,
    clopper_pearson,
    empirical_epsilon,
    epsilon_lower_bound,
    one_run_audit,
    one_run_epsilon,
)


def test_bound_by_hand():
    found, alarmed = clopper_pearson(90, 100).low, clopper_pearson(5, 100).high
    expected = max(np.log(found / alarmed), np.log((1 - alarmed) / (1 - found)))
    counts = {"true_positives": 90, "members": 100, "false_positives": 5, "non_members": 100}
    assert epsilon_lower_bound(**counts) == pytest.approx(expected)
    assert epsilon_lower_bound(**counts, delta=0.1) < expected
    assert epsilon_lower_bound(true_positives=50, members=100, false_positives=50, non_members=100) == 0


def test_both_directions_count():
    # few members found but none wrongly: the first ratio; nearly all found at many alarms: the second
    assert epsilon_lower_bound(true_positives=300, members=1000, false_positives=0, non_members=1000) == pytest.approx(
        np.log(clopper_pearson(300, 1000).low / clopper_pearson(0, 1000).high)
    )
    assert epsilon_lower_bound(true_positives=1000, members=1000, false_positives=700, non_members=1000) == (
        pytest.approx(np.log((1 - clopper_pearson(700, 1000).high) / (1 - clopper_pearson(1000, 1000).low)))
    )


def test_randomised_response_is_never_overstated_often():
    """Reports of an exactly ε-DP mechanism: the bound may exceed the true ε in at most 5 % of draws."""
    generator = np.random.default_rng(2)
    truth = 1.0
    honest = np.exp(truth) / (1 + np.exp(truth))
    over = 0
    for _ in range(400):
        k, j = generator.binomial(500, honest), generator.binomial(500, 1 - honest)
        over += epsilon_lower_bound(true_positives=k, members=500, false_positives=j, non_members=500) > truth
    assert over / 400 <= 0.05


def test_from_scores_is_marked_heuristic():
    scores, is_member = np.array([3.0, 2.0, 1.0, 0.0] * 50), np.array([1, 1, 0, 0] * 50, bool)
    found = empirical_epsilon(scores=scores, is_member=is_member, threshold=2.0)
    assert found.heuristic and found.value == pytest.approx(
        epsilon_lower_bound(true_positives=100, members=100, false_positives=0, non_members=100)
    )


@pytest.mark.parametrize(("guesses", "correct", "epsilon"), [(100, 100, 3.49), (1000, 600, 0.30), (100, 50, 0)])
def test_one_run_of_the_methods(guesses, correct, epsilon):
    assert one_run_epsilon(guesses=guesses, correct=correct) == pytest.approx(epsilon, abs=0.005)


@settings(deadline=None)
@given(st.integers(1, 400).flatmap(lambda r: st.tuples(st.just(r), st.integers(0, r))))
def test_one_run_is_the_largest_refuted_epsilon(pair):
    guesses, correct = pair
    epsilon = one_run_epsilon(guesses=guesses, correct=correct)

    def chance(value):
        return binom.sf(correct - 1, guesses, 1 / (1 + np.exp(-value)))

    if epsilon > 0:
        assert chance(epsilon) == pytest.approx(0.05, rel=1e-6)
    else:
        assert chance(0) >= 0.05 * (1 - 1e-9)


def test_delta_lowers_the_bound_and_vanishes_smoothly():
    plain = one_run_epsilon(guesses=200, correct=180)
    tiny = one_run_epsilon(guesses=200, correct=180, records=1000, delta=1e-12)
    small = one_run_epsilon(guesses=200, correct=180, records=1000, delta=1e-5)
    assert tiny == pytest.approx(plain, abs=1e-4)
    assert 0 < small < plain
    assert one_run_epsilon(guesses=200, correct=180, records=1000, delta=0.1) == 0


def test_delta_enters_as_in_the_theorem():
    """At the bound, tail + 2·m·δ·max_i P[v − i ≤ Bin < v]/i is one minus the level, by plain sums."""
    guesses, correct, records, delta = 60, 50, 300, 1e-5
    epsilon = one_run_epsilon(guesses=guesses, correct=correct, records=records, delta=delta)
    right = np.exp(epsilon) / (1 + np.exp(epsilon))
    mass = [binom.pmf(k, guesses, right) for k in range(guesses + 1)]
    worst = max(sum(mass[correct - i : correct]) / i for i in range(1, correct + 1))
    assert sum(mass[correct:]) + 2 * records * delta * worst == pytest.approx(0.05, rel=1e-6)


def test_one_run_from_scores():
    is_member = np.arange(1000) % 2 == 0
    scores = np.where(is_member, 1.0, -1.0) * np.arange(1000, 0, -1)
    found = one_run_audit(scores=scores, is_member=is_member, guesses=100)
    assert found.value == pytest.approx(3.49, abs=0.005) and not found.heuristic
    # scores without any knowledge: half of the guesses are right
    assert one_run_audit(scores=np.arange(1000.0), is_member=is_member, guesses=100).value == 0


def test_bad_counts():
    with pytest.raises(BadInput, match="correct ≤ guesses"):
        one_run_epsilon(guesses=10, correct=11)
    with pytest.raises(BadInput, match="2 to 4 records"):
        one_run_audit(scores=np.arange(4.0), is_member=np.array([1, 0, 1, 0], bool), guesses=5)


@pytest.mark.parametrize("shift", [-0.5, 0.0, 1.5, 8.0])
def test_the_best_threshold_is_that_of_a_plain_search(shift):
    generator = np.random.default_rng(4)
    member = generator.random(300) < 0.5
    scores = np.round(generator.normal(size=300) + shift * member, 1)

    def bound(threshold):
        return empirical_epsilon(scores=scores, is_member=member, threshold=threshold).value

    found = best_epsilon_threshold(scores=scores, is_member=member)
    assert bound(found) == pytest.approx(max(bound(t) for t in [*np.unique(scores), np.inf]))


def test_a_one_run_audit_counts_its_guesses():
    scores, member = np.arange(10.0), np.array([1, 0, 0, 0, 0, 1, 1, 1, 1, 0], bool)
    found = one_run_audit(scores=scores, is_member=member, guesses=7)
    # the three highest: 9 is wrong; the three lowest: 0 is wrong
    assert (found.guesses, found.correct) == (6, 4)
    assert found.value == one_run_epsilon(guesses=6, correct=4, records=10)
