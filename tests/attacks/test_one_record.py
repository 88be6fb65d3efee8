"""One record between its references: the numbers in the picture are the attack's own."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from core.attacks import Signals, design_matrix
from core.attacks.lira import LiraAttack
from core.attacks.one_record import Crowd, OneRecord, fit
from core.config import BadInput


def signals(references: int, records: int, seed: int) -> Signals:
    """Random outputs; members of a reference are 2 surer."""
    rng = np.random.default_rng(seed)
    inside = design_matrix(models=references, points=records, seed=seed)
    phi = (rng.normal(size=(references, records)) + 2 * inside).astype(np.float32)
    target = rng.normal(size=records).astype(np.float32)
    return Signals(
        logits=np.stack([target, np.zeros_like(target)], axis=1),
        labels=np.zeros(records, np.int64),
        reference_phi=phi[:, :, None],
        reference_in=inside,
    )


@pytest.mark.parametrize("variance", ["auto", "per_example", "pooled", "shrunk"])
@given(pairs=st.integers(2, 8), records=st.integers(4, 30), seed=st.integers(0, 1000))
@settings(max_examples=15, deadline=None)
def test_the_score_shown_is_the_attacks_score(variance, pairs, records, seed):
    seen, attack = signals(2 * pairs, records, seed), LiraAttack(variance=variance)
    found = fit(reference_phi=seen.reference_phi, reference_in=seen.reference_in, attack=attack)
    shown = [found.one(position=i, target=seen.phi[i]).score for i in range(records)]
    np.testing.assert_allclose(shown, attack(seen), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(found.scores(seen.phi.astype(float)), attack(seen), rtol=1e-9, atol=1e-9)


def test_a_record_computed_by_hand():
    # two records, four references; record 0: IN say 1 and 3, OUT say −1 and −5; record 1 the other way round
    phi = np.array([[1.0, 0], [3, 2], [-1, 4], [-5, 8]], np.float32)[:, :, None]
    is_in = np.array([[True, False], [True, False], [False, True], [False, True]])
    one = fit(reference_phi=phi, reference_in=is_in, attack=LiraAttack(variance="per_example")).one(
        position=0, target=2.0
    )
    assert one.inside.phi.tolist() == [1, 3] and one.outside.phi.tolist() == [-5, -1]
    assert (one.inside.median, one.inside.variance) == (2, 2) and (one.outside.median, one.outside.variance) == (-3, 8)
    # at the IN median: log(σ_out / σ_in) + (2 + 3)² / (2 · 8)
    assert one.score == pytest.approx(np.log(2) + 25 / 16)
    pooled = fit(reference_phi=phi, reference_in=is_in, attack=LiraAttack(variance="pooled")).one(
        position=0, target=2.0
    )
    assert pooled.inside.variance == (2 + 8) / 2 and pooled.outside.variance == (8 + 2) / 2


def test_densities_are_scipys_and_their_ratio_is_the_score():
    crowd = Crowd(np.array([0.0, 1.0]), 0.5, 4.0)
    at = np.linspace(-5, 5, 7)
    np.testing.assert_allclose(crowd.density(at), norm.pdf(at, 0.5, 2.0))
    one = OneRecord(1.5, crowd, Crowd(np.array([-1.0]), -1.0, 1.0), "pooled")
    assert one.score == pytest.approx(np.log(one.inside.density(1.5) / one.outside.density(1.5)))


def test_too_few_references_are_said_in_words():
    few = signals(2, 6, 0)
    with pytest.raises(BadInput, match="LiRA online needs at least 2 reference models trained on each record"):
        fit(reference_phi=few.reference_phi, reference_in=few.reference_in)
