"""Clusters that run on after the command that started them: found by name. `pool_start` begins them, `pool_stop` ends them."""

from __future__ import annotations

import socket
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from tdmx_dask.errors import ClusterError, InputError, StoreError, TdmxWarning

if TYPE_CHECKING:
    from tdmx_dask.clusters.cluster import Cluster
    from tdmx_dask.clusters.pool_record import Record

__all__ = ["Pool", "find", "folder_of_pools", "is_pool", "named", "note", "pools"]

State = Literal["starting", "running", "ending", "gone", "silent", "elsewhere"]

_CONNECT = 3.0
"""Seconds in which another host has to say whether a port is open."""

_BEGUN = 600.0
"""Seconds after which a cluster that still starts on another host has died with it."""


@dataclass(frozen=True, slots=True)
class Pool:
    """A cluster that runs on, or a record of one that is gone.

    Parameters
    ----------
    record : what is known of it
    state : starting, running, ending; gone (its process lives no more); silent (another host's scheduler does not answer); elsewhere (it is
        on loopback of another host, and can be used there alone)
    """

    record: Record
    state: State

    @property
    def folder(self) -> Path:
        """With its record, credentials and log."""
        return folder_of_pools() / self.record.name


def folder_of_pools() -> Path:
    """Where the records are."""
    from tdmx_dask.config import settings

    return Path.home() / Path(settings().pools_folder).expanduser()


def find(name: str) -> Cluster | None:
    """Join the cluster that was started under a name; None where none runs.

    Raises
    ------
    ClusterError
        It runs, but cannot be joined: it is just starting or ending, its scheduler does not answer, or its versions are others.
    """
    pool = named(name)
    if pool is None:
        return None
    record = pool.record
    if pool.state == "gone":
        note(
            f"cluster {name} of {record.host} is gone: its process ended. `tdmx cluster stop {name}` clears what is left"
        )
        return None
    if pool.state != "running":
        why = {
            "starting": ("it is just being started", "Wait a moment."),
            "ending": ("it is just ending", "Start it again."),
            "silent": (f"its scheduler on {record.host} does not answer", f"tdmx cluster stop {name} --force forgets it."),
            "elsewhere": (f"it runs on loopback of {record.host}, and can be used there alone", "Go there, or start another."),
        }[pool.state]  # fmt: skip
        raise ClusterError("cluster", name, *why)
    from tdmx_dask.clusters.pool import join_pool

    return join_pool(pool.folder, record)


def is_pool(name: str) -> bool:
    """Whether a cluster runs under a name, as far as is known without asking it."""
    pool = named(name)
    return pool is not None and pool.state != "gone"


def named(name: str) -> Pool | None:
    """The cluster of a name, or what is left of it; None where there is no record."""
    from tdmx_dask.clusters.pool_record import check_name, read

    try:
        check_name(name)
    except InputError:
        return None
    record = read(folder_of_pools() / name)
    return None if record is None else Pool(record, _state(record))


def pools() -> tuple[Pool, ...]:
    """All clusters that run on, and what is left of those that are gone, by name."""
    from tdmx_dask.clusters.pool_record import names

    found = []
    for name in names(folder_of_pools()):
        try:
            pool = named(name)
        except StoreError as error:  # one damaged record hides no other
            note(str(error))
            continue
        if pool is not None:
            found.append(pool)
    return tuple(found)


def _state(record: Record) -> State:
    """By its process, where that can be seen from here; else by whether its scheduler's port is open."""
    from tdmx_dask.clusters.security import is_loopback
    from tdmx_dask.jobs.clock import Identity, identity

    ours = identity()
    if Identity(record.host, record.pid, record.born, record.space).gone():
        return "gone"
    if record.space == ours.space:
        return record.state
    if record.host != ours.host and record.address and is_loopback(record.address):
        return "elsewhere"
    if not record.address:
        return "gone" if time.time() - record.started > _BEGUN else record.state
    where = urlsplit(record.address)
    try:
        socket.create_connection((where.hostname, where.port), timeout=_CONNECT).close()
    except ConnectionRefusedError:
        return "gone"
    except OSError:
        return "silent"
    return record.state


def note(text: str) -> None:
    """Say what was found that nobody asked for."""
    warnings.warn(text, TdmxWarning, stacklevel=3)
