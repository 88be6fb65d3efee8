import numpy as np
import pytest
from scipy import stats

from core.config import BadInput
from core.metrics import auc, bootstrap, mean_interval


def test_mean_interval_by_hand():
    # 1, 2, 3: mean 2, standard error 1/√3, t(2) at .975 = 4.303
    found = mean_interval([1, 2, 3])
    assert (found.value, found.low, found.high) == pytest.approx(
        (2, 2 - 4.3027 / 3**0.5, 2 + 4.3027 / 3**0.5), abs=1e-4
    )
    alone = mean_interval([0.7])
    assert alone.value == 0.7 and np.isnan(alone.low) and np.isnan(alone.high)
    with pytest.raises(BadInput, match="at least one seed"):
        mean_interval([])


def test_an_interval_ends_where_the_possible_does():
    # .8 and 1: mean .9, standard error .1, t(1) at .975 = 12.71
    found = mean_interval([0.8, 1.0], low=0.0, high=1.0)
    assert (found.value, found.low, found.high) == (pytest.approx(0.9), 0.0, 1.0)
    assert mean_interval([0.8, 1.0]).high == pytest.approx(0.9 + 1.2706, abs=1e-4)


def test_mean_interval_equals_scipy():
    values = np.random.default_rng(0).normal(size=9)
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.9)
    assert (mean_interval(values, 0.9).low, mean_interval(values, 0.9).high) == pytest.approx(tuple(expected))


def gap(scores, is_member):
    return float(scores[is_member].mean() - scores[~is_member].mean())


def models(spread, count=12, points=200, seed=0):
    generator = np.random.default_rng(seed)
    is_member = [generator.permutation(points) < points // 2 for _ in range(count)]
    shift = spread * generator.normal(size=count)
    scores = [generator.normal(size=points) + (1 + s) * m for s, m in zip(shift, is_member, strict=True)]
    return {"scores": scores, "is_member": is_member}


def test_models_that_differ_widen_the_interval():
    same = bootstrap(statistic=gap, resamples=300, **models(spread=0))
    apart = bootstrap(statistic=gap, resamples=300, **models(spread=1))
    assert apart.high - apart.low > 3 * (same.high - same.low)


def test_one_model_reduces_to_its_points():
    """With one model, the spread is the classical standard error of a difference of two means."""
    one = models(spread=0, count=1, points=2000)
    found = bootstrap(statistic=gap, resamples=600, **one)
    scores, is_member = one["scores"][0], one["is_member"][0]
    error = np.sqrt(scores[is_member].var() / 1000 + scores[~is_member].var() / 1000)
    assert found.value == pytest.approx(gap(scores, is_member))
    assert (found.high - found.low) / (2 * 1.96 * error) == pytest.approx(1, abs=0.15)


def test_groups_keep_their_sizes_and_seeds_repeat():
    seen = []

    def record(scores, is_member):
        seen.append((int(is_member.sum()), len(scores)))
        return auc(scores=scores, is_member=is_member).value

    given = models(spread=0, count=2, points=40)
    first = bootstrap(statistic=record, resamples=20, seed=7, **given)
    assert set(seen) == {(20, 40)}
    assert first == bootstrap(statistic=record, resamples=20, seed=7, **given)
    assert first != bootstrap(statistic=record, resamples=20, seed=8, **given)


def test_needs_models():
    with pytest.raises(BadInput, match="same models"):
        bootstrap(statistic=gap, scores=[], is_member=[])
