"""DP-SGD's config: which noise it takes, which models, and what it says about its guarantee."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from core.config import BadInput, nested
from core.defenses import DPSGD, Use
from core.defenses.dpsgd import shown
from core.experiment import parse
from core.models import MLP, ConvNet, ResNet18, ViT


def test_target_or_sigma():
    assert (DPSGD().target_epsilon, DPSGD().sigma) == (8.0, None)
    given = DPSGD(sigma=1.5)
    assert (given.target_epsilon, given.sigma) == (None, 1.5)
    assert DPSGD.model_validate(given.model_dump()) == given
    for both in ({"target_epsilon": 8, "sigma": 1}, {"target_epsilon": None}):
        with pytest.raises(ValidationError, match="either target_epsilon or sigma: give one"):
            DPSGD.model_validate(both)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"sigma": 1e-5}, "too little noise for any accountant: set 0 .* or at least 0.0001"),
        ({"sigma": 0.2, "accountant": "prv"}, "too little noise for the PRV accountant: set accountant to auto or rdp"),
        ({"sigma": 0.0, "accountant": "prv"}, "too little noise for the PRV accountant"),
        ({"target_epsilon": 0}, "greater than 0"),
        ({"delta": 1}, "less than 1"),
        ({"clip": 0}, "greater than 0"),
        ({"physical_batch": 0}, "greater than or equal to 1"),
    ],
)
def test_values_without_meaning_are_refused(value, message):
    with pytest.raises(ValidationError, match=message):
        DPSGD.model_validate(value)
    assert DPSGD(sigma=0).sigma == 0 and DPSGD(sigma=0.2).sigma == 0.2


def use(model=MLP(), epochs: int = 2, batch_size: int = 32, members: int = 100, brought: bool = False) -> Use:  # noqa: B008
    return Use(model, epochs, batch_size, members, brought)


def test_batch_norm_is_refused_with_the_remedy():
    for model in (ConvNet(), ResNet18()):
        assert "set model.norm to group" in DPSGD().check(use(model))
        brought = DPSGD().check(use(model, brought=True))
        assert "the weights you brought were trained with it, choose another objective" in brought
        assert "set model.norm" not in brought
    for model in (ConvNet(norm="group"), ResNet18(norm="group"), MLP(), ViT()):
        assert DPSGD().check(use(model)) is None


def test_a_delta_for_whole_records_is_refused():
    assert "set it below 1 / data.members = 0.01, or leave it empty" in DPSGD(delta=0.01).check(use())
    assert DPSGD(delta=0.009).check(use()) is None


@pytest.mark.parametrize("changes", [{}, {"train.objective": {"kind": "dpsgd"}, "defence": None}], ids=str)
def test_of_weights_that_somebody_brings_the_norm_is_not_to_be_changed(changes):
    value = {
        "weights": {"trained": "x"},
        "defence": {"kind": "fine-tuning", "finetune": {"objective": {"kind": "dpsgd"}}},
    }
    with pytest.raises(BadInput, match=r"the weights you brought were trained with it, choose another objective"):
        parse(value | nested(changes))
    parse(value | nested(changes | {"model": {"kind": "convnet", "norm": "group"}}))


def test_the_guarantee_in_words():
    privacy = {"epsilon": 7.956, "delta": 5e-4, "sigma": 1.2942, "accountant": "prv"}
    assert shown(privacy) == "ε = 7.96, δ = 0.0005 (σ 1.29, PRV accountant)"
    assert shown(privacy | {"epsilon": 1000.5}).startswith("ε > 1000: vacuous, δ = 0.0005")
    assert shown(privacy | {"epsilon": None, "sigma": 0}) == "no guarantee (σ 0)"
