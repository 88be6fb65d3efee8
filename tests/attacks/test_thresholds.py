import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.special import log_softmax, softmax

from core.attacks import ATTACKS, Signals
from core.attacks.thresholds import ThresholdAttack, rank_within_class
from core.metrics import auc

NAMES = ["loss", "confidence", "mentr", "entropy", "top1", "correctness"]


def plain(kind, logits, labels):
    """Each statistic as its textbook formula, by plain loops over probabilities."""
    scores = []
    for z, y in zip(np.asarray(logits, np.float64), labels, strict=True):
        p = softmax(z)
        others = [k for k in range(len(p)) if k != y]
        scores.append(
            {
                "loss": np.log(p[y]),
                "confidence": p[y] - 1,
                "entropy": sum(q * np.log(q) for q in p),
                "mentr": (1 - p[y]) * np.log(p[y]) + sum(p[k] * np.log(1 - p[k]) for k in others),
                "top1": max(p) - 1,
                "correctness": float(max(range(len(p)), key=lambda k: p[k]) == y),
            }[kind]
        )
    return np.array(scores)


def make(seed=0, records=60, classes=5, scale=2.0, population=40):
    generator = np.random.default_rng(seed)

    def draw(n):
        return (scale * generator.normal(size=(n, classes))).astype(np.float32)

    return Signals(
        logits=draw(records),
        labels=generator.integers(classes, size=records),
        population_logits=draw(population),
        population_labels=generator.integers(classes, size=population),
    )


def test_by_hand_with_two_equal_classes():
    signals = Signals(logits=np.zeros((1, 2), np.float32), labels=np.array([0]))
    expected = {"loss": -np.log(2), "confidence": -0.5, "entropy": -np.log(2), "mentr": -np.log(2), "top1": -0.5}
    for kind, value in expected.items():
        assert ATTACKS[kind]()(signals) == pytest.approx([value])
    assert ATTACKS["correctness"]()(signals).tolist() == [1]


@pytest.mark.parametrize("kind", NAMES)
@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 1000), classes=st.integers(2, 12))
def test_equals_the_plain_formula(kind, seed, classes):
    signals = make(seed, classes=classes)
    found = ATTACKS[kind]()(signals)
    assert found.dtype == np.float64 and found.shape == (60,)
    np.testing.assert_allclose(found, plain(kind, signals.logits, signals.labels), rtol=2e-5, atol=1e-7)


@pytest.mark.parametrize("kind", ["loss", "confidence", "mentr", "entropy", "top1"])
def test_very_sure_records_keep_their_order(kind):
    """Where p_y rounds to 1 in any float type, a surer record still scores strictly higher, and nothing overflows."""
    margins = np.array([5, 30, 45, 90, 180, 340], np.float32)
    logits = np.zeros((6, 3), np.float32)
    logits[:, 1] = margins
    scores = ATTACKS[kind]()(Signals(logits=logits, labels=np.ones(6, int)))
    assert np.isfinite(scores).all() and (np.diff(scores) > 0).all() and (scores < 0).all()


def test_confidently_wrong_is_the_least_member_like_for_mentr_alone():
    logits = np.array([[60.0, 0, 0], [0, 60.0, 0], [0.1, 0, 0]], np.float32)
    signals = Signals(logits=logits, labels=np.array([0, 0, 0]))
    assert np.argsort(ATTACKS["mentr"]()(signals)).tolist() == [1, 2, 0]
    entropy = ATTACKS["entropy"]()(signals)
    assert entropy[0] == pytest.approx(entropy[1])  # it cannot see the label
    # (1 − p_y) log p_y ≈ −60, and p_k log(1 − p_k) of the class it is sure of = log(2 e^−60)
    assert ATTACKS["mentr"]()(signals)[1] == pytest.approx(-120 + np.log(2))


def test_impossible_classes_are_not_a_nan():
    logits = np.array([[0.0, -np.inf, 1.0]], np.float32)
    for kind in NAMES:
        assert np.isfinite(ATTACKS[kind]()(Signals(logits=logits, labels=np.array([2])))).all()


def test_loss_and_confidence_rank_alike():
    signals = make(3, scale=8.0)
    np.testing.assert_array_equal(
        stats.rankdata(ATTACKS["loss"]()(signals)), stats.rankdata(ATTACKS["confidence"]()(signals))
    )
    np.testing.assert_allclose(
        ATTACKS["loss"]()(signals),
        log_softmax(signals.logits.astype(float), axis=1)[np.arange(60), signals.labels],
        rtol=1e-5,
        atol=1e-7,
    )


def test_rank_within_class_by_hand():
    # class 0 has non-members 1, 2, 2, 3; class 1 has 10; class 2 has none and is ranked among all five
    ranks = rank_within_class(
        scores=np.array([2.0, 0.0, 9.0, 10.0, 2.5, 11.0]),
        labels=np.array([0, 0, 1, 1, 2, 2]),
        population=np.array([2.0, 1.0, 3.0, 2.0, 10.0]),
        population_labels=np.array([0, 0, 0, 0, 1]),
    )
    np.testing.assert_allclose(ranks, [2 / 4, 0, 0, 0.5, 3 / 5, 1])


def test_class_conditional_removes_a_class_offset():
    """Class 1 is far harder than class 0. Overall ranks mix class and membership; per-class ranks do not."""
    generator = np.random.default_rng(0)
    labels = generator.integers(2, size=4000)
    member = generator.random(4000) < 0.5
    margin = np.where(labels == 0, 12.0, 0.0) + 1.5 * member + generator.normal(size=4000)
    logits = np.zeros((4000, 2), np.float32)
    logits[np.arange(4000), labels] = margin
    audit, others = np.arange(3000), np.flatnonzero(~member & (np.arange(4000) >= 3000))
    signals = Signals(logits[audit], labels[audit], logits[others], labels[others])
    overall = ATTACKS["loss"]()(signals)
    per_class = ATTACKS["loss"](class_conditional=True)(signals)
    truth = stats.norm.cdf(1.5 / np.sqrt(2))
    assert auc(scores=per_class, is_member=member[audit]).value == pytest.approx(truth, abs=0.03)
    assert auc(scores=overall, is_member=member[audit]).value < truth - 0.1


@pytest.mark.parametrize("kind", NAMES)
def test_class_conditional_says_that_it_needs_a_population(kind):
    signals = Signals(logits=np.zeros((2, 2), np.float32), labels=np.array([0, 1]))
    assert ATTACKS[kind]().is_compatible(signals) is None
    assert "population" in ATTACKS[kind](class_conditional=True).is_compatible(signals)


def test_each_threshold_attack_teaches():
    for kind in NAMES:
        attack = ATTACKS[kind]
        assert issubclass(attack, ThresholdAttack) and attack.title and len(attack.__doc__) > 150
