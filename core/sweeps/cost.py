"""How long a sweep will take: what several points share is counted once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from core.estimate import Estimate, estimate
from core.experiment import Experiment, plan
from core.machine import workers
from core.store import Store


def sweep_estimate(experiments: Sequence[Experiment], store: Store) -> Estimate:
    """Seconds of training for all experiments together, those in the store left out, spread over the processes.

    None where nothing is known of any of them; points whose rate is unknown are left out, and `basis` says so.
    `parts`: "shared" (each of these once) and "points" (what only one of them needs). Attacks and statistics are not
    included. Raises BadInput for unusable files.
    """
    seconds: dict[str, float] = {}
    needed: Counter[str] = Counter()
    basis, unknown = "", 0
    for experiment in experiments:
        found = estimate(experiment, store)
        if found.seconds is None:
            unknown += 1
            continue
        stages = plan(experiment) if found.parts else {}
        for key, part in found.parts.items():
            # reference models fan out by themselves, their estimate is divided already
            seconds[stages[key].folder] = part * (workers() if stages[key].kind == "shadows" else 1)
            needed[stages[key].folder] += 1
        basis = found.basis if found.parts or not basis else basis
    if unknown == len(experiments):
        return Estimate(None, "nothing with this architecture and shape of records was timed on this machine yet")
    if unknown:
        basis += f"; not counted: {unknown} points whose architecture was not timed yet"
    parts = {
        "shared": sum(part for folder, part in seconds.items() if needed[folder] > 1),
        "points": sum(part for folder, part in seconds.items() if needed[folder] == 1),
    }
    # no faster than the longest single training
    spread = {name: total / workers() for name, total in parts.items()}
    return Estimate(max(sum(spread.values()), max(seconds.values(), default=0.0)), basis, parts if seconds else {})
