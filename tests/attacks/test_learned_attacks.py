"""Shadow network, quantile regression, label-only and loss trajectory."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from scipy.stats import norm

from core.attacks import ATTACKS, Signals, design_matrix
from core.attacks.label_only import share_of_ties
from core.attacks.learned import fit_classifier
from core.attacks.quantile import margin
from core.attacks.trajectory import scaled
from core.metrics import auc
from tests.attacks.simulation import two_class


def test_the_classifier_returns_the_logit_of_the_log_likelihood_ratio():
    generator = np.random.default_rng(0)
    member = generator.random(6000) < 0.5
    features = generator.normal(size=(6000, 2)) + member[:, None]
    classify = fit_classifier(features=features, is_member=member, hidden=(16,), seed=0)
    # two unit Gaussians one apart in each direction: the log odds are x₁ + x₂ − 1
    grid = generator.uniform(-1, 2, size=(200, 2))
    assert np.corrcoef(classify(grid), grid.sum(axis=1) - 1)[0, 1] > 0.97
    assert np.abs(classify(grid) - (grid.sum(axis=1) - 1)).mean() < 0.4
    far = classify(np.array([[60.0, 60], [80, 80]]))
    assert far[1] > far[0] > 20  # a probability would have rounded both to 1


def shadows(seed=0, models=2, records=1500, classes=4):
    """Members' logits lean to their label by 1.5 more than others'."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(classes, size=records)
    rows = design_matrix(models=models, points=records, seed=seed)
    member = generator.permutation(records) < records // 2

    def draw(inside):
        z = 1.5 * generator.normal(size=(records, classes))
        z[np.arange(records), labels] += 1 + 1.5 * inside
        return z.astype(np.float32)

    signals = Signals(draw(member), labels, reference_logits=np.stack([draw(r) for r in rows]), reference_in=rows)
    return signals, member


@pytest.mark.parametrize(
    ("inputs", "margin_over_chance"), [("posteriors", 0.08), ("top3", 0.08), ("posteriors_label", 0.16)]
)
def test_shadow_network_learns_and_knowing_the_label_helps(inputs, margin_over_chance):
    signals, member = shadows()
    attack = ATTACKS["shadow_nn"](inputs=inputs)
    assert attack.is_compatible(signals) is None
    scores = attack(signals)
    assert auc(scores=scores, is_member=member).value > 0.5 + margin_over_chance
    np.testing.assert_array_equal(scores, attack(signals))


def test_shadow_network_ignores_references_without_outputs_and_says_what_is_missing():
    signals, _ = shadows(models=4, records=200)
    fewer = replace(signals, reference_logits=signals.reference_logits[:2])
    assert ATTACKS["shadow_nn"]().is_compatible(fewer) is None
    np.testing.assert_array_equal(
        ATTACKS["shadow_nn"]()(fewer),
        ATTACKS["shadow_nn"]()(replace(fewer, reference_in=signals.reference_in[:2])),
    )
    assert "reference logits" in ATTACKS["shadow_nn"]().is_compatible(replace(signals, reference_logits=None))
    all_in = replace(signals, reference_in=np.ones((4, 200), bool))
    assert "both members and non-members" in ATTACKS["shadow_nn"]().is_compatible(all_in)


def test_margin_by_hand():
    z = np.array([[1.0, 4.0, 2.0], [3.0, 0.0, 1.0]])
    assert margin(logits=z, labels=np.array([1, 2])).tolist() == [2, -2]
    assert z[0, 1] == 4  # the input is left alone


def quantile_case(useful=True, columns=3):
    """Margin = 4·x₀ + noise of spread e^{x₁}; members one spread higher."""
    generator = np.random.default_rng(1)

    def draw(count):
        x = generator.uniform(-1, 1, size=(count, columns))
        return x, 4 * x[:, 0] + np.exp(x[:, 1]) * generator.normal(size=count), np.exp(x[:, 1])

    known, known_margin, _ = draw(3000)
    asked, asked_margin, spread = draw(3000)
    member = generator.random(3000) < 0.5
    signals = Signals(
        two_class(asked_margin + spread * member),
        np.zeros(3000, int),
        two_class(known_margin),
        np.zeros(3000, int),
        features=asked if useful else generator.normal(size=(3000, 2)),
        population_features=known if useful else generator.normal(size=(3000, 2)),
    )
    return signals, member


def test_quantile_regression_removes_difficulty_and_scale():
    signals, member = quantile_case()
    found = auc(scores=ATTACKS["quantile"]()(signals), is_member=member).value
    plain = auc(scores=ATTACKS["loss"]()(signals), is_member=member).value
    best = norm.cdf(1 / np.sqrt(2))
    assert plain < best - 0.08 and found > best - 0.03


def test_useless_features_do_no_harm():
    signals, member = quantile_case(useful=False)
    plain = auc(scores=ATTACKS["loss"]()(signals), is_member=member).value
    assert auc(scores=ATTACKS["quantile"]()(signals), is_member=member).value > plain - 0.03


def test_many_columns_are_reduced_and_few_records_refused():
    signals, _ = quantile_case(columns=60)
    scores = ATTACKS["quantile"](components=5)(signals)
    assert scores.shape == (3000,) and np.isfinite(scores).all()
    few = replace(
        signals,
        population_logits=signals.population_logits[:20],
        population_labels=signals.population_labels[:20],
        population_features=signals.population_features[:20],
    )
    assert "at least 50 (there are 20)" in ATTACKS["quantile"]().is_compatible(few)
    assert "features" in ATTACKS["quantile"]().is_compatible(replace(signals, features=None))


def test_label_only_by_hand_with_its_ties():
    signals = Signals(
        np.zeros((4, 3), np.float32),
        np.array([0, 1, 2, 0]),
        query_labels=np.array([[0, 0, 1, 0], [1, 1, 1, 1], [0, 1, 0, 1], [0, 2, 0, 0]]),
    )
    attack = ATTACKS["label_only"]()
    assert attack(signals).tolist() == [0.75, 1, 0, 0.75]
    assert attack.chosen(signals) == {"queries": 4, "ties": pytest.approx(1 / 6)}
    assert "query labels" in attack.is_compatible(replace(signals, query_labels=None))


def test_share_of_ties_counts_pairs():
    scores = np.array([1, 1, 2, 3, 3, 3, 9.0])
    pairs = list(combinations(scores, 2))
    assert share_of_ties(scores) == pytest.approx(sum(a == b for a, b in pairs) / len(pairs))
    assert (share_of_ties(np.ones(5)), share_of_ties(np.arange(5.0)), share_of_ties(np.ones(1))) == (1, 0, 0)


def test_scaled_undoes_the_loss():
    phi = np.array([-900.0, -30, -1, 0, 1, 30, 60])
    np.testing.assert_allclose(scaled(np.logaddexp(0, -phi)), phi, rtol=1e-9, atol=1e-9)
    assert np.isfinite(scaled(np.zeros(2))).all()


def paths(seed=0, records=3000, models=2):
    """Every record starts at its own level; members gain 2 between the first and the last checkpoint."""
    generator = np.random.default_rng(seed)
    level = 3 * generator.normal(size=(records, 1))

    def draw(inside, own):
        phi = own + inside[:, None] * np.array([0.0, 0.7, 2.0]) + 0.7 * generator.normal(size=(len(own), 3))
        return np.logaddexp(0, -phi).astype(np.float32)

    rows = design_matrix(models=models, points=records, seed=seed)
    member = generator.permutation(records) < records // 2
    known = 3 * generator.normal(size=(500, 1))
    signals = Signals(
        np.zeros((records, 2), np.float32),
        np.zeros(records, int),
        trajectory=draw(member, level),
        population_trajectory=draw(np.zeros(500), known),
        reference_trajectory=np.stack([draw(row, level) for row in rows]),
        reference_in=rows,
    )
    return signals, member


@pytest.mark.parametrize("population", [True, False])
def test_learned_weights_use_the_start_to_calibrate_the_end(population):
    signals, member = paths()
    if not population:
        signals = replace(signals, population_trajectory=None)
    learned, equal = ATTACKS["trajectory"](), ATTACKS["trajectory"](use_references=False)
    assert (learned.chosen(signals)["weights"], equal.chosen(signals)["weights"]) == ("learned", "equal")
    areas = [auc(scores=a(signals), is_member=member).value for a in (learned, equal)]
    final = auc(scores=-signals.trajectory[:, -1], is_member=member).value
    # best linear use: the mean of the last two gains, each against the noise of its checkpoints
    assert areas[0] > 0.85 > final + 0.1 and areas[1] > 0.55


def test_without_references_the_mean_is_used():
    signals, _ = paths(records=100)
    alone = replace(signals, reference_trajectory=None)
    assert ATTACKS["trajectory"]().chosen(alone) == {"checkpoints": 3, "weights": "equal"}
    np.testing.assert_array_equal(ATTACKS["trajectory"]()(alone), ATTACKS["trajectory"](use_references=False)(signals))
    by_hand = scaled(signals.trajectory)
    low, middle, high = np.quantile(scaled(signals.population_trajectory), [0.25, 0.5, 0.75], axis=0)
    np.testing.assert_allclose(ATTACKS["trajectory"]()(alone), ((by_hand - middle) / (high - low)).mean(axis=1))
