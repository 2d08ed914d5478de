"""Compare the packages of a cluster with ours: another version can give other numbers, or not understand what it is sent."""

from __future__ import annotations

import logging
import platform
import weakref
from collections.abc import Mapping
from importlib import metadata

from distributed import Client

from tdmx_dask.clusters.identity import identity
from tdmx_dask.clusters.identity import workers as workers_of
from tdmx_dask.errors import ClusterError

__all__ = ["EXACT", "SIMILAR", "compare", "installed", "refuse_other_versions"]

EXACT = ("tdmx-dask", "dask", "distributed", "stanli")
"""Packages that must be the same: they define the numbers or the protocol."""

SIMILAR = ("numpy", "xarray", "zarr")
"""Packages whose first two parts of the version must be the same."""

_log = logging.getLogger(__name__)
_seen: weakref.WeakKeyDictionary[Client, frozenset[str]] = weakref.WeakKeyDictionary()


def installed() -> dict[str, str]:
    """Versions of Python and the packages that matter, in this process; runs on workers and scheduler too."""
    found = {"python": platform.python_version()}
    for name in (*EXACT, *SIMILAR):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def compare(ours: Mapping[str, str], theirs: Mapping[str, str]) -> tuple[str, ...]:
    """What differs in a way that matters, a line each such as ``numpy 2.4.1 there, 2.3.0 here``."""
    lines = []
    for name, here in ours.items():
        there = theirs.get(name, "not installed")
        parts = None if name in EXACT else 2
        if there.split(".")[:parts] != here.split(".")[:parts]:
            lines.append(f"{name} {there} there, {here} here")
    return tuple(lines)


def refuse_other_versions(client: Client) -> None:
    """Refuse a cluster whose scheduler or workers have other versions of the packages that matter; each worker is asked once.

    Raises
    ------
    ClusterError
        Names the packages and both versions.
    """
    workers = frozenset(workers_of(client))
    new = workers - _seen.get(client, frozenset())
    if client in _seen and not new:
        return
    ours = installed()
    try:
        answers = {"the scheduler": client.run_on_scheduler(installed)}
        answers |= client.run(installed, workers=list(new)) if new else {}
    except ModuleNotFoundError as error:
        raise ClusterError(
            "cluster",
            identity(client)["address"],
            f"its scheduler or its workers lack a package ({error})",
            f"Install tdmx-dask {ours['tdmx-dask']} there, in the environment that starts them.",
        ) from error
    for who, theirs in answers.items():
        lines = compare(ours, theirs)
        if lines:
            raise ClusterError(
                "cluster",
                identity(client)["address"],
                f"{who} has other versions than this process: {'; '.join(lines)}",
                "Use the same environment in both places.",
            )
    _seen[client] = workers
