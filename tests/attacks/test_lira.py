import math
import statistics
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from core.attacks import ATTACKS
from core.attacks.references import as_target
from core.metrics import auc, tpr_at_fpr
from tests.attacks.simulation import simulate


def slow(signals, *, online, variance, prior=8.0):
    """LiRA record by record and query by query, from the standard library's median and variance."""
    models, records, total = signals.reference_phi.shape
    values = {}
    for side in ("in", "out"):
        for q in range(total):
            for i in range(records):
                values[side, q, i] = [
                    float(signals.reference_phi[m, i, q])
                    for m in range(models)
                    if signals.reference_in[m, i] == (side == "in")
                ]

    def gaussian(side, q, i):
        lists = [values[side, q, j] for j in range(records)]
        freedom = sum(len(v) - 1 for v in lists)
        pooled = sum((len(v) - 1) * statistics.variance(v) for v in lists) / freedom
        mine = values[side, q, i]
        n, own = len(mine), statistics.variance(mine)
        sigma2 = {
            "per_example": own,
            "pooled": pooled,
            "shrunk": (prior * pooled + (n - 1) * own) / (prior + n - 1),
        }[variance]
        return statistics.median(mine), math.sqrt(sigma2)

    scores = []
    for i in range(records):
        per_query = []
        for q in range(total):
            x = float(signals.query_phi[i, q])
            mean, sigma = gaussian("out", q, i)
            if online:
                mean_in, sigma_in = gaussian("in", q, i)
                inside = -((x - mean_in) ** 2) / (2 * sigma_in**2) - math.log(sigma_in)
                per_query.append(inside + (x - mean) ** 2 / (2 * sigma**2) + math.log(sigma))
            else:
                per_query.append((x - mean) / sigma)
        scores.append(sum(per_query) / total)
    return np.array(scores)


@pytest.mark.parametrize("queries", [1, 3])
@pytest.mark.parametrize("variance", ["per_example", "pooled", "shrunk"])
@pytest.mark.parametrize("kind", ["lira", "lira_offline"])
def test_equals_the_plain_loop(kind, variance, queries):
    signals, _ = simulate(models=8, records=40, queries=queries, vary=True)
    found = ATTACKS[kind](variance=variance)(signals)
    np.testing.assert_allclose(found, slow(signals, online=kind == "lira", variance=variance), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", ["lira", "lira_offline"])
def test_reaches_the_analytic_auc(kind):
    """φ is N(μ_i, 1) without and N(μ_i + 1, 1) with the record: no attack beats Φ(1/√2) = .760."""
    signals, member = simulate(models=128, records=20_000)
    found = auc(scores=ATTACKS[kind]()(signals), is_member=member)
    best = stats.norm.cdf(1 / np.sqrt(2))
    assert best - 0.012 < found.value < best + 0.012
    # the spread between records blinds a plain threshold: Φ(1/√(2·(1 + 9)))
    plain = auc(scores=ATTACKS["loss"]()(signals), is_member=member).value
    assert plain == pytest.approx(stats.norm.cdf(1 / np.sqrt(20)), abs=0.012)


def test_one_sided_beats_the_two_sided_density():
    """The density of N(μ_out, σ_out) at φ, as in the reference code, also flags records that fit unusually badly."""
    signals, member = simulate(models=32, records=10_000, gain=1.5)
    one_sided = ATTACKS["lira_offline"](variance="pooled")(signals)
    ours = auc(scores=one_sided, is_member=member).value
    theirs = auc(scores=np.abs(one_sided), is_member=member).value
    assert ours > theirs + 0.08


@pytest.mark.parametrize("variance", ["per_example", "pooled", "shrunk"])
def test_each_side_has_the_variance_of_its_own_models(variance):
    """IN models agree closely, OUT models do not: public code that takes σ_in from the OUT array misses the members,
    for what is far from the IN models then still looks likely under them."""
    signals, member = simulate(models=64, records=4000, gain=0.0, hardness=0.0)
    inside = signals.reference_in[:, :, None]
    narrow = replace(
        signals,
        reference_phi=np.where(inside, 0.1 * signals.reference_phi, signals.reference_phi),
        query_phi=np.where(member[:, None], 0.1 * signals.query_phi, signals.query_phi),
    )
    attack = ATTACKS["lira"](variance=variance)
    assert auc(scores=attack(narrow), is_member=member).value > 0.9
    swapped = np.where(inside, signals.reference_phi, 0.1 * signals.reference_phi)
    assert auc(scores=attack(replace(narrow, reference_phi=swapped)), is_member=member).value < 0.1


def test_few_references_want_a_shared_variance():
    signals, member = simulate(models=8, records=20_000, gain=2.0)

    def hits(variance):
        scores = ATTACKS["lira"](variance=variance)(signals)
        return tpr_at_fpr(scores=scores, is_member=member, fpr=0.001).tpr

    alone = hits("per_example")
    assert hits("pooled") > 3 * alone and hits("shrunk") > 2 * alone


def test_many_references_want_their_own_variance():
    signals, member = simulate(models=128, records=10_000, gain=1.0, vary=True)
    own = auc(scores=ATTACKS["lira"](variance="per_example")(signals), is_member=member).value
    assert own > auc(scores=ATTACKS["lira"](variance="pooled")(signals), is_member=member).value + 0.01


@pytest.mark.parametrize(("models", "variance"), [(4, "shrunk"), (62, "shrunk"), (64, "per_example")])
def test_auto_is_chosen_by_the_number_of_references_and_shown(models, variance):
    signals, _ = simulate(models=models, records=30)
    attack = ATTACKS["lira"]()
    assert attack.chosen(signals) == {"references": models, "variance": variance}
    np.testing.assert_array_equal(attack(signals), ATTACKS["lira"](variance=variance)(signals))


@pytest.mark.parametrize("kind", ["lira", "lira_offline"])
def test_own_variances_from_few_references_are_said_to_be_noisy(kind):
    attack = ATTACKS[kind](variance="per_example")
    few, enough = (attack.chosen(simulate(models=models, records=30)[0])["variance"] for models in (4, 64))
    assert few == "per_example (noisy: from fewer than 64 references)" and enough == "per_example"


def test_offline_never_looks_at_references_that_saw_the_record():
    signals, _ = simulate(models=8, records=50)
    spoiled = np.where(signals.reference_in[:, :, None], np.float32(1e6), signals.reference_phi)
    attack = ATTACKS["lira_offline"]()
    np.testing.assert_array_equal(attack(signals), attack(replace(signals, reference_phi=spoiled)))


def test_references_that_agree_exactly_give_finite_scores():
    signals, _ = simulate(models=8, records=30)
    phi = signals.reference_phi.copy()
    phi[:, 3] = 1.0
    for kind in ("lira", "lira_offline"):
        for variance in ("per_example", "pooled", "shrunk"):
            assert np.isfinite(ATTACKS[kind](variance=variance)(replace(signals, reference_phi=phi))).all()


def test_a_reference_as_target_does_not_leak_by_its_count():
    """Without any effect of training (gain 0), attacking one reference with the others must find nothing."""
    signals, _ = simulate(models=8, records=20_000, gain=0.0)
    for target in (0, 5):
        shadow, member = as_target(signals, target)
        for kind in ("lira", "lira_offline", "rmia", "rmia_offline", "attack_r", "calibration"):
            found = auc(scores=ATTACKS[kind]()(shadow), is_member=member, level=0.999)
            assert found.low < 0.5 < found.high, kind


def test_too_few_references_say_what_to_do():
    two, _ = simulate(models=2, records=10)
    for kind in ("lira", "lira_offline"):
        assert "raise audit.shadows.models to 4 or more (there are 2)" in ATTACKS[kind]().is_compatible(two)
        assert "train reference models (audit.shadows.models)" in ATTACKS[kind]().is_compatible(
            replace(two, reference_phi=None)
        )
    four, _ = simulate(models=4, records=10)
    assert ATTACKS["lira"]().is_compatible(four) is None
    never_in = replace(four, reference_in=np.zeros((4, 10), bool))
    assert ATTACKS["lira_offline"]().is_compatible(never_in) is None
    assert "trained on each record" in ATTACKS["lira"]().is_compatible(never_in)


def test_a_diverged_reference_is_named():
    signals, _ = simulate(models=4, records=10)
    phi = signals.reference_phi.copy()
    phi[2, 0] = np.nan
    assert "reference model 2 gave outputs that are not finite" in ATTACKS["lira"]().is_compatible(
        replace(signals, reference_phi=phi)
    )
