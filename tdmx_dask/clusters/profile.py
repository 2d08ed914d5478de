"""What a profile of `tdmx.cluster` can say: one frozen class a kind, the schema of the YAML files and of the keyword arguments.

`read` makes a profile of a mapping, with an error that names the option, its value and the nearest known one. A field's metadata has its
check; its name with hyphens is its key in YAML.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from typing import Any

from tdmx_dask.clusters import options as check
from tdmx_dask.errors import InputError

__all__ = ["BATCH", "KINDS", "Address", "Batch", "Jobs", "Kubernetes", "Local", "Profile", "read"]

BATCH = ("slurm", "pbs", "sge", "lsf", "htcondor")
"""Kinds whose workers are jobs of a batch scheduler."""


def _option(default: Any, rule: check.Check) -> Any:
    return field(default=default, metadata={"check": rule})


@dataclass(frozen=True, slots=True, kw_only=True)
class Local:
    """Worker processes on this machine, on loopback alone.

    Parameters
    ----------
    work : what they are for: `kernels` (PTA, CFR: a process a core), `fits` (Stan: one process with many threads, for a fit runs in
        a process of its own, and memory is best shared out from one purse)
    n_workers, threads_per_worker : None: by `work` and the cores that this process may use
    memory_limit : bytes a worker with its fits, or `auto`: its share of the memory that this process may use
    fits_share : fraction of a worker's memory that the processes of its fits may use; the rest is for arrays
    reserve_cores : left to others, where the numbers above are not given
    processes : False keeps the workers in this process
    dashboard_port : on loopback; another where it is taken; 0: any
    tls : whether workers and clients prove who they are; without, every user of this machine can run code as you
    local_directory : for spilled data; None: a temporary folder of mode 0700
    """

    work: str = _option("kernels", check.choice("kernels", "fits"))
    n_workers: int | None = _option(None, check.optional(check.count(1, "the number of workers")))
    threads_per_worker: int | None = _option(None, check.optional(check.count(1, "the number of threads")))
    memory_limit: int | str = _option("auto", check.either("auto", check.memory))
    fits_share: float = _option(0.5, check.fraction)
    reserve_cores: int = _option(0, check.count(0, "the number of cores left free"))
    processes: bool = _option(True, check.flag)
    dashboard_port: int = _option(8787, check.port)
    tls: bool = _option(True, check.flag)
    local_directory: str | None = _option(None, check.optional(check.path))


@dataclass(frozen=True, slots=True, kw_only=True)
class Jobs:
    """Workers that are jobs of a batch scheduler: one worker a job, on one node.

    Parameters
    ----------
    jobs : submitted at the start, and kept up: a lost one is submitted again
    minimum_jobs, maximum_jobs : where a maximum is given, the number follows the work between the two, and `jobs` is ignored
    cores, memory : of a job; memory in bytes
    walltime : s of a job
    longest_task : s; a worker begins nothing once less than this is left of its walltime, and ends when it is idle
    fits_share : fraction of a job's memory that the processes of its fits may use; the rest is for arrays
    queue : partition, queue
    account : account, project
    job_name : of the jobs
    interface : network of workers and scheduler, such as `ib0`; None: that by which the host is known
    scheduler_interface : where the login node has another
    scheduler_port : 0: any that is free
    dashboard_port : on loopback of the scheduler's host; 0: any
    shared_folder : seen by this host and all nodes: credentials (mode 0700)
    local_directory : scratch on the node, may name variables of the node such as `$TMPDIR`; None: the job's temporary folder
    log_directory : of the jobs' output
    python : interpreter on the nodes; None: this one
    prologue : lines of the job script before the worker starts, such as `module load`
    directives : further directives, without their prefix
    directives_skip : texts; directives of the job script that contain one are left out
    resource_spec : of PBS and SGE, in place of that made from cores and memory
    disk : bytes; HTCondor needs it
    start_timeout : s that a started worker waits for its scheduler
    tls_ca_file, tls_cert, tls_key : PEM files; None: temporary credentials of this cluster
    """

    jobs: int = _option(1, check.count(0, "the number of jobs"))
    minimum_jobs: int = _option(0, check.count(0, "the least number of jobs"))
    maximum_jobs: int | None = _option(None, check.optional(check.count(1, "the largest number of jobs")))
    cores: int = _option(4, check.count(1, "the number of cores"))
    memory: int = _option(8 * 2**30, check.memory)
    walltime: float = _option(3600.0, check.duration)
    longest_task: float = _option(600.0, check.duration)
    fits_share: float = _option(0.5, check.fraction)
    queue: str | None = _option(None, check.optional(check.text))
    account: str | None = _option(None, check.optional(check.text))
    job_name: str = _option("tdmx", check.text)
    interface: str | None = _option(None, check.optional(check.text))
    scheduler_interface: str | None = _option(None, check.optional(check.text))
    scheduler_port: int = _option(0, check.port)
    dashboard_port: int = _option(8787, check.port)
    shared_folder: str = _option("~/.local/share/tdmx", check.path)
    local_directory: str | None = _option(None, check.optional(check.path))
    log_directory: str = _option("~/.local/share/tdmx/logs", check.path)
    python: str | None = _option(None, check.optional(check.text))
    prologue: tuple[str, ...] = _option((), check.texts)
    directives: tuple[str, ...] = _option((), check.texts)
    directives_skip: tuple[str, ...] = _option((), check.texts)
    resource_spec: str | None = _option(None, check.optional(check.text))
    disk: int = _option(2**30, check.memory)
    start_timeout: float = _option(600.0, check.duration)
    tls_ca_file: str | None = _option(None, check.optional(check.path))
    tls_cert: str | None = _option(None, check.optional(check.path))
    tls_key: str | None = _option(None, check.optional(check.path))


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Scheduler, client and workers inside one SLURM allocation: every task of `srun` runs the same command.

    Parameters
    ----------
    interface : network of workers and scheduler; None: that by which the node is known
    shared_folder : seen by all nodes: credentials and the scheduler's address (mode 0700)
    local_directory : scratch on the node; None: the job's temporary folder
    longest_task, fits_share : as of `Jobs`
    start_timeout : s that the tasks of the allocation wait for each other
    """

    interface: str | None = _option(None, check.optional(check.text))
    shared_folder: str = _option("~/.local/share/tdmx", check.path)
    local_directory: str | None = _option(None, check.optional(check.path))
    longest_task: float = _option(600.0, check.duration)
    fits_share: float = _option(0.5, check.fraction)
    start_timeout: float = _option(600.0, check.duration)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kubernetes:
    """A `DaskCluster` of the Dask operator, in pods that run this package's image.

    Parameters
    ----------
    name, namespace : of the DaskCluster; one that exists is joined, another is created and deleted at the end
    image : with this package in it
    n_workers : pods of the group for kernels
    minimum, maximum : where a maximum is given, the operator's autoscaler follows the work between the two
    cores, memory : of a pod, requests = limits; memory in bytes
    fits_workers, fits_cores, fits_memory : the same of the group for fits, whose memory is for the processes of fits
    tls_secret : Secret with `ca.crt`, `tls.crt`, `tls.key`, in the pods
    tls_ca_file, tls_cert, tls_key : PEM files of this client
    service_account, image_pull_secret : names; None: the namespace's default
    node_selector : labels that the nodes must bear
    """

    name: str = _option("tdmx", check.text)
    namespace: str = _option("default", check.text)
    image: str = _option("tdmx-dask:latest", check.text)
    n_workers: int = _option(2, check.count(0, "the number of pods"))
    minimum: int = _option(0, check.count(0, "the least number of pods"))
    maximum: int | None = _option(None, check.optional(check.count(1, "the largest number of pods")))
    cores: int = _option(2, check.count(1, "the number of cores"))
    memory: int = _option(4 * 2**30, check.memory)
    fits_workers: int = _option(0, check.count(0, "the number of pods"))
    fits_cores: int = _option(4, check.count(1, "the number of cores"))
    fits_memory: int = _option(8 * 2**30, check.memory)
    tls_secret: str = _option("tdmx-tls", check.text)
    tls_ca_file: str | None = _option(None, check.optional(check.path))
    tls_cert: str | None = _option(None, check.optional(check.path))
    tls_key: str | None = _option(None, check.optional(check.path))
    service_account: str | None = _option(None, check.optional(check.text))
    image_pull_secret: str | None = _option(None, check.optional(check.text))
    node_selector: Mapping[str, str] = field(default_factory=dict, metadata={"check": check.mapping})


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A scheduler that runs already.

    Parameters
    ----------
    address : such as ``tls://host:8786``; ``tcp://`` on loopback alone
    tls_ca_file, tls_cert, tls_key : PEM files; None: those of Dask's configuration
    """

    address: str = _option("tcp://127.0.0.1:8786", check.text)
    tls_ca_file: str | None = _option(None, check.optional(check.path))
    tls_cert: str | None = _option(None, check.optional(check.path))
    tls_key: str | None = _option(None, check.optional(check.path))


Profile = Local | Jobs | Batch | Kubernetes | Address

KINDS: Mapping[str, type[Profile]] = {
    "local": Local,
    **dict.fromkeys(BATCH, Jobs),
    "batch": Batch,
    "kubernetes": Kubernetes,
    "address": Address,
}
"""The kinds of profiles and what each can say."""


def read(name: str, given: Mapping[str, Any]) -> tuple[str, Profile]:
    """Make a profile of what a file and keyword arguments say.

    Parameters
    ----------
    name : of the profile, for errors
    given : `kind` and options; hyphens and underscores are the same

    Returns
    -------
    kind, profile

    Raises
    ------
    InputError
        An unknown kind or option (with the nearest known one), or a value out of range.
    """
    values = {str(key).replace("-", "_"): value for key, value in given.items()}
    kind = values.pop("kind", None)
    if not isinstance(kind, str) or kind not in KINDS:
        raise InputError(
            f"{name}.kind", kind, "there is no such kind of cluster", f"Known: {', '.join(KINDS)}."
        )
    schema = KINDS[kind]
    checks = {option.name: option.metadata["check"] for option in fields(schema)}
    for key, value in values.items():
        if key not in checks:
            near = get_close_matches(key, checks, 1)
            fix = f"Did you mean {near[0]}?" if near else f"Known: {', '.join(checks)}."
            raise InputError(f"{name}.{key}", value, f"a cluster of kind {kind} has no such option", fix)
    profile = schema(**{key: checks[key](f"{name}.{key}", value) for key, value in values.items()})
    _agree(name, kind, profile)
    return kind, profile


_OF_SOME = {
    "queue": ("slurm", "pbs", "sge", "lsf"),
    "account": ("slurm", "pbs", "sge", "lsf"),
    "resource_spec": ("pbs", "sge"),
}


def _agree(name: str, kind: str, profile: Profile) -> None:
    """Refuse options that contradict each other, or mean nothing to a batch scheduler."""
    said = {option.name: getattr(profile, option.name) for option in fields(profile)}
    for least, most in (("minimum_jobs", "maximum_jobs"), ("minimum", "maximum")):
        if said.get(most) is not None and said[least] > said[most]:
            raise InputError(
                f"{name}.{least}", said[least], f"it is at most {most}, {said[most]}", "Lower it."
            )
    for key, kinds in _OF_SOME.items():
        if kind in BATCH and kind not in kinds and said[key] is not None:
            raise InputError(
                f"{name}.{key}", said[key], f"{kind} has no such thing", "Leave it out; see directives."
            )
    if isinstance(profile, Jobs) and profile.longest_task >= profile.walltime:
        raise InputError(
            f"{name}.longest_task",
            f"{profile.longest_task:g} s",
            f"a worker begins no task in the last longest_task of its walltime, {profile.walltime:g} s, and would never begin one",
            "Ask for a longer walltime, or promise shorter tasks.",
        )
    tls = [key for key in ("tls_ca_file", "tls_cert", "tls_key") if key in said]
    given = [key for key in tls if said[key] is not None]
    if given and given != tls:
        missing = next(key for key in tls if key not in given)
        raise InputError(
            f"{name}.{missing}", None, "credentials are three PEM files", f"Give {missing} also."
        )
