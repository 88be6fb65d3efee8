from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.special import expit

from core.attacks import ATTACKS, Signals
from core.attacks.rmia import DEFAULT_A, GRID, offline_marginal, tuned_a, wins
from core.metrics import auc
from tests.attacks.simulation import simulate


def slow(signals, *, online, a, gamma):
    """The definition: each record against each population record, every mean as a loop."""

    def p(phi):
        return 1 / (1 + np.exp(-float(phi)))

    models, records, _ = signals.reference_phi.shape
    scores = []
    for i in range(records):
        inside = [p(signals.reference_phi[m, i, 0]) for m in range(models) if signals.reference_in[m, i]]
        outside = [p(signals.reference_phi[m, i, 0]) for m in range(models) if not signals.reference_in[m, i]]
        mean = sum(outside) / len(outside)
        pr = (sum(inside) / len(inside) + mean) / 2 if online else ((1 + a) * mean + 1 - a) / 2
        ratio = p(signals.query_phi[i, 0]) / pr
        won = 0
        for z in range(len(signals.population_labels)):
            known = sum(p(signals.reference_population_phi[m, z, 0]) for m in range(models)) / models
            won += ratio / (p(signals.population_phi[z]) / (((1 + a) * known + 1 - a) / 2)) >= gamma
        scores.append(won / len(signals.population_labels))
    return np.array(scores)


def made(kind, a=0.3, **parameters):
    """The attack without tuning, which online RMIA never does."""
    return ATTACKS[kind](**parameters, **({"a": a} if kind == "rmia_offline" else {}))


@pytest.mark.parametrize("gamma", [1.0, 1.5])
@pytest.mark.parametrize("a", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("kind", ["rmia", "rmia_offline"])
def test_equals_the_definition_over_all_pairs(kind, a, gamma):
    signals, _ = simulate(models=4, records=60, population=50)
    if kind == "rmia" and a != DEFAULT_A:
        pytest.skip("online RMIA has no a: only the population is extrapolated, with the default")
    found = made(kind, gamma=gamma, a=a).calibrated(signals)
    np.testing.assert_allclose(found, slow(signals, online=kind == "rmia", a=a, gamma=gamma), atol=1e-6)


@pytest.mark.parametrize("kind", ["rmia", "rmia_offline"])
def test_several_queries_are_the_mean_of_their_log_ratios(kind):
    signals, _ = simulate(models=4, records=40, queries=3)
    each = [
        made(kind)(
            replace(signals, query_phi=signals.query_phi[:, [q]], reference_phi=signals.reference_phi[:, :, [q]])
        )
        for q in range(3)
    ]
    slow = [sum(scores[i] for scores in each) / 3 for i in range(40)]
    np.testing.assert_allclose(made(kind)(signals), slow, atol=1e-6)


@pytest.mark.parametrize("kind", ["rmia", "rmia_offline"])
def test_more_queries_find_more_members(kind):
    signals, member = simulate(models=8, records=4000, queries=8)
    one = replace(signals, query_phi=signals.query_phi[:, :1], reference_phi=signals.reference_phi[:, :, :1])
    found = [auc(scores=made(kind)(seen), is_member=member).value for seen in (one, signals)]
    assert found[1] > found[0] + 0.04


@pytest.mark.parametrize("kind", ["rmia", "rmia_offline"])
def test_scores_rank_as_the_calibrated_value_but_without_its_ties(kind):
    signals, _ = simulate(models=4, records=500, population=40)
    attack = made(kind)
    scores, calibrated = attack(signals), attack.calibrated(signals)
    assert (np.diff(calibrated[np.argsort(scores)]) >= 0).all()
    assert len(np.unique(calibrated)) <= 41 < len(np.unique(scores))


def test_wins_by_hand():
    ratios = np.log([1.0, 2.0, 9.0])
    population = np.log([0.5, 1.0, 3.0, 4.0])
    assert wins(log_ratio=ratios, population=population, gamma=1.0).tolist() == [0.5, 0.5, 1.0]
    assert wins(log_ratio=ratios, population=population, gamma=2.0).tolist() == [0.25, 0.5, 1.0]


def test_offline_marginal_by_hand():
    assert offline_marginal(np.array([0.4]), 1.0)[0] == pytest.approx(0.4)
    assert offline_marginal(np.array([0.4]), 0.0)[0] == pytest.approx((0.4 + 1) / 2)
    assert offline_marginal(np.array([0.4]), 0.3)[0] == pytest.approx((1.3 * 0.4 + 0.7) / 2)


def test_the_mean_runs_over_out_references_only():
    """A mean of the k largest, as one public code takes, would pick the IN references, which are surer."""
    signals, _ = simulate(models=8, records=200, gain=3.0)
    confidence = expit(signals.reference_phi[:, :, 0].astype(float))
    out = np.array([confidence[~signals.reference_in[:, i], i].mean() for i in range(200)])
    largest = np.sort(confidence, axis=0)[-4:].mean(axis=0)
    found = expit(signals.query_phi[:, 0].astype(float)) / np.exp(ATTACKS["rmia_offline"](a=1.0)(signals))
    np.testing.assert_allclose(found, out, rtol=1e-9)
    assert (largest - out).mean() > 0.1
    spoiled = np.where(signals.reference_in[:, :, None], np.float32(50), signals.reference_phi)
    attack = ATTACKS["rmia_offline"](a=0.3)
    np.testing.assert_array_equal(attack(signals), attack(replace(signals, reference_phi=spoiled)))


def test_unequal_numbers_of_in_references_do_not_give_membership_away():
    """Members are in one reference fewer, as when a model of a balanced design is attacked with all the others. The
    target itself learned nothing, so there is nothing to find; a plain mean over references finds the count."""
    generator = np.random.default_rng(0)
    member = np.arange(4000) < 2000
    rows = np.stack([np.ones(4000, bool), ~member, np.zeros(4000, bool), np.zeros(4000, bool)])
    phi = (3 * rows + generator.normal(size=(4, 4000)))[:, :, None].astype(np.float32)
    signals = Signals(
        logits=np.zeros((4000, 2), np.float32),
        labels=np.zeros(4000, int),
        query_phi=generator.normal(size=(4000, 1)).astype(np.float32),
        reference_phi=phi,
        reference_in=rows,
    )
    ours = auc(scores=ATTACKS["rmia"]()(signals), is_member=member)
    plain = np.log(expit(signals.query_phi[:, 0])) - np.log(expit(phi[:, :, 0]).mean(axis=0))
    assert abs(ours.value - 0.5) < 0.05 < auc(scores=plain, is_member=member).value - 0.5


def test_a_is_the_one_of_the_grid_that_attacks_references_best():
    signals, member = simulate(models=4, records=3000, gain=1.5, hardness=2.0)
    attack = ATTACKS["rmia_offline"]()
    chosen = attack.chosen(signals)
    assert chosen == {"references": 4, "γ": 1.0, "a": tuned_a(signals)} and chosen["a"] in GRID
    np.testing.assert_array_equal(attack(signals), ATTACKS["rmia_offline"](a=chosen["a"])(signals))
    areas = [auc(scores=ATTACKS["rmia_offline"](a=a)(signals), is_member=member).value for a in GRID]
    assert auc(scores=attack(signals), is_member=member).value > max(areas) - 0.01


def test_a_is_tuned_on_records_spread_over_all_of_them(monkeypatch):
    """The first half of the records looks the same under every model; only a spread-out sample can choose a."""
    signals, _ = simulate(models=4, records=4000, gain=1.5, hardness=2.0)
    flat = np.zeros_like(signals.reference_phi)
    padded = replace(
        signals,
        labels=np.zeros(8000, int),
        logits=np.concatenate([np.zeros_like(signals.logits), signals.logits]),
        reference_phi=np.concatenate([flat, signals.reference_phi], axis=1),
        reference_in=np.tile(signals.reference_in, 2),
    )
    whole = tuned_a(padded)
    monkeypatch.setattr("core.attacks.rmia.TUNED_WITH", 2000)
    assert abs(tuned_a(padded) - whole) <= 0.2 and tuned_a(padded) != GRID[0]


def test_two_references_cannot_tune_and_fall_back():
    signals, _ = simulate(models=2, records=50)
    assert ATTACKS["rmia_offline"]().is_compatible(signals) is None
    assert ATTACKS["rmia_offline"]().chosen(signals)["a"] == DEFAULT_A


def test_two_references_already_beat_the_loss():
    signals, member = simulate(models=2, records=5000, gain=1.5)
    loss = auc(scores=ATTACKS["loss"]()(signals), is_member=member).value
    for kind in ("rmia", "rmia_offline"):
        assert auc(scores=ATTACKS[kind]()(signals), is_member=member).value > loss + 0.02


@pytest.mark.parametrize("values", [{"gamma": 0.5}, {"a": -0.1}, {"a": 1.1}])
def test_parameters_out_of_range_are_refused(values):
    with pytest.raises(ValidationError):
        ATTACKS["rmia_offline"](**values)


def test_online_neither_has_nor_tunes_nor_shows_an_a(monkeypatch):
    signals, _ = simulate(models=4, records=50, population=20)
    monkeypatch.setattr("core.attacks.rmia.tuned_a", lambda _: pytest.fail("tuned"))
    attack = ATTACKS["rmia"]()
    assert attack(signals).shape == attack.calibrated(signals).shape == (50,)
    assert attack.chosen(signals) == {"references": 4, "γ": 1.0}
    with pytest.raises(ValidationError):
        ATTACKS["rmia"](a=0.3)


@pytest.mark.parametrize("kind", ["rmia", "rmia_offline"])
def test_gamma_moves_the_calibrated_score_and_not_the_ranking(kind):
    signals, _ = simulate(models=4, records=500, population=100)
    one, two = made(kind, gamma=1.0), made(kind, gamma=2.0)
    np.testing.assert_array_equal(one(signals), two(signals))
    won, by_twice = one.calibrated(signals), two.calibrated(signals)
    assert (by_twice <= won).all() and won.mean() > by_twice.mean() + 0.02


def test_no_population_no_calibrated_score():
    signals, _ = simulate(models=2, records=10)
    assert ATTACKS["rmia"]().calibrated(signals) is None
    assert ATTACKS["loss"]().calibrated(simulate(models=2, records=10, population=5)[0]) is None
    one = replace(signals, reference_phi=signals.reference_phi[:1], reference_in=signals.reference_in[:1])
    assert "at least 1 reference models" in ATTACKS["rmia"]().is_compatible(one)


def test_very_sure_and_very_wrong_records_stay_finite_and_in_order():
    signals, _ = simulate(models=4, records=6)
    sure = replace(signals, query_phi=np.array([[-800.0], [-50], [0], [20], [30], [35]], np.float32))
    flat = replace(sure, reference_phi=np.zeros_like(signals.reference_phi))
    scores = ATTACKS["rmia"]()(flat)
    assert np.isfinite(scores).all() and (np.diff(scores) > 0).all()
    assert np.isfinite(ATTACKS["rmia"]()(replace(flat, reference_phi=flat.reference_phi - 2000))).all()
