"""Attack-R, attack-P, difficulty calibration and RAPID."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm

from core.attacks import ATTACKS, Signals
from core.metrics import auc
from tests.attacks.simulation import simulate, two_class


def tiny():
    """Two records, three references; reference 0 saw record 0, reference 2 saw record 1."""
    return Signals(
        logits=two_class(np.array([1.0, -1.0])),
        labels=np.zeros(2, int),
        reference_phi=np.array([[9.0, -2.0], [0.5, -1.0], [2.0, 9.0]], np.float32)[:, :, None],
        reference_in=np.array([[1, 0], [0, 0], [0, 1]], bool),
    )


def test_attack_r_by_hand():
    # record 0: OUT references .5 and 2 against 1: one of two; record 1: −2 and −1 against −1: one and a half of two
    assert ATTACKS["attack_r"]()(tiny()).tolist() == [0.5, 0.75]


def test_calibration_by_hand():
    def loss(phi):
        return np.log1p(np.exp(-phi))

    expected = [(loss(0.5) + loss(2.0)) / 2 - loss(1.0), (loss(-2.0) + loss(-1.0)) / 2 - loss(-1.0)]
    np.testing.assert_allclose(ATTACKS["calibration"]()(tiny()), expected, rtol=1e-6)
    raw = ATTACKS["calibration"](statistic="scaled_logit")(tiny())
    np.testing.assert_allclose(raw, [1 - 1.25, -1 + 1.5])


def test_attack_p_by_hand_and_as_a_test_of_known_size():
    signals = Signals(
        two_class(np.array([0.0, 2.0, 9.0])), np.zeros(3, int), two_class(np.array([-1.0, 1, 2, 3])), np.zeros(4, int)
    )
    assert ATTACKS["attack_p"]()(signals).tolist() == [0.25, 2.5 / 4, 1]
    drawn, member = simulate(models=2, records=20_000, population=5000, gain=2)
    alarms = ATTACKS["attack_p"]()(drawn)[~member] > 0.95
    assert alarms.mean() == pytest.approx(0.05, abs=0.012)
    assert auc(scores=ATTACKS["attack_p"]()(drawn), is_member=member).value == pytest.approx(
        auc(scores=ATTACKS["loss"]()(drawn), is_member=member).value, abs=1e-3
    )
    assert "population" in ATTACKS["attack_p"]().is_compatible(tiny())


@pytest.mark.parametrize("kind", ["attack_r", "calibration"])
def test_only_out_references_count_and_difficulty_is_removed(kind):
    signals, member = simulate(models=16, records=5000, gain=1.5)
    attack = ATTACKS[kind]()
    spoiled = np.where(signals.reference_in[:, :, None], np.float32(77), signals.reference_phi)
    np.testing.assert_array_equal(attack(signals), attack(replace(signals, reference_phi=spoiled)))
    loss = auc(scores=ATTACKS["loss"]()(signals), is_member=member).value
    assert auc(scores=attack(signals), is_member=member).value > loss + 0.04


def test_scaled_logits_calibrate_to_the_analytic_auc():
    # target − mean of 8 OUT models: variance 1 + 1/8, gain 1.5
    signals, member = simulate(models=16, records=10_000, gain=1.5)
    scores = ATTACKS["calibration"](statistic="scaled_logit")(signals)
    truth = norm.cdf(1.5 / np.sqrt(2 * (1 + 1 / 8)))
    assert auc(scores=scores, is_member=member).value == pytest.approx(truth, abs=0.015)


def test_one_reference_without_the_records_is_enough_for_calibration():
    signals, _ = simulate(models=2, records=20)
    single = replace(signals, reference_phi=signals.reference_phi[:1], reference_in=np.zeros((1, 20), bool))
    assert ATTACKS["calibration"]().is_compatible(single) is None
    assert np.isfinite(ATTACKS["calibration"]()(single)).all()
    assert "raise audit.shadows.models to 2 or more" in ATTACKS["calibration"]().is_compatible(
        replace(single, reference_in=np.ones((1, 20), bool))
    )


def test_rapid_is_at_least_as_good_as_what_it_is_given():
    signals, member = simulate(models=8, records=3000, gain=1.5, hardness=2.0)
    scores = ATTACKS["rapid"]()(signals)
    found = auc(scores=scores, is_member=member).value
    parts = [auc(scores=ATTACKS[kind]()(signals), is_member=member).value for kind in ("loss", "calibration")]
    assert found > max(parts) - 0.01
    np.testing.assert_array_equal(scores, ATTACKS["rapid"]()(signals))
    assert not np.array_equal(scores, ATTACKS["rapid"](shadows=2)(signals))


def test_rapid_needs_a_second_pair():
    two, _ = simulate(models=2, records=20)
    assert "raise audit.shadows.models to 4 or more" in ATTACKS["rapid"]().is_compatible(two)
    four, _ = simulate(models=4, records=20)
    assert ATTACKS["rapid"]().is_compatible(four) is None
