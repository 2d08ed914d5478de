"""What the workers of a cluster say that they can hold."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Any

from distributed import Client

from tdmx_dask.clusters.identity import workers
from tdmx_dask.clusters.shape import Shape, published

__all__ = ["Capacity", "CapacityWatch"]

_FRESH = 1.0


@dataclass(frozen=True, slots=True)
class Capacity:
    """Threads and declared resources of the workers at one moment.

    Parameters
    ----------
    threads : of each worker
    memory_mb : `MEM` of each worker, MB (10^6 bytes); None where it declares none
    cores : `CPU` of each worker; None where it declares none
    coming : a worker to come; None where nobody said what it will be like
    """

    threads: tuple[int, ...]
    memory_mb: tuple[float | None, ...]
    cores: tuple[float | None, ...]
    coming: Shape | None = None

    @property
    def n_workers(self) -> int:
        """Workers."""
        return len(self.threads)

    @property
    def all_threads(self) -> int:
        """Threads of all workers, or of all that there can be, if those are more."""
        coming = self.coming.threads * (self.coming.most or 0) if self.coming is not None else 0
        return max(sum(self.threads), coming)

    @property
    def declared(self) -> bool:
        """Whether any worker declares its memory, or those to come will."""
        if not self.threads:
            return self.coming is not None
        return any(memory is not None for memory in self.memory_mb)

    @property
    def ceiling_mb(self) -> float:
        """The most that one task may ask for, MB; 0 where none is declared."""
        most = self.coming.memory_mb if self.coming is not None else 0.0
        return max([most, *(memory for memory in self.memory_mb if memory is not None)])

    @property
    def most_cores(self) -> float:
        """The most cores that one task may ask for; 0 where none is declared."""
        most = float(self.coming.threads) if self.coming is not None else 0.0
        return max([most, *(cores for cores in self.cores if cores is not None)])

    def slots(self, memory_mb: float) -> int:
        """Tasks of one thread and `memory_mb` that can run at once, at least 1."""
        held = 0
        for threads, memory in zip(self.threads, self.memory_mb, strict=True):
            if memory is not None:
                held += min(threads, int(memory // memory_mb))
            elif not self.declared:
                held += threads
        return max(1, held, self._to_come(memory_mb))

    def _to_come(self, memory_mb: float) -> int:
        """The same of all workers that there can be: work that is not sent asks for none."""
        if self.coming is None or self.coming.most is None:
            return 0
        return self.coming.most * min(self.coming.threads, int(self.coming.memory_mb // memory_mb))


class CapacityWatch:
    """The capacity of a client's cluster, asked for at most once a second."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._lock = threading.Lock()
        self._asked = -_FRESH
        self._known = Capacity((), (), ())

    def now(self) -> Capacity:
        """Capacity at the moment, at most a second old."""
        with self._lock:
            if time.monotonic() - self._asked >= _FRESH or not self._known.n_workers:
                self._known = _read(workers(self._client), published(self._client))
                self._asked = time.monotonic()
            return self._known


def _read(known: dict[str, dict[str, Any]], coming: Shape | None) -> Capacity:
    found = list(known.values())
    return Capacity(
        tuple(int(worker["nthreads"]) for worker in found),
        tuple(worker["resources"].get("MEM") for worker in found),
        tuple(worker["resources"].get("CPU") for worker in found),
        coming,
    )
