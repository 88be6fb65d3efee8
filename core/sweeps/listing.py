"""Which sweeps were started on a store, and which experiments are there only because of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from core.experiment import finished
from core.store import Store, read_json, write_json
from core.sweeps.sweep import Sweep, points


def remember(store: Store, sweep: Sweep) -> None:
    """Note in the store that the sweep was started, and which experiments are there only because of it."""
    file = store.root / "sweeps" / f"{sweep.hash}.json"
    file.parent.mkdir(exist_ok=True)
    new = [point.experiment for point in points(sweep)]
    hashes = read_json(file)["experiments"] if file.is_file() else [e.hash for e in new if not finished(store, e.hash)]
    write_json(file, {"sweep": sweep.model_dump(mode="json"), "experiments": hashes})


def sweeps(store: Store) -> list[tuple[str, Sweep]]:
    """All sweeps ever started on this store, the latest first; those this version cannot read are left out."""
    found = []
    for file, noted in _noted(store):
        try:
            found.append((file.stem, Sweep.model_validate(noted["sweep"])))
        except ValidationError:
            continue
    return found


def in_sweeps(store: Store) -> set[str]:
    """Hashes of the experiments that are there only as points of a sweep: lists of experiments put them last."""
    return {key for _, noted in _noted(store) for key in noted["experiments"]}


def _noted(store: Store) -> list[tuple[Path, dict[str, Any]]]:
    files = sorted((store.root / "sweeps").glob("*.json"), key=lambda file: file.stat().st_mtime, reverse=True)
    return [(file, read_json(file)) for file in files]
