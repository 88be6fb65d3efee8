"""ε against Opacus' accountants called by hand and against the exact curve of the Gaussian mechanism."""

from __future__ import annotations

import math

import pytest
from opacus.accountants import PRVAccountant, RDPAccountant
from opacus.accountants.utils import get_noise_multiplier
from scipy.optimize import brentq
from scipy.stats import norm

from core.config import BadInput
from core.training.accounting import epsilon, noise_for

RUN = {"rate": 0.05, "steps": 60, "delta": 1e-3}


def step_by_step(accountant, sigma: float) -> float:
    for _ in range(RUN["steps"]):
        accountant.step(noise_multiplier=sigma, sample_rate=RUN["rate"])
    return accountant.get_epsilon(RUN["delta"])


@pytest.mark.parametrize("sigma", [0.5, 2.0])
def test_epsilon_is_opacus_own(sigma):
    assert epsilon(sigma=sigma, accountant="rdp", **RUN) == (step_by_step(RDPAccountant(), sigma), "rdp")
    found, used = epsilon(sigma=sigma, accountant="prv", **RUN)
    assert used == "prv" and found == pytest.approx(step_by_step(PRVAccountant(), sigma), abs=0.02)
    assert epsilon(sigma=sigma, **RUN) == (found, "prv")


def exact(sigma: float, steps: int, delta: float) -> float:
    """ε of `steps` Gaussian mechanisms without sampling (Balle and Wang, ICML 2018, theorem 8): one with σ/√steps."""
    mu = math.sqrt(steps) / sigma
    return brentq(lambda e: norm.cdf(mu / 2 - e / mu) - math.exp(e) * norm.cdf(-mu / 2 - e / mu) - delta, 0, 100)


@pytest.mark.parametrize(("sigma", "steps"), [(2.0, 10), (10.0, 30)])
def test_without_sampling_epsilon_is_that_of_the_gaussian_mechanism(sigma, steps):
    found = epsilon(sigma=sigma, rate=1.0, steps=steps, delta=1e-3)[0]
    assert 0 <= found - exact(sigma, steps, 1e-3) < 0.02


def test_little_noise_goes_to_rdp_and_none_has_no_guarantee():
    assert epsilon(sigma=0.39, **RUN)[1] == "rdp"
    assert epsilon(sigma=0.41, **RUN)[1] == "prv"
    much = RUN | {"rate": 0.5, "steps": 2000}
    assert epsilon(sigma=0.45, **much)[1] == "rdp" and epsilon(sigma=0.45, **much)[0] > 1000
    assert epsilon(sigma=0.0, **RUN)[0] == math.inf
    assert epsilon(sigma=3.0, rate=0.001, steps=1, delta=0.5)[0] == 0  # where PRV's bound is below zero


@pytest.mark.parametrize(("accountant", "target"), [("auto", 8.0), ("auto", 40.0), ("rdp", 2000.0), ("prv", 2.0)])
def test_the_noise_for_a_target_reaches_it_and_hardly_less_would(accountant, target):
    sigma = noise_for(target=target, accountant=accountant, **RUN)
    assert 0.9 * target < epsilon(sigma=sigma, accountant=accountant, **RUN)[0] <= target
    assert epsilon(sigma=sigma * 0.99, accountant=accountant, **RUN)[0] > target


@pytest.mark.filterwarnings("ignore:Optimal order")
def test_the_noise_is_opacus_own():
    run = {"sample_rate": RUN["rate"], "steps": RUN["steps"], "target_delta": RUN["delta"]}
    theirs = get_noise_multiplier(target_epsilon=3.0, accountant="rdp", epsilon_tolerance=1e-2, **run)
    assert noise_for(target=3.0, accountant="rdp", **RUN) == pytest.approx(theirs, rel=8e-3)


def test_targets_out_of_reach_are_named_with_a_remedy():
    with pytest.raises(BadInput, match=r"no noise up to sigma 1000 reaches target_epsilon 1e-06.*raise target_epsilon"):
        noise_for(target=1e-6, **RUN)
    with pytest.raises(BadInput, match=r"asks for less noise than sigma 0\.4.*set accountant to auto or rdp"):
        noise_for(target=500.0, accountant="prv", **RUN)
    with pytest.raises(BadInput, match="set sigma instead"):
        noise_for(target=1e12, **RUN)
