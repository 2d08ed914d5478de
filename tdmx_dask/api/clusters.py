"""Clusters by what a user calls them: a profile, a file, an address, or the name of one that runs on.

Imports nothing heavy: until workers are there, nothing of the analysis is needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tdmx_dask.clusters.profile import Batch, Jobs, Kubernetes, Local, Profile, read
from tdmx_dask.domain.section import nearest
from tdmx_dask.errors import ClusterError, InputError

if TYPE_CHECKING:
    from tdmx_dask.clusters.cluster import Cluster

__all__ = ["cluster", "is_allocation", "join", "resolve"]


def cluster(profile: str | Path = "local", **options: Any) -> Cluster:
    """Start a cluster by its profile, or join one; a context manager with a ``client``, ``scale``, ``adapt`` and a ``dashboard_link``.

    Parameters
    ----------
    profile : ``local`` (worker processes on this machine, on loopback alone), ``notebook`` (one core fewer), ``slurm``, ``pbs``, ``sge``,
        ``lsf``, ``htcondor`` (workers are batch jobs), ``batch`` (all inside one SLURM allocation), ``kubernetes``, one of your
        configuration (``tdmx.clusters.NAME``), a path that ends in ``.yaml``, the name of a cluster that ``tdmx cluster start`` started, or
        an address such as ``tls://host:8786``
    options : replace those of the profile; see config/clusters/KIND.yaml. None leaves one as it is

    Raises
    ------
    InputError
        There is no such profile or option, or a value is out of range.
    ClusterError
        The workers do not come up, or the batch scheduler refuses.
    """
    from tdmx_dask.api.pools import find

    name, said = _profile(str(profile))
    if said is None:
        pool = find(name)
        if pool is None:
            raise ClusterError("cluster", name, "it has just ended", "Start it again.")
        if options:
            pool.close()
            raise InputError(
                "options", ", ".join(options), f"{name} runs already", "Leave them out, or start another."
            )
        return pool
    return _start(name, {**said, **{key: value for key, value in options.items() if value is not None}})


def resolve(profile: str | Path, options: Mapping[str, Any]) -> tuple[str, str, Profile]:
    """Name, kind and checked profile, without starting anything.

    Raises
    ------
    InputError
        There is no such profile or option, or a value is out of range.
    """
    name, said = _profile(str(profile), pools=False)
    assert said is not None  # noqa: S101
    kind, checked = read(name, {**said, **options})
    return name, kind, checked


def is_allocation(profile: str) -> bool:
    """Whether it is a profile of kind ``batch``; False where there is no such profile."""
    try:
        _, said = _profile(profile)
    except InputError:
        return False
    return said is not None and said.get("kind") == "batch"


def _profile(given: str, *, pools: bool = True) -> tuple[str, dict[str, Any] | None]:
    """The options behind what a user called a cluster; None for one that runs already."""
    from tdmx_dask.api.pools import is_pool
    from tdmx_dask.config import settings, underscored

    profiles = settings().clusters
    if "://" in given:
        return given, {**profiles["address"], "address": given}
    if given.endswith((".yaml", ".yml")):
        options = underscored(_read_file(Path(given)))
        return Path(given).stem, {**profiles.get(str(options.get("kind")), {}), **options}
    if given in profiles:
        return given, dict(profiles[given])
    if pools and is_pool(given):
        return given, None
    raise InputError(
        "cluster",
        given,
        "there is no such profile, and no cluster of this name runs",
        nearest(given, tuple(profiles)),
    )


def _read_file(path: Path) -> Mapping[str, Any]:
    import yaml

    class Loader(yaml.SafeLoader):
        """Leaves times as they are written: YAML 1.1 reads 10:00 as the number 600, and 08:00 as a text."""

    def as_written(loader: Any, node: Any) -> Any:
        kind = node.tag.rpartition(":")[2]
        return node.value if ":" in node.value else getattr(loader, f"construct_yaml_{kind}")(node)

    for kind in ("int", "float"):
        Loader.add_constructor(f"tag:yaml.org,2002:{kind}", as_written)
    try:
        content = yaml.load(path.expanduser().read_text(encoding="utf-8"), Loader)  # noqa: S506  a safe loader
    except (OSError, RuntimeError, ValueError, yaml.YAMLError) as error:
        said = " ".join(str(error).split())
        raise InputError(
            "cluster", path, f"it is a YAML file that can be read ({said})", "Check it."
        ) from error
    if not isinstance(content, Mapping):
        raise InputError(
            "cluster", path, "it holds kind and options of a profile", "See config/clusters/slurm.yaml."
        )
    return content


def _start(name: str, said: Mapping[str, Any]) -> Cluster:
    kind, profile = read(name, said)
    if isinstance(profile, Local):
        from tdmx_dask.clusters.start import start_local

        return start_local(profile, name=name)
    if isinstance(profile, Jobs):
        from tdmx_dask.clusters.jobqueue import start_jobs

        return start_jobs(kind, profile, name=name)
    if isinstance(profile, Batch):
        from tdmx_dask.clusters.allocation import start_in_allocation

        return start_in_allocation(profile, name=name)
    if isinstance(profile, Kubernetes):
        from tdmx_dask.clusters.kubernetes import start_kubernetes

        return start_kubernetes(profile, name=name)
    from tdmx_dask.clusters.start import join_address

    return join_address(profile, name=name)


def join(on: object) -> Cluster:
    """Join a cluster that runs (by object, address or the name with which it was started), or start one by its profile."""
    from tdmx_dask.api.pools import find
    from tdmx_dask.clusters.start import join as join_running

    if isinstance(on, str) and on != "current" and "://" not in on:
        return find(on) or cluster(on)
    return join_running(on)
