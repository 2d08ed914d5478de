"""What the workers of a cluster say that they can hold."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Any

from distributed import Client

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
    """

    threads: tuple[int, ...]
    memory_mb: tuple[float | None, ...]
    cores: tuple[float | None, ...]

    @property
    def n_workers(self) -> int:
        """Workers."""
        return len(self.threads)

    @property
    def declared(self) -> bool:
        """Whether any worker declares its memory."""
        return any(memory is not None for memory in self.memory_mb)

    @property
    def ceiling_mb(self) -> float:
        """The most that one task may ask for, MB; 0 where none is declared."""
        return max((memory for memory in self.memory_mb if memory is not None), default=0.0)

    @property
    def most_cores(self) -> float:
        """The most cores that one task may ask for; 0 where none is declared."""
        return max((cores for cores in self.cores if cores is not None), default=0.0)

    def slots(self, memory_mb: float) -> int:
        """Tasks of one thread and `memory_mb` that can run at once, at least 1."""
        held = 0
        for threads, memory in zip(self.threads, self.memory_mb, strict=True):
            if memory is not None:
                held += min(threads, int(memory // memory_mb))
            elif not self.declared:
                held += threads
        return max(1, held)


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
                self._known = _read(self._client.scheduler_info(n_workers=-1)["workers"])
                self._asked = time.monotonic()
            return self._known


def _read(workers: dict[str, dict[str, Any]]) -> Capacity:
    found = list(workers.values())
    return Capacity(
        tuple(int(worker["nthreads"]) for worker in found),
        tuple(worker["resources"].get("MEM") for worker in found),
        tuple(worker["resources"].get("CPU") for worker in found),
    )
