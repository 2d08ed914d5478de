"""Clusters that run on: how whoever joined one by its name asks the process that holds it to scale it.

Both are clients of the same scheduler. Questions and answers are events of the scheduler: they go through its TLS connection, from any
host, wherever the scheduler itself runs. Whoever holds the key may ask.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from distributed import Client

from tdmx_dask.clusters.cluster import Cluster
from tdmx_dask.clusters.engine import BatchJob
from tdmx_dask.clusters.pool_record import Record, error_of, error_plain
from tdmx_dask.clusters.profile import Address
from tdmx_dask.clusters.start import join_address
from tdmx_dask.errors import ClusterError, TdmxError

__all__ = ["Desk", "PoolEngine", "join_pool"]

ASKED, ANSWERED = "tdmx-pool-asked", "tdmx-pool-answered"

PATIENCE = 30.0
"""Seconds in which the process that holds a cluster has to answer: a batch scheduler may be slow."""

_AGAIN = 0.1, 2.0
"""Seconds after which a question is asked again, at first and at most: its answer may have come before whoever asked was listening."""

_KEPT = 100
"""Answers that are kept, to be given again; nothing is done twice."""

_log = logging.getLogger(__name__)


class Desk:
    """Answers whoever joined this process's cluster.

    Parameters
    ----------
    cluster : that this process started
    stop : called when somebody asks the cluster to end, once that was answered; returns at once
    """

    def __init__(self, cluster: Cluster, stop: Callable[[], None]) -> None:
        self._cluster, self._stop = cluster, stop
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="tdmx-pool")
        self._speaker = ThreadPoolExecutor(1, thread_name_prefix="tdmx-pool-says")
        self._answers: dict[str, Mapping[str, Any] | None] = {}
        self._closed = False
        cluster.client.subscribe_topic(ASKED, self._hear)

    def close(self) -> None:
        """Answer nobody any more."""
        self._closed = True
        for thread in (self._worker, self._speaker):
            thread.shutdown(wait=False, cancel_futures=True)

    def _hear(self, event: tuple[float, Mapping[str, Any]]) -> None:
        """On the event loop: leave all work to a thread."""
        if self._closed:
            return
        asked = event[1]
        question = asked["id"]
        if question in self._answers:
            said = self._answers[question]
            if said is not None:
                self._speaker.submit(self._say, question, said)
            return
        self._answers[question] = None
        if len(self._answers) > _KEPT:
            del self._answers[next(iter(self._answers))]
        if asked["action"] == "stop":
            self._speaker.submit(self._answer_and_stop, question)
        else:
            self._worker.submit(self._answer, question, asked["action"], asked["values"])

    def _answer(self, question: str, action: str, values: Mapping[str, Any]) -> None:
        try:
            said = {"value": self._do(action, values)}
        except Exception as error:
            if not isinstance(error, TdmxError):
                _log.exception("%s %s failed", action, dict(values))
            said = {"error": error_plain(error)}
        self._say(question, said)

    def _answer_and_stop(self, question: str) -> None:
        """In this order: once the cluster ends, nobody hears an answer."""
        self._say(question, {"value": None})
        self._stop()

    def _do(self, action: str, values: Mapping[str, Any]) -> Any:
        if action not in ("jobs", "job_script", "hello"):
            _log.info("asked to %s %s", action, dict(values))
        match action:
            case "scale":
                self._cluster.scale(values["n"])
            case "adapt":
                self._cluster.adapt(values["minimum"], values["maximum"])
            case "job_script":
                return self._cluster.job_script()
            case "jobs":
                return [asdict(job) for job in self._cluster.jobs]
            case "hello":
                pass
            case _:
                raise ClusterError(
                    "action", action, "the cluster's process knows no such thing", "Start it again."
                )
        return None

    def _say(self, question: str, said: Mapping[str, Any]) -> None:
        self._answers[question] = said
        try:
            self._cluster.client.log_event(ANSWERED, {"id": question, **said})
        except Exception:  # the scheduler is gone, or this process is ending
            _log.info("nobody heard the answer", exc_info=True)


class PoolEngine:
    """The workers of a cluster that another process holds."""

    kind = "pool"

    def __init__(self, client: Client, record: Record) -> None:
        self._client, self._record = client, record
        self._waiting: dict[str, tuple[threading.Event, list[Mapping[str, Any]]]] = {}
        client.subscribe_topic(ANSWERED, self._hear)

    def scale(self, n: int) -> None:
        """Have n workers from now on."""
        self._ask("scale", n=n)

    def adapt(self, minimum: int, maximum: int) -> None:
        """Let the number of workers follow the work."""
        self._ask("adapt", minimum=minimum, maximum=maximum)

    def job_script(self) -> str:
        """The script (or manifest) that is submitted for a worker."""
        return str(self._ask("job_script"))

    def jobs(self) -> tuple[BatchJob, ...]:
        """The workers' jobs.

        Raises
        ------
        ClusterError
            The process that holds the cluster does not answer.
        """
        return tuple(BatchJob(**job) for job in self._ask("jobs"))

    def stop(self) -> None:
        """Ask the cluster to end: its workers, its scheduler, its process. Returns as soon as it was heard."""
        self._ask("hello")  # an answer shows that this client listens by now: whoever ends answers once
        self._ask("stop")

    def close(self) -> None:
        """Leave the cluster alone: it runs on."""

    def _hear(self, event: tuple[float, Mapping[str, Any]]) -> None:
        waiting = self._waiting.get(event[1]["id"])
        if waiting is not None:
            waiting[1].append(event[1])
            waiting[0].set()

    def _ask(self, action: str, **values: Any) -> Any:
        question = uuid.uuid4().hex
        answered, answers = self._waiting[question] = threading.Event(), []
        end = time.monotonic() + PATIENCE
        pause, longest = _AGAIN
        try:
            while not answers:
                if time.monotonic() > end or self._client.status != "running":
                    raise self._silent(action)
                self._client.log_event(ASKED, {"id": question, "action": action, "values": values})
                answered.wait(pause)
                pause = min(2 * pause, longest)
        except (OSError, TimeoutError) as error:
            raise self._silent(action) from error
        finally:
            del self._waiting[question]
        if "error" in answers[0]:
            raise error_of(answers[0]["error"], value=self._record.name, fix="Its log says more.")
        return answers[0].get("value")

    def _silent(self, action: str) -> ClusterError:
        record = self._record
        rule = f"its process (pid {record.pid} on {record.host}) does not answer when asked to {action.replace('_', ' ')}"
        return ClusterError("cluster", record.name, rule, f"tdmx cluster status {record.name} says more.")


def join_pool(folder: Path, record: Record) -> Cluster:
    """Join a cluster that another process holds; closing it only leaves.

    Parameters
    ----------
    folder : of the record, with the PEM files
    record : state `running`

    Raises
    ------
    ClusterError
        Its scheduler does not answer, or it has other versions of the packages that matter.
    InputError
        Its credentials cannot be read.
    """
    address = Address(
        address=record.address,
        tls_ca_file=str(folder / record.ca_file),
        tls_cert=str(folder / record.cert),
        tls_key=str(folder / record.key),
    )
    return join_address(address, name=record.name, engine=lambda client: PoolEngine(client, record))
