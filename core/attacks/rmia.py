"""RMIA, the robust membership inference attack, online and offline."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
import scipy  # its submodules load on first use, pages start without them
from pydantic import Field

from core.attacks.base import Attack, Signals
from core.attacks.references import (
    as_target,
    asked,
    first_query,
    log_likelihood,
    masked_mean,
    problem_with_references,
    queries,
)
from core.metrics import auc

DEFAULT_A = 0.3
"""Where a is not tuned: references too few, or the population under online RMIA (Zarifzadeh 2024 uses .3 on CIFAR-10,
.6 on CIFAR-100)."""
GRID = np.round(np.linspace(0, 1, 11), 1)
TUNED_ON = 4
"""References attacked in turn to choose a: more cost time and hardly move the choice."""
TUNED_WITH = 10_000
"""Records at most in each of these attacks: their AUCs are then known to half a percent."""


class _Rmia(Attack):
    needs: ClassVar[frozenset[str]] = frozenset({"reference_phi", "reference_in"})

    gamma: float = Field(1.0, ge=1, le=1000)
    """How many times likelier than a population record a record must be to count as winning against it. It moves the
    calibrated value only: the ranking of records, and so the ROC, is the same for every γ."""

    def chosen(self, signals: Signals) -> dict[str, str | int | float]:
        assert signals.reference_phi is not None
        return {"references": len(signals.reference_phi), "γ": self.gamma} | asked(signals)

    def __call__(self, signals: Signals) -> np.ndarray:
        """[N] log ratio(x) = log p_y(x|θ) − log Pr(x), averaged over queries as LiRA averages its ratios.

        The fraction of the population that x wins against is a monotone function of it, but takes only P + 1 values:
        ranking by the ratio itself keeps the ties out of the low end of the ROC. See `calibrated`.
        """
        return self._log_ratio(signals, self._a(signals))

    def calibrated(self, signals: Signals) -> np.ndarray | None:
        """[N] score of the paper: the fraction of population records z with ratio(x)/ratio(z) ≥ γ.

        By sorting the population once, O((N + P) log P). The population is OUT of every reference, so Pr(z) takes the
        offline form in both attacks; z is asked once, x as often as there are queries. None without a population.
        """
        if signals.reference_population_phi is None or not len(signals.population_labels):
            return None
        a = self._a(signals)
        mean = scipy.special.expit(signals.reference_population_phi[:, :, 0].astype(np.float64)).mean(axis=0)
        population = log_likelihood(signals.population_phi) - np.log(offline_marginal(mean, a))
        return wins(log_ratio=self._log_ratio(signals, a), population=population, gamma=self.gamma)

    def _log_ratio(self, signals: Signals, a: float) -> np.ndarray:
        target, references = queries(signals)
        is_in, score = np.asarray(signals.reference_in, bool), np.zeros(len(target))
        for query in range(target.shape[1]):
            confidence = scipy.special.expit(references[:, :, query].astype(np.float64))
            score += log_likelihood(target[:, query]) - np.log(self._marginal(confidence, is_in, a))
        return score / target.shape[1]

    def _marginal(self, confidence: np.ndarray, is_in: np.ndarray, a: float) -> np.ndarray:
        """[N] Pr(x) from the references' confidence p_y [M, N] in one query."""
        raise NotImplementedError

    def _a(self, signals: Signals) -> float:
        """How IN confidence is extrapolated where only OUT references are at hand."""
        raise NotImplementedError


class RmiaAttack(_Rmia):
    """Play a tournament: is this record, relative to how likely it is anyway, likelier here than other records are?

    ratio(x) = p_y(x|θ) / Pr(x), with Pr(x) the mean confidence of reference models, half of which saw x; the score is
    the fraction of population records z with ratio(x) ≥ γ·ratio(z) (Zarifzadeh 2024), shown as the calibrated score;
    records are ranked by ratio(x) itself, in the same order and with fewer ties. Needs no variance, so it works with
    very few references: two to four give most of its strength. IN and OUT references weigh half each even where their
    numbers differ."""

    kind: Literal["rmia"] = "rmia"
    title: ClassVar[str] = "RMIA online"

    def is_compatible(self, signals: Signals) -> str | None:
        return problem_with_references(signals, title=self.title, inside=1, outside=1)

    def _a(self, signals: Signals) -> float:
        # only the population is extrapolated, which moves the calibrated value and no rank: not worth tuning
        return DEFAULT_A

    def _marginal(self, confidence: np.ndarray, is_in: np.ndarray, a: float) -> np.ndarray:
        inside, outside = (masked_mean(values=confidence, mask=mask) for mask in (is_in, ~is_in))
        return np.maximum((inside + outside) / 2, np.finfo(float).tiny)


class RmiaOfflineAttack(_Rmia):
    """RMIA with reference models that never saw the record: what they would say had they seen it is extrapolated.

    Pr(x) = ((1 + a)·mean_OUT + 1 − a) / 2: the unseen half of the models is taken to be at a·mean_OUT + 1 − a
    (Zarifzadeh 2024, appendix). The mean runs over the OUT references of each record and no others. One or two
    references trained once serve every later record: the best value among the cheap attacks."""

    kind: Literal["rmia_offline"] = "rmia_offline"
    title: ClassVar[str] = "RMIA offline"

    a: float | None = Field(None, ge=0, le=1)
    """How the confidence of models that saw a record follows from that of models that did not: 1 = no different,
    0 = halfway to certainty. Left empty: chosen by attacking some reference models with the others."""

    def is_compatible(self, signals: Signals) -> str | None:
        return problem_with_references(signals, title=self.title, inside=0, outside=1)

    def chosen(self, signals: Signals) -> dict[str, str | int | float]:
        return super().chosen(signals) | {"a": self._a(signals)}

    def _a(self, signals: Signals) -> float:
        return tuned_a(signals) if self.a is None else self.a

    def _marginal(self, confidence: np.ndarray, is_in: np.ndarray, a: float) -> np.ndarray:
        return offline_marginal(masked_mean(values=confidence, mask=~is_in), a)


def offline_marginal(mean_out: np.ndarray, a: float) -> np.ndarray:
    """Pr from the mean confidence of OUT models; kept above zero."""
    return np.maximum(((1 + a) * mean_out + 1 - a) / 2, np.finfo(float).tiny)


def wins(*, log_ratio: np.ndarray, population: np.ndarray, gamma: float) -> np.ndarray:
    """[N] fraction of log ratios [P] of the population at or under log ratio(x) − log γ."""
    return np.searchsorted(np.sort(population), log_ratio - np.log(gamma), side="right") / len(population)


def tuned_a(signals: Signals) -> float:
    """The a at which offline RMIA has the largest mean AUC against up to four references, attacked with the others.

    `DEFAULT_A` where no reference has others left that were trained without each record: below four models.
    """
    phi, is_in = signals.reference_phi, signals.reference_in
    assert phi is not None and is_in is not None
    # every so-many-th record: they may lie in order of class or membership
    some = slice(None, None, -(-len(signals.labels) // TUNED_WITH) or 1)
    signals = Signals(
        logits=signals.logits[some],
        labels=signals.labels[some],
        reference_phi=phi[:, some, :1],
        reference_in=is_in[:, some],
    )
    areas = []
    for target in range(min(TUNED_ON, len(phi))):
        shadow, member = as_target(signals, target)
        if problem_with_references(shadow, title="", inside=0, outside=1) or member.all() or not member.any():
            continue
        own, mean_out = log_likelihood(shadow.phi), _mean_out(shadow)
        areas.append([auc(scores=own - np.log(offline_marginal(mean_out, a)), is_member=member).value for a in GRID])
    return float(GRID[np.argmax(np.mean(areas, axis=0))]) if areas else DEFAULT_A


def _mean_out(signals: Signals) -> np.ndarray:
    _, references = first_query(signals)
    return masked_mean(
        values=scipy.special.expit(references.astype(np.float64)), mask=~np.asarray(signals.reference_in, bool)
    )
