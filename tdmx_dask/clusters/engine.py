"""What stands behind a cluster: something that starts and ends its workers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from tdmx_dask.errors import ClusterError

__all__ = ["BatchJob", "Engine", "Joined", "State"]

State = Literal["waiting", "running", "ending", "gone", "unknown"]


@dataclass(frozen=True, slots=True)
class BatchJob:
    """A worker's job, as its batch scheduler (or Kubernetes) sees it.

    Parameters
    ----------
    id : that of the batch scheduler
    worker : name of the worker, empty where it is not known
    state : waiting, running, ending, gone or unknown (the batch scheduler did not answer)
    reason : why it waits or has ended, in the batch scheduler's own words; empty where it says nothing
    node : on which it runs; empty where it does not
    seconds_left : of its walltime; None where it has none, or does not run
    """

    id: str
    worker: str = ""
    state: State = "unknown"
    reason: str = ""
    node: str = ""
    seconds_left: float | None = None


class Engine(Protocol):
    """Starts and ends workers. All methods may be called from any thread but that of the cluster's event loop."""

    kind: str

    def scale(self, n: int) -> None:
        """Have n workers from now on; those that are lost are replaced. Returns at once."""
        ...

    def adapt(self, minimum: int, maximum: int) -> None:
        """Let the number of workers follow the work. Returns at once."""
        ...

    def job_script(self) -> str:
        """The script (or manifest) that is submitted for a worker."""
        ...

    def jobs(self) -> tuple[BatchJob, ...]:
        """The workers' jobs; none where workers are processes of this machine."""
        ...

    def close(self) -> None:
        """End all workers, and the scheduler where it was started by this."""
        ...


class Joined:
    """Stands for a cluster that somebody else started, and will close."""

    kind = "joined"

    def scale(self, n: int) -> None:
        """Refuse."""
        raise _others("scale", n)

    def adapt(self, minimum: int, maximum: int) -> None:
        """Refuse."""
        raise _others("adapt", f"{minimum}..{maximum}")

    def job_script(self) -> str:
        """Refuse."""
        raise _others("job_script", "joined")

    def jobs(self) -> tuple[BatchJob, ...]:
        """Return nothing: they are not known."""
        return ()

    def close(self) -> None:
        """Leave it alone."""


def _others(name: str, value: object) -> ClusterError:
    return ClusterError(name, value, "this cluster was joined, not started here", "Ask where it was started.")
