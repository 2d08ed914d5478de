"""A cluster in a user's hands: a client, and what starts and ends the workers."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from distributed import Client

from tdmx_dask.clusters.engine import BatchJob, Engine, Joined
from tdmx_dask.clusters.identity import identity
from tdmx_dask.clusters.page_names import SERVED, page_of
from tdmx_dask.clusters.shape import published
from tdmx_dask.clusters.waiting import Watch, waits_for
from tdmx_dask.errors import ClusterError, InputError

__all__ = ["Cluster"]

LOOK = 0.05
"""Seconds between two looks while workers are waited for."""


class Cluster:
    """A Dask cluster and a client of it; a context manager that closes what it started.

    Attributes
    ----------
    client : distributed.Client
    name : of the profile or pool
    kind : local, slurm, pbs, sge, lsf, htcondor, batch, kubernetes, address, pool or joined
    """

    def __init__(
        self, client: Client, engine: Engine | None = None, *, name: str = "", owns_client: bool = True
    ) -> None:
        self.client = client
        self.engine = Joined() if engine is None else engine
        self.name = name
        self.kind = self.engine.kind
        self._owns_client = owns_client
        self._watch = Watch(client, self.engine.jobs)

    @property
    def n_workers(self) -> int:
        """Workers at the moment."""
        return int(identity(self.client)["n_workers"])

    @property
    def n_threads(self) -> int:
        """Threads of all workers."""
        return int(identity(self.client)["total_threads"])

    @property
    def expected_threads(self) -> int:
        """Threads that there will be: those of the workers that are here, or of those that were asked for; at least 1."""
        shape = published(self.client)
        return max(1, self.n_threads, 0 if shape is None else shape.threads * (shape.most or 1))

    @property
    def scheduler_address(self) -> str:
        """Address of the scheduler."""
        return str(identity(self.client)["address"])

    @property
    def dashboard_link(self) -> str:
        """Address of the Dask dashboard, on loopback of the scheduler's host."""
        return str(self.client.dashboard_link)

    @property
    def page_link(self) -> str:
        """Address of this package's page in it: fits, PTA, jobs and memory as they are now; empty where the scheduler serves none."""
        return page_of(self.dashboard_link) if self.client.get_metadata([SERVED], default=False) else ""

    @property
    def jobs(self) -> tuple[BatchJob, ...]:
        """The workers' jobs as the batch scheduler sees them; none where workers are processes of this machine."""
        return self.engine.jobs()

    def scale(self, n: int) -> None:
        """Have n workers (jobs, pods) from now on; those that are lost are replaced. Returns at once.

        Raises
        ------
        InputError
            It is no number of workers.
        ClusterError
            The cluster was joined, not started here.
        """
        _whole("n", n, 0)
        self.engine.scale(n)

    def adapt(self, minimum: int = 0, maximum: int = 1) -> None:
        """Let the number of workers follow the work between two numbers. Returns at once.

        Raises
        ------
        InputError
            They are no numbers of workers.
        ClusterError
            The cluster was joined, not started here.
        """
        _whole("minimum", minimum, 0)
        _whole("maximum", maximum, max(1, minimum))
        self.engine.adapt(minimum, maximum)

    def job_script(self) -> str:
        """The script (or manifest) that is submitted for a worker.

        Raises
        ------
        ClusterError
            Workers of this cluster are no jobs.
        """
        return self.engine.job_script()

    def wait_for_workers(
        self, n: int = 1, *, timeout: float | None = None, tell: Callable[[str], None] | None = None
    ) -> None:
        """Wait until there are n workers.

        Parameters
        ----------
        n : workers
        timeout : s; None: as long as it takes
        tell : called with a line that says what is waited for, each time that it changes

        Raises
        ------
        ClusterError
            Time is out; says what was waited for.
        """
        end = None if timeout is None else time.monotonic() + timeout
        said, asked = "", 0.0
        while self.n_workers < n:
            now = time.monotonic()
            if tell is not None and now - asked >= 1.0:
                asked, line = now, self._waits_for(n)
                if line != said:
                    said = line
                    tell(line)
            if end is not None and now > end:
                raise ClusterError(
                    "workers",
                    self.n_workers,
                    f"{n} were waited for during {timeout:g} s; {self._waits_for(n)}",
                    "Wait longer, or see tdmx cluster status.",
                )
            time.sleep(LOOK)

    def _waits_for(self, n: int) -> str:
        return waits_for(self.n_workers, n, self.jobs)

    def close(self) -> None:
        """Close the client, and the cluster if it was started here."""
        self._watch.close()
        try:
            if self._owns_client:
                self.client.close()
        finally:  # whatever becomes of the client: jobs, pods and keys must not stay
            self.engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        page = self.page_link
        return (
            f"<tdmx cluster {self.name or self.kind}: {self.n_workers} workers, {self.n_threads} threads"
            f"{', page ' if page else ''}{page}>"
        )


def _whole(name: str, value: object, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InputError(
            name, value, f"a number of workers is a whole number >= {least}", f"For example {max(1, least)}."
        )
