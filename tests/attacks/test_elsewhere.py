"""Thresholds that are chosen on other records than those they are judged on."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from core.attacks import ATTACKS, evaluate, reference_logits_asked, shadow_scores
from core.attacks.elsewhere import NOTHING, half, judged, one_run
from core.attacks.references import as_target
from core.metrics import balanced_accuracy, best_threshold, empirical_epsilon
from tests.attacks.simulation import simulate, two_class


def noise(seed, members=200, others=200):
    member = np.arange(members + others) < members
    return np.random.default_rng(seed).normal(size=len(member)), member


def test_half_of_each_side_and_nobody_twice():
    member = np.arange(31) < 11
    first = half(member)
    assert (first & member).sum() == 5 and (first & ~member).sum() == 10
    np.testing.assert_array_equal(first, half(member))


def test_the_other_half_is_judged_at_the_threshold_of_the_first():
    scores, member = noise(0)
    scores = scores + member
    first = half(member)
    threshold = best_threshold(scores=scores[first], is_member=member[first])
    slow = balanced_accuracy(scores=scores[~first], is_member=member[~first], threshold=threshold)
    found = judged(scores=scores, is_member=member, known=None, level=0.95)
    assert (found["balanced"], found["balanced_low"]) == (slow.value, slow.low)
    assert (found["judged_members"], found["judged_non_members"]) == (100, 100)
    assert found["threshold_from"] == "other half"
    # scores of judged records play no part in the choice: only their own outcome changes
    moved = np.where(first, scores, -99)
    assert judged(scores=moved, is_member=member, known=None, level=0.95)["balanced"] == 0.5


def test_known_scores_choose_and_every_record_is_judged():
    scores, member = noise(1)
    scores = scores + 2 * member
    known = (np.array([0.0, 0.9, 1.0, 5.0]), np.array([False, False, True, True]))
    found = judged(scores=scores, is_member=member, known=known, level=0.95)
    assert found["balanced"] == ((scores[member] >= 1).mean() + (scores[~member] < 1).mean()) / 2
    assert (found["judged_members"], found["threshold_from"]) == (200, "references")
    assert found["epsilon_true_positives"] == (scores[member] >= 1).sum()
    assert found["epsilon"] == empirical_epsilon(scores=scores, is_member=member, threshold=1.0).value


def test_noise_is_not_taken_for_knowledge():
    """A threshold chosen on the judged records sees something in noise nearly always; one chosen elsewhere does not."""
    draws = (noise(seed, 40, 40) for seed in range(200))
    found = [judged(scores=scores, is_member=member, known=None, level=0.95) for scores, member in draws]
    assert np.mean([row["balanced_low"] > 0.5 for row in found]) <= 0.05
    assert np.mean([row["best_balanced"] > 0.5 for row in found]) > 0.95
    assert abs(np.mean([row["balanced"] for row in found]) - 0.5) < 0.02
    assert np.mean([row["epsilon"] > 0 for row in found]) <= 0.05
    assert np.mean([row["one_run_epsilon"] > 0 for row in found]) <= 0.05


def test_more_members_than_others_are_no_help_to_the_one_run_audit():
    found = [one_run(scores=s, is_member=m, level=0.95) for s, m in (noise(seed, 900, 60) for seed in range(100))]
    assert {row["one_run_guesses"] for row in found} == {24}
    assert np.mean([row["one_run_epsilon"] > 0 for row in found]) <= 0.05
    constant = one_run(scores=np.zeros(960), is_member=np.arange(960) < 900, level=0.95)
    assert 6 <= constant["one_run_correct"] <= 18  # by lot


def test_a_perfect_attack_on_few_records():
    found = evaluate(scores=np.arange(8.0), is_member=np.arange(8) >= 4)
    assert found["balanced"] == 1 and found["one_run_correct"] == found["one_run_guesses"] == 2
    two = evaluate(scores=np.arange(2.0), is_member=np.arange(2) >= 1)
    assert two["balanced"] is None and two["threshold_from"] is None and two["best_balanced"] == 1
    assert NOTHING.keys() <= two.keys()


def test_lira_reaches_the_analytic_balanced_accuracy_at_its_shadow_threshold():
    """N(μ_i, 1) against N(μ_i + 1, 1): halfway between the two is best, and right in Φ(1/2) of all cases."""
    signals, member = simulate(models=64, records=10_000)
    attack = ATTACKS["lira"]()
    scores, inside = shadow_scores(attack, signals)
    assert scores.shape == inside.shape == (2, 10_000) and (inside == signals.reference_in[:2]).all()
    found = judged(scores=attack(signals), is_member=member, known=(scores.ravel(), inside.ravel()), level=0.95)
    assert found["balanced"] == pytest.approx(stats.norm.cdf(0.5), abs=0.015)
    assert found["epsilon"] > 0.3


def test_shadow_scores_by_hand():
    signals, _ = simulate(models=4, records=30)
    scores, _ = shadow_scores(ATTACKS["calibration"](statistic="scaled_logit"), signals)
    phi, inside = signals.reference_phi[:, :, 0].astype(float), signals.reference_in
    # model 0 with the other pair, models 2 and 3, one of which did not see the record
    out = np.where(inside[2], phi[3], phi[2])
    np.testing.assert_allclose(scores[0], phi[0] - out)


@pytest.mark.parametrize("kind", ["lira", "lira_offline"])
def test_lira_has_the_same_variance_on_references_as_on_the_target(kind):
    """Of 64 references, from which auto means each record's own variance, 62 are left when one is attacked."""
    signals, _ = simulate(models=64, records=40)
    auto, own, shrunk = (
        shadow_scores(ATTACKS[kind](variance=variance), signals)[0] for variance in ("auto", "per_example", "shrunk")
    )
    np.testing.assert_array_equal(auto, own)
    assert not np.allclose(auto, shrunk)


def test_attacks_on_outputs_take_the_logits_of_references():
    signals, _ = simulate(models=4, records=50)
    logits = np.random.default_rng(0).normal(size=(4, 50, 3)).astype(np.float32)
    labels = np.arange(50) % 3
    whole = replace(signals, logits=logits[0], labels=labels, reference_logits=logits)
    for kind in ("loss", "entropy", "mentr", "top1", "correctness"):
        scores, _ = shadow_scores(ATTACKS[kind](), whole)
        direct = ATTACKS[kind]()(replace(whole, logits=logits[1], query_phi=None))
        np.testing.assert_array_equal(scores[1], direct)
        assert shadow_scores(ATTACKS[kind](), signals) is None  # [φ, 0] has another entropy
    assert as_target(whole, 0)[0].labels is labels


def test_logits_nobody_asks_for_change_no_score():
    signals, _ = simulate(models=6, records=80, population=60)
    logits = np.random.default_rng(0).normal(size=(6, 80, 3)).astype(np.float32)
    outputs = {"logits": logits[0], "labels": np.arange(80) % 3, "gradient_norms": np.ones(80)}
    whole = replace(signals, **outputs, query_labels=np.zeros((80, 2), int), reference_logits=logits)
    asked = {name: reference_logits_asked(kind()) for name, kind in ATTACKS.items()}
    assert asked["shadow_nn"] is None
    assert {name for name, count in asked.items() if count == 2} == {
        *("loss", "confidence", "mentr", "entropy", "top1", "correctness", "attack_p")
    }
    for name, kind in ATTACKS.items():
        fewer = replace(whole, reference_logits=None if asked[name] == 0 else logits[: asked[name]])
        for attack in [kind(), *([kind(class_conditional=True)] if "class_conditional" in kind.model_fields else [])]:
            known, same = shadow_scores(attack, whole), shadow_scores(attack, fewer)
            assert (known is None) == (same is None)
            if known:
                np.testing.assert_array_equal(known[0], same[0])
            if attack.is_compatible(whole) is None:
                np.testing.assert_array_equal(attack(whole), attack(fewer))
    assert reference_logits_asked(ATTACKS["loss"](class_conditional=True)) == 0


def test_what_cannot_be_run_on_references_takes_half_of_the_records():
    signals, member = simulate(models=4, records=200)
    logits = np.stack([two_class(phi[:, 0]) for phi in signals.reference_phi])
    signals = replace(signals, reference_logits=logits, gradient_norms=np.ones(200), query_labels=np.zeros((200, 2)))
    for kind in ("gradient_norm", "label_only", "lira"):  # LiRA: two references are left for four
        assert shadow_scores(ATTACKS[kind](), signals) is None
    assert shadow_scores(ATTACKS["loss"](), signals) is not None
    assert shadow_scores(ATTACKS["loss"](class_conditional=True), signals) is None
    assert shadow_scores(ATTACKS["loss"](), replace(signals, reference_phi=None)) is None
    row = evaluate(scores=ATTACKS["lira"]()(signals), is_member=member)
    assert row["threshold_from"] == "other half" and row["judged_members"] == 50
