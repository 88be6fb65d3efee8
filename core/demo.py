"""The demo experiment: the defaults of every config, on data that come with the installation."""

from __future__ import annotations

from core import jobs
from core.config import BadInput
from core.experiment import Experiment, finished
from core.store import Store


def start_demo(store: Store) -> str:
    """Starts the demo as a job, or finds it finished or under way; its hash."""
    demo = Experiment()
    if not finished(store, demo.hash):
        jobs.submit(store, demo.model_dump(mode="json"), demo.hash)
    return demo.hash


def start_demo_on_empty_store() -> None:
    """For the app's start: a person who opens an empty store sees something real within a minute."""
    try:
        store = Store()
    except BadInput:
        return  # the page says what is wrong with the store
    if not jobs.listing(store) and not any(store.root.glob("experiment-*")):
        start_demo(store)
