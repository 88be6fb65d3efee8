"""HAMP's soft labels and loss: by hand, against the authors' averaging, and what cannot be reached."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from core.config import BadInput
from core.defenses import HAMP
from core.defenses.hamp import HIGHEST_GAMMA, label_entropy, top_probability
from core.experiment import parse
from tests.defenses.one_batch import gradients_fit, loss_of, softmax, some

HALF = 1.5 * math.log(2) / math.log(3)
"""γ of the label (½, ¼, ¼): its entropy is 1.5·log 2."""


@pytest.mark.parametrize(("classes", "gamma", "top"), [(10, 0.95, 0.2698), (100, 0.5, 0.641), (30, 0.5, 0.681)])
def test_published_settings(classes, gamma, top):
    assert top_probability(gamma=gamma, classes=classes) == pytest.approx(top, abs=6e-4 if top > 0.5 else 6e-5)


def test_labels_by_hand():
    assert top_probability(gamma=HALF, classes=3) == pytest.approx(0.5, abs=1e-9)
    assert top_probability(gamma=0, classes=3) == 1
    # two classes at (.75, .25): .75·log(4/3) + .25·log 4 = .562335
    assert top_probability(gamma=0.562335 / math.log(2), classes=2) == pytest.approx(0.75, abs=1e-5)


@settings(max_examples=60, deadline=None)
@given(classes=st.integers(2, 2000), gamma=st.floats(1e-6, HIGHEST_GAMMA))
def test_the_label_is_the_sharpest_that_is_allowed(classes, gamma):
    top, least = top_probability(gamma=gamma, classes=classes), gamma * math.log(classes)
    assert label_entropy(top=top, classes=classes) >= least
    assert label_entropy(top=math.nextafter(top, 1) + 1e-12, classes=classes) < least + 1e-12
    assert top * classes > 1.01


def test_the_loss_by_hand():
    # Σ q·log q = −1.039721; softCE = ½·.239545 + ½·2.239545 = 1.239545 and ¾·1.551445 + ¼·.551445 = 1.301445
    divergence = (1.239545 + 1.301445) / 2 - 1.039721
    assert loss_of(HAMP(gamma=HALF, entropy_weight=0)).item() == pytest.approx(divergence, abs=1e-6)
    # three classes: .3 of the mean entropy
    by_hand = divergence - 0.3 * (0.665573 + 0.975328) / 2
    assert loss_of(HAMP(gamma=HALF, entropy_weight=0.1)).item() == pytest.approx(by_hand, abs=1e-6)
    assert by_hand < 0


def test_hard_labels_without_reward_are_cross_entropy():
    assert loss_of(HAMP(gamma=0, entropy_weight=0)).item() == pytest.approx(0.895495, abs=1e-6)


def test_the_loss_is_k_times_the_authors():
    """Theirs: the KL term averaged over batch and classes, minus α times the mean entropy."""
    z, y = some()
    top = top_probability(gamma=0.8, classes=5)
    soft = torch.full((len(y), 5), (1 - top) / 4, dtype=torch.float64)
    soft[torch.arange(len(y)), y] = top
    entropy = torch.distributions.Categorical(logits=z).entropy().mean()
    theirs = F.kl_div(z.log_softmax(1), soft, reduction="none").mean() - 0.02 * entropy
    ours = loss_of(HAMP(gamma=0.8, entropy_weight=0.02), z, y)
    assert ours.item() == pytest.approx(5 * theirs.item(), abs=1e-5)


def test_a_slow_formula_record_by_record():
    z, y = some()
    top = top_probability(gamma=0.7, classes=5)
    total = 0.0
    for p, label in zip(softmax(z), y.tolist(), strict=True):
        q = np.full(5, (1 - top) / 4)
        q[label] = top
        total += sum(q * np.log(q / p)) + 5 * 0.01 * sum(p * np.log(p))
    found = loss_of(HAMP(gamma=0.7, entropy_weight=0.01), z, y).item()
    assert found == pytest.approx(total / len(y), abs=1e-5)


def test_gradients_by_finite_differences():
    assert gradients_fit(HAMP(entropy_weight=0.05))


def test_gamma_out_of_reach_names_the_remedy():
    with pytest.raises(BadInput, match=r"objective\.gamma: no soft label .* set gamma between 0 and 0\.9999 \(got 1\)"):
        parse({"train": {"objective": {"kind": "hamp", "gamma": 1}}})
    with pytest.raises(BadInput, match=r"set gamma between 0 and 0\.9999"):
        top_probability(gamma=1.0, classes=10)


def test_a_single_class_has_no_soft_labels():
    with pytest.raises(BadInput, match="at least 2 classes, the data have 1: use another objective"):
        loss_of(HAMP(), torch.zeros(2, 1), torch.zeros(2, dtype=torch.int64))
