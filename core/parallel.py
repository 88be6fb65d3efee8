"""Fan-out of independent tasks: over the processes of one machine (joblib, loky) or over a Dask cluster by address."""

from __future__ import annotations

import contextlib
import os
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from joblib import Parallel, delayed, parallel_config

from core.config import BadInput

WAIT = 10
"""Seconds a cluster has to answer."""
POLL = 0.2
"""Seconds between two looks at whether somebody cancelled."""


def fan_out(
    function: Callable[..., Any],
    tasks: Sequence[tuple],
    *,
    shared: tuple = (),
    cluster: str = "",
    workers: int | None = None,
    check: Callable[[], None] = lambda: None,
) -> Iterator[Any]:
    """Results of function(*shared, *task) in the order in which they come; each process computes with one thread.

    shared: what every task needs, such as the records; it goes to a cluster once, not with each task. cluster: address
    of a Dask scheduler ("tcp://host:8786"); empty: processes on this machine, as many as `workers` (default: one per
    core). `check` is called several times a second and may raise to stop. Raises BadInput where the cluster does not
    answer, has no workers, or a worker process dies; results that came before stay valid.
    """
    if not tasks:
        return
    with _backend(cluster, workers or os.cpu_count() or 1, shared) as (settings, held):
        calls = (delayed(function)(*held, *task) for task in tasks)
        results = Parallel(**settings, return_as="generator_unordered")(calls)
        yield from _polled(results, check)


@contextlib.contextmanager
def _backend(cluster: str, workers: int, shared: tuple) -> Iterator[tuple[dict[str, Any], list[Any]]]:
    """(settings of `Parallel`, what stands for the shared arguments in its calls)."""
    if not cluster:
        with parallel_config(backend="loky", n_jobs=workers, inner_max_num_threads=1):
            yield {}, list(shared)
        return
    try:
        import dask
        from distributed import Client
    except ImportError:
        raise BadInput("a cluster needs the package distributed: pip install 'dask[distributed]'") from None
    try:
        client = Client(cluster, timeout=WAIT, set_as_default=False)
    except (OSError, ValueError) as error:
        raise BadInput(
            f"the cluster {cluster} does not answer within {WAIT} s; start it with `dask scheduler` and "
            f"`dask worker {cluster}`, or leave the address empty to compute here"
        ) from error
    try:
        _need_workers(client, cluster)
        with parallel_config(backend="dask", client=client):
            # as tasks, not scattered: where the worker that holds one dies, the scheduler sends it out again; Dask
            # warns of large tasks, which are only bad where there are many
            with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1 TiB"}):
                held = [client.submit(_itself, value, pure=False) for value in shared]
            # workers may come and go: as many tasks as there are go out at once, the scheduler does the rest
            yield {"n_jobs": -1}, held
    finally:
        client.close()


def _need_workers(client: Any, cluster: str) -> None:
    """BadInput where the scheduler has no workers and none comes while it may be starting."""
    with contextlib.suppress(TimeoutError):
        client.wait_for_workers(1, timeout=WAIT)
    if not client.scheduler_info()["workers"]:
        raise BadInput(f"the cluster {cluster} has no workers: start one with `dask worker {cluster}`")


def _itself(value: Any) -> Any:
    return value


def _polled(results: Iterator[Any], check: Callable[[], None]) -> Iterator[Any]:
    """The results, while `check` is called even though the next result may be minutes away."""
    box: queue.Queue[tuple[str, Any]] = queue.Queue()

    def drain() -> None:
        try:
            for result in results:
                box.put(("result", result))
            box.put(("end", None))
        except BaseException as error:
            box.put(("error", error))

    threading.Thread(target=drain, daemon=True).start()
    while True:
        check()
        try:
            what, value = box.get(timeout=POLL)
        except queue.Empty:
            continue
        if what == "end":
            return
        if what == "error":
            raise _in_words(value)
        yield value


def _in_words(error: BaseException) -> BaseException:
    if type(error).__name__ in ("TerminatedWorkerError", "BrokenProcessPool", "KilledWorker", "ShutdownExecutorError"):
        return BadInput(
            "a worker process died, most likely for want of memory; what was finished is kept: "
            "start again for the rest, with fewer workers (REWINDLAB_WORKERS)"
        )
    return error
