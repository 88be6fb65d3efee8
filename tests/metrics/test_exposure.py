import numpy as np
import pytest

from core.metrics import bootstrap, exposure, mean_exposure


def test_bits_by_hand():
    # 7 left out; ranks 1, 8 and (tied with one, none above but 3) 4.5
    scores = np.array([9.0, -1.0, 4.0, 1, 2, 3, 4, 5, 6, 7])
    found = exposure(scores=scores, is_member=np.arange(10) < 3)
    assert found == pytest.approx([3, 0, 3 - np.log2(4.5)])


def test_equals_the_definition_over_all_pairs():
    generator = np.random.default_rng(0)
    scores, member = generator.integers(0, 9, 80).astype(float), generator.random(80) < 0.4
    others = [s for s, m in zip(scores, member, strict=True) if not m]
    slow = [
        np.log2(len(others) + 1) - np.log2(1 + sum(o > s for o in others) + sum(o == s for o in others) / 2)
        for s, m in zip(scores, member, strict=True)
        if m
    ]
    np.testing.assert_allclose(exposure(scores=scores, is_member=member), slow)


def test_untrained_canaries_have_the_exposure_of_chance_and_trained_ones_more():
    generator = np.random.default_rng(1)
    member = np.arange(400) < 200
    noise = generator.normal(size=400)
    none = mean_exposure(scores=noise, is_member=member)
    assert none.low < none.chance < none.high and 1.3 < none.chance < np.log2(np.e)
    some = mean_exposure(scores=noise + member, is_member=member)
    assert some.low > some.chance and some.low < some.value < some.high <= np.log2(201)


def test_chance_is_the_mean_over_equally_likely_ranks():
    draws = [
        exposure(scores=np.random.default_rng(seed).normal(size=10), is_member=np.arange(10) < 5).mean()
        for seed in range(3000)
    ]
    chance = mean_exposure(scores=np.arange(10.0), is_member=np.arange(10) < 5).chance
    assert np.mean(draws) == pytest.approx(chance, abs=4 * np.std(draws) / np.sqrt(len(draws)))


def test_the_interval_is_that_of_drawing_records_one_by_one():
    generator = np.random.default_rng(3)
    member = np.arange(120) < 50
    scores = np.round(generator.normal(size=120) + 0.8 * member, 1)
    found = mean_exposure(scores=scores, is_member=member)
    slow = bootstrap(
        statistic=lambda s, m: exposure(scores=s, is_member=m).mean(),
        scores=[scores],
        is_member=[member],
        resamples=2000,
    )
    assert found.value == pytest.approx(slow.value)
    assert (found.low, found.high) == pytest.approx((slow.low, slow.high), abs=0.08)
