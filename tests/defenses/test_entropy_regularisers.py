"""Label smoothing and the confidence penalty: by hand, against slow formulas, and where they meet cross-entropy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from core.defenses import ConfidencePenalty, LabelSmoothing
from tests.defenses.one_batch import gradients_fit, loss_of, softmax, some


def test_label_smoothing_by_hand():
    # mean over classes of −log p: 1.572878 and 1.218112; .9·l + .1·mean
    first, second = 0.9 * 0.239545 + 0.1 * 1.572878, 0.9 * 1.551445 + 0.1 * 1.218112
    assert loss_of(LabelSmoothing()).item() == pytest.approx((first + second) / 2, abs=1e-6)


@pytest.mark.parametrize("smoothing", [0.1, 0.6])
def test_label_smoothing_against_its_soft_targets(smoothing):
    z, y = some()
    target = np.full((len(y), 5), smoothing / 5)
    target[np.arange(len(y)), y.numpy()] += 1 - smoothing
    slow = -(target * np.log(softmax(z))).sum(1).mean()
    assert loss_of(LabelSmoothing(smoothing=smoothing), z, y).item() == pytest.approx(slow, abs=1e-5)


def test_the_confidence_penalty_by_hand():
    by_hand = 0.895495 - 0.1 * (0.665573 + 0.975328) / 2
    assert loss_of(ConfidencePenalty()).item() == pytest.approx(by_hand, abs=1e-6)


def test_the_confidence_penalty_record_by_record():
    z, y = some()
    slow = [-np.log(p[label]) + 0.4 * sum(p * np.log(p)) for p, label in zip(softmax(z), y.tolist(), strict=True)]
    assert loss_of(ConfidencePenalty(penalty=0.4), z, y).item() == pytest.approx(np.mean(slow), abs=1e-5)


def test_the_lowest_confidence_penalty_of_even_outputs():
    # all classes equal: log 3 − 2·log 3
    assert loss_of(ConfidencePenalty(penalty=2), torch.zeros(2, 3)).item() == pytest.approx(-np.log(3), abs=1e-6)


@pytest.mark.parametrize("objective", [LabelSmoothing(smoothing=0), ConfidencePenalty(penalty=0)])
def test_strength_zero_is_cross_entropy(objective):
    assert loss_of(objective).item() == pytest.approx(0.895495, abs=1e-6)


@pytest.mark.parametrize("objective", [LabelSmoothing(), ConfidencePenalty()])
def test_gradients_by_finite_differences(objective):
    assert gradients_fit(objective)


def test_bounds():
    for wrong in (-0.1, 1.0):
        with pytest.raises(ValidationError):
            LabelSmoothing(smoothing=wrong)
    with pytest.raises(ValidationError):
        ConfidencePenalty(penalty=-0.1)
