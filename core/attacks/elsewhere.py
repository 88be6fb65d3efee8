"""What an attack achieves at a threshold that was chosen elsewhere, never on the records it is judged on."""

from __future__ import annotations

import numpy as np

from core.attacks.base import Attack, Signals
from core.attacks.references import as_target
from core.metrics import (
    balanced_accuracy,
    best_balanced_accuracy,
    best_epsilon_threshold,
    best_threshold,
    epsilon_lower_bound,
    one_run_audit,
)

ATTACKED = 2
"""Reference models put in the target's place: the two of a pair, which between them trained on every record."""
GUESSED = 0.2
"""Share of the records that a one-run audit guesses, fixed before any audit: half of it the surest each way."""
SEED = 0
UNKNOWN = {"gradient_norms", "query_labels", "features", "population_features", "trajectory"}
"""Signals that are not known of reference models in the target's place: gradients, predicted labels of copies, the
records themselves, and losses along the training of the population."""
Known = tuple[np.ndarray, np.ndarray]
"""Scores and membership of records that are not judged."""

NOTHING: dict[str, float | int | str | None] = dict.fromkeys(
    (
        *(f"{name}{end}" for name in ("balanced", "best_balanced") for end in ("", "_low", "_high")),
        *("epsilon", "epsilon_true_positives", "epsilon_false_positives"),
        *("judged_members", "judged_non_members", "threshold_from"),
        *("one_run_epsilon", "one_run_guesses", "one_run_correct"),
    )
)


def shadow_scores(attack: Attack, signals: Signals) -> Known | None:
    """(scores, is_member), both [T, N], of the attack on reference models, each attacked with those of other pairs.

    None where it cannot be run on them: too few, or it looks at something that is not known of references (`UNKNOWN`,
    the population's own logits).
    """
    if signals.reference_phi is None or signals.reference_in is None or not _known(attack):
        return None
    logits = 0 if signals.reference_logits is None else len(signals.reference_logits)
    attack = attack.settled(signals)  # the two fewer references must not make it another attack
    scores, inside = [], []
    for model in range(min(ATTACKED, len(signals.reference_phi))):
        shadow, member = as_target(signals, model)
        # without the logits of references only φ is right, and only attacks on references look at nothing else
        whole = model < logits or attack.looks_at_references(shadow)
        if not whole or attack.is_compatible(shadow) or member.all() or not member.any():
            return None
        scores.append(np.asarray(attack(shadow), np.float64))
        inside.append(member)
    return (np.stack(scores), np.stack(inside)) if scores else None


def reference_logits_asked(attack: Attack) -> int | None:
    """Of how many reference models, in order, the logits are looked at by the attack or by `shadow_scores` of it; None:
    of all."""
    if "reference_logits" in attack.needs:
        return None
    on_outputs = not any(name.startswith("reference_") for name in attack.needs)
    return ATTACKED if on_outputs and _known(attack) else 0


def _known(attack: Attack) -> bool:
    """Whether reference models can stand in the target's place for this attack."""
    return not attack.needs & UNKNOWN and not getattr(attack, "class_conditional", False)


def judged(
    *, scores: np.ndarray, is_member: np.ndarray, known: Known | None, level: float, source: str = "references"
) -> dict:
    """Balanced accuracy and empirical ε at thresholds chosen on `known` records (of shadow models), with counts.

    source: where these come from, in words, for the column threshold_from.

    Without them the thresholds come from a random half of the records, and only the other half is judged. Columns as
    in `NOTHING`; all None where there are too few records to choose and judge. best_balanced is the optimistic value,
    at the threshold that suits all these records best.
    """
    member = np.asarray(is_member, bool)
    out = NOTHING | one_run(scores=scores, is_member=member, level=level)
    best = best_balanced_accuracy(scores=scores, is_member=member, level=level)
    out |= {"best_balanced": best.value, "best_balanced_low": best.low, "best_balanced_high": best.high}
    if known is None or not _both(known[1]):
        first = half(member)
        known, source = (scores[first], member[first]), "other half"
        scores, member = scores[~first], member[~first]
        if not _both(known[1]) or not _both(member):
            return out
    chosen = {"scores": known[0], "is_member": known[1]}
    found = balanced_accuracy(scores=scores, is_member=member, threshold=best_threshold(**chosen), level=level)
    called = scores >= best_epsilon_threshold(**chosen, level=level)
    counts = {"true_positives": int((called & member).sum()), "false_positives": int((called & ~member).sum())}
    sizes = {"members": int(member.sum()), "non_members": int((~member).sum())}
    return out | {
        "balanced": found.value,
        "balanced_low": found.low,
        "balanced_high": found.high,
        "epsilon": epsilon_lower_bound(**counts, **sizes, level=level),
        **{f"epsilon_{name}": count for name, count in counts.items()},
        **{f"judged_{name}": size for name, size in sizes.items()},
        "threshold_from": source,
    }


def one_run(*, scores: np.ndarray, is_member: np.ndarray, level: float) -> dict[str, float | int | None]:
    """The one-run audit on as many members as non-members, drawn where one side has more: a fair coin would not have
    favoured it, and guessing the larger side must not count as knowledge."""
    generator = np.random.default_rng(SEED)
    sides = [generator.permutation(np.flatnonzero(side)) for side in (is_member, ~is_member)]
    size = min(len(side) for side in sides)
    # in random order: equal scores are guessed by lot
    rows = generator.permutation(np.concatenate([side[:size] for side in sides]))
    guesses = 2 * max(1, round(GUESSED * size))
    found = one_run_audit(scores=scores[rows], is_member=is_member[rows], guesses=guesses, level=level)
    return {
        "one_run_epsilon": found.value,
        "one_run_guesses": found.guesses,
        "one_run_correct": found.correct,
    }


def half(is_member: np.ndarray) -> np.ndarray:
    """[N] bool: a random half of the members and of the non-members."""
    generator, first = np.random.default_rng(SEED), np.zeros(len(is_member), bool)
    for side in (is_member, ~is_member):
        rows = generator.permutation(np.flatnonzero(side))
        first[rows[: len(rows) // 2]] = True
    return first


def _both(is_member: np.ndarray) -> bool:
    return bool(is_member.any() and not is_member.all())
