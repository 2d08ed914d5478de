"""What runs on a cluster and how far it is: kept on the scheduler from the events of workers and clients, for whoever looks, now or later.

Listeners hear events as they come (`Client.subscribe_topic`); whoever joins later asks here. Nothing is said for this that was not said
before: fits tell of their chains, jobs of their calls, clients of the blocks that they hold back. So nobody needs what the scheduler itself
keeps of them, a thousand messages of each topic: it is let go.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from distributed import Client, SchedulerPlugin

from tdmx_dask.clusters.cancellation import JOB_PREFIX, PREFIX
from tdmx_dask.clusters.demand import TOPIC as DEMAND

__all__ = ["JOBS", "PHASES", "Progress", "Work", "install_progress", "work"]

JOBS = "tdmx-jobs"
"""With which the topics of queues begin; those of fits begin as their keys do."""

KEPT = 10_000
"""Batches, calls and runs that are remembered at most; the oldest go first."""

EVENTS = 50
"""Messages after which the scheduler forgets those of our topics; it does so whenever a client leaves, too."""

PHASES = ("starting", "retrying", "warmup", "sampling", "done", "failed")
"""Of chains, the earliest first: a fit is where its slowest chain is."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Work:
    """Something that runs.

    Parameters
    ----------
    kind : such as tdmx-pta, tdmx-fit, tdmx-job
    name : of the fit, or of the job's call; empty for blocks of profiles
    phase : of the slowest chain; empty where there are no phases
    done, total : blocks, or iterations of all chains; a total of 0: not known
    divergences : of all chains, after warm-up
    seconds : since it began
    seconds_left : at the pace so far; None where nothing is done yet, or the total is not known
    """

    kind: str
    name: str
    phase: str
    done: int
    total: int
    divergences: int
    seconds: float
    seconds_left: float | None


@dataclass(slots=True)
class _Entry:
    """A batch of chains, a call, or a client's run."""

    kind: str
    name: str
    began: float
    key: str = ""
    client: str = ""
    done: int = 0
    total: int = 0
    chains: dict[Any, tuple[str, int, int, int]] = field(default_factory=dict)


class Progress(SchedulerPlugin):
    """Remembers the last that was said of all that runs."""

    name = "tdmx-progress"
    idempotent = True

    def __init__(self) -> None:
        self._scheduler: Any = None
        self._entries: dict[tuple[str, str], _Entry] = {}
        self._heard = 0

    async def start(self, scheduler: Any) -> None:
        """Remember the scheduler."""
        self._scheduler = scheduler

    def log_event(self, topic: str, msg: Any) -> None:
        """Hear what is said."""
        if isinstance(topic, str) and topic.startswith("tdmx-"):
            self._heard += 1
            if self._heard % EVENTS == 0:
                self._forget()
        with suppress(AttributeError, IndexError, KeyError, TypeError, ValueError):  # somebody else's topic
            if topic == DEMAND:
                self._hear_client(msg)
            elif topic.startswith(f"{PREFIX}:"):
                self._hear_fit(topic, msg)
            elif topic.startswith(f"{JOBS}:"):
                self._hear_job(topic, msg)

    def remove_client(self, scheduler: Any, client: str) -> None:  # noqa: ARG002
        """Forget what a client ran."""
        for place in [place for place, entry in self._entries.items() if entry.client == client]:
            del self._entries[place]
        self._forget(client)

    def _forget(self, client: str = "") -> None:
        """Let the scheduler forget messages, and topics to which nobody listens any more: each runner has one of its own."""
        with suppress(AttributeError, KeyError):  # of another version of Dask
            topics = self._scheduler._broker._topics
            for name in [name for name in topics if name.startswith("tdmx-")]:
                topics[name].truncate()
                topics[name].unsubscribe(client)
                if not topics[name].subscribers:
                    del topics[name]

    def look(self) -> list[dict[str, Any]]:
        """All that runs, the oldest first, as plain values: fits by their name, with all their batches."""
        now = time.time()
        together: dict[tuple[str, str, str], list[_Entry]] = {}
        for (topic, place), entry in list(self._entries.items()):
            task = self._scheduler.tasks.get(entry.key) if entry.key else None
            if entry.key and (task is None or task.state != "processing"):
                del self._entries[topic, place]  # its worker died, and could not say so
                continue
            name = entry.name if entry.kind == PREFIX else place
            together.setdefault((topic, entry.kind, name), []).append(entry)
        return [_sum(entries, now) for entries in together.values()]

    def _keep(self, place: tuple[str, str], entry: _Entry) -> None:
        self._entries[place] = entry
        if len(self._entries) > KEPT:
            del self._entries[next(iter(self._entries))]

    def _hear_client(self, said: Mapping[str, Any]) -> None:
        place = (DEMAND, f"{said['client']}-{said['name']}")
        total, done = int(said["total"]), int(said["done"])
        if said["over"]:
            self._entries.pop(place, None)
        elif total:
            entry = self._entries.get(place)
            if entry is None:
                entry = _Entry(str(said["what"]), "", time.time(), client=str(said["client"]))
                self._keep(place, entry)
            entry.done, entry.total = done, total

    def _hear_fit(self, topic: str, said: Mapping[str, Any]) -> None:
        place = (topic, str(said["ticket"]))
        if "running" in said:
            if said["running"]:
                self._keep(place, _Entry(PREFIX, str(said["name"]), time.time(), key=str(said["key"])))
            else:
                self._entries.pop(place, None)
            return
        entry = self._entries.get(place)
        if entry is None:
            return
        for _, chain, _, _, phase, iteration, total, divergences, *_ in said[
            "events"
        ]:  # fields of `ChainEvent`
            entry.chains[chain] = (str(phase), int(iteration), int(total), int(divergences))

    def _hear_job(self, topic: str, said: Mapping[str, Any]) -> None:
        place = (topic, str(said["key"]))
        if said["phase"] == "started":
            name = f"{said['name']} {said['job']}".strip()
            self._keep(place, _Entry(JOB_PREFIX, name, time.time(), key=str(said["key"])))
        else:
            self._entries.pop(place, None)


def _sum(entries: list[_Entry], now: float) -> dict[str, Any]:
    chains = [chain for entry in entries for chain in entry.chains.values()]
    done = sum(entry.done for entry in entries) + sum(chain[1] for chain in chains)
    total = sum(entry.total for entry in entries) + sum(chain[2] for chain in chains)
    seconds = max(0.0, now - min(entry.began for entry in entries))
    left = seconds * (total - done) / done if done and total >= done else None
    known = [chain[0] for chain in chains if chain[0] in PHASES]
    return {
        "kind": entries[0].kind,
        "name": entries[0].name,
        "phase": min(known, key=PHASES.index) if known else "",
        "done": done,
        "total": total,
        "divergences": sum(chain[3] for chain in chains),
        "seconds": seconds,
        "seconds_left": left,
    }


def work(client: Client) -> tuple[Work, ...]:
    """What runs on a client's cluster, the oldest first; nothing where nobody installed the plugin."""
    return tuple(Work(**each) for each in client.run_on_scheduler(_look))


def _look(dask_scheduler: Any) -> list[dict[str, Any]]:
    plugin = dask_scheduler.plugins.get(Progress.name)
    return [] if plugin is None else plugin.look()


def install_progress(client: Client) -> None:
    """Install the plugin; again does nothing. Where that fails, nothing is known of what runs but its tasks."""
    try:
        client.register_plugin(Progress())
    except Exception:  # a scheduler without this package, or that takes no plugins
        _log.warning("How far things are is not kept on this scheduler", exc_info=True)
