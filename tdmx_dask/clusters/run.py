"""Send blocks to a cluster and take their counts as they come."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from distributed import Client, Future, as_completed
from distributed.scheduler import KilledWorker

from tdmx_dask.errors import ClusterError

__all__ = ["run_blocks"]

IN_FLIGHT = 4
"""Tasks a thread that are sent ahead, so that no thread waits for the client."""


def run_blocks(
    client: Client,
    function: Callable[..., Any],
    shared: Any,
    blocks: Iterable[tuple[int, Any, Any]],
    take: Callable[[int, Any], None],
    *,
    name: str,
) -> None:
    """Run ``function(shared, block, values)`` for every block; hand each result to ``take(position, result)``.

    Parameters
    ----------
    client : of the cluster
    shared : the plan; sent once to each worker
    blocks : (position, block, values) of each task; values are sent ahead where there are any (arrays never lie in a graph)
    name : what the dashboard shows, a prefix of words such as ``tdmx-pta``

    Raises
    ------
    ClusterError
        A task took its worker down again and again, or the scheduler was lost.
    TdmxError
        What a task raised.
    """
    token = uuid.uuid4().hex
    limit = IN_FLIGHT * max(1, sum(client.nthreads().values()))
    plan = client.scatter(shared, hash=False)
    todo = iter(blocks)
    positions: dict[str, int] = {}
    queue: Any = as_completed(with_results=True, raise_errors=True)
    flying: set[Future[Any]] = set()

    def send(wanted: Iterator[tuple[int, Any, Any]]) -> bool:
        for position, block, values in wanted:
            held = None if values is None else client.scatter(values, hash=False)
            future = client.submit(function, plan, block, held, key=f"{name}-{position}-{token}", retries=2)
            positions[str(future.key)] = position
            flying.add(future)
            queue.add(future)
            return True
        return False

    try:
        while len(flying) < limit and send(todo):
            pass
        for future, result in queue:
            flying.discard(future)
            take(positions.pop(str(future.key)), result)
            send(todo)
    except KilledWorker as error:
        raise ClusterError(
            "task", error.task, "its worker died each time it ran, most often for want of memory",
            "Give the workers more memory, or make the tasks smaller with chunk_size.",
        ) from error  # fmt: skip
    except (OSError, TimeoutError) as error:
        if isinstance(error, ClusterError) or not _lost(client):
            raise
        raise ClusterError(
            "cluster", client.scheduler, "the scheduler was lost", "Start it again and resume."
        ) from error
    finally:
        if flying:
            client.cancel(list(flying), force=True)


def _lost(client: Client) -> bool:
    return bool(client.status != "running")
