"""What DP-SGD guarantees: ε from the noise, and the noise for an ε, through Opacus' accountants."""

from __future__ import annotations

import math
import warnings
from functools import cache, partial
from typing import Any

import numpy as np
from opacus.accountants import create_accountant

from core.config import BadInput
from core.defenses.dpsgd import DPSGD, LEAST, LEAST_FOR_PRV, MOST, VACUOUS

WHOLE_ORDERS = list(range(2, 64))
"""RDP over these alone is a looser bound, and much faster than over Opacus' own, fractional ones too."""


@cache
def epsilon(*, sigma: float, rate: float, steps: int, delta: float, accountant: str = "auto") -> tuple[float, str]:
    """(ε, the accountant it comes from) of `steps` steps at sampling rate `rate`, noise σ and δ; inf for σ = 0.

    auto: PRV (Gopi et al. 2021), which is tighter, where it works, else RDP (Mironov et al. 2019). Raises BadInput
    where PRV is asked for and fails.
    """
    if not sigma:
        return math.inf, accountant
    account = partial(_epsilon, sigma=sigma, rate=rate, steps=steps, delta=delta)
    bound = account("rdp", alphas=WHOLE_ORDERS)
    if accountant == "prv" or (accountant == "auto" and sigma >= LEAST_FOR_PRV and bound <= VACUOUS):
        # PRV's mesh, and with it time and memory, grows with ε / error: allow a thousandth of ε
        tight = account("prv", eps_error=max(0.01, bound / 1000))
        if math.isfinite(tight):
            return tight, "prv"
    if accountant != "prv":
        return account("rdp"), "rdp"
    raise BadInput(f"the PRV accountant fails for sigma {sigma:g} over {steps} steps: set accountant to auto or rdp")


@cache
def noise_for(*, target: float, rate: float, steps: int, delta: float, accountant: str = "auto") -> float:
    """The smallest noise multiplier σ, to 0.5 %, with ε ≤ target. Raises BadInput where none is found."""

    def reached(sigma: float) -> bool:
        try:
            return epsilon(sigma=sigma, rate=rate, steps=steps, delta=delta, accountant=accountant)[0] <= target
        except BadInput:  # PRV fails where ε is large
            return False

    low = LEAST_FOR_PRV if accountant == "prv" else LEAST
    if reached(low):
        raise BadInput(
            f"target_epsilon {target:g} asks for less noise than sigma {low:g}, which the accountant cannot count: "
            + ("set accountant to auto or rdp" if accountant == "prv" else "set sigma instead")
        )
    high = 1.0
    while not reached(high):
        low, high = high, 2 * high
        if high > MOST:
            raise BadInput(
                f"no noise up to sigma {MOST:g} reaches target_epsilon {target:g} in {steps} steps at δ {delta:.1g}: "
                "raise target_epsilon, or train with fewer epochs or smaller batches"
            )
    while high - low > 5e-3 * high:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if reached(middle) else (middle, high)
    return high


def planned(objective: DPSGD, *, members: int, batch_size: int, steps: int) -> tuple[float, float, float]:
    """(sampling rate, δ, σ) of a run of so many steps. Raises BadInput where no σ reaches the target ε."""
    rate, delta = batch_size / members, objective.delta or 1 / (2 * members)
    if objective.target_epsilon is None:
        assert objective.sigma is not None
        return rate, delta, objective.sigma
    terms = {"rate": rate, "delta": delta, "accountant": objective.accountant}
    return rate, delta, noise_for(target=objective.target_epsilon, steps=steps, **terms)


def _epsilon(mechanism: str, *, sigma: float, rate: float, steps: int, delta: float, **options: Any) -> float:
    accountant = create_accountant(mechanism)
    accountant.history = [(sigma, rate, steps)]
    # at sampling rate 1 PRV takes, and drops, a logarithm of 0
    with warnings.catch_warnings(), np.errstate(divide="ignore"):
        # the best order of RDP lies outside those tried: the bound holds, it is only looser
        warnings.filterwarnings("ignore", "Optimal order is the", UserWarning)
        # PRV's upper bound falls below 0 for a large δ
        return max(0.0, float(accountant.get_epsilon(delta=delta, **options)))
