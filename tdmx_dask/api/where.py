"""Where a question is answered: here, on threads, or on a cluster. Chosen by measured work, and recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tdmx_dask.analysis import execute
from tdmx_dask.analysis.plan import Block, Plan
from tdmx_dask.analysis.tally import Tally
from tdmx_dask.api.question import Question
from tdmx_dask.clusters.profile import Batch, Jobs, Kubernetes, Local, Profile, read
from tdmx_dask.domain.section import nearest
from tdmx_dask.domain.units import whole
from tdmx_dask.errors import InputError

if TYPE_CHECKING:
    from tdmx_dask.clusters.cluster import Cluster

__all__ = ["Place", "choose", "cluster"]

RUNS = ("auto", "direct", "threads", "distributed")


class Place:
    """A way to run the blocks of a plan.

    Attributes
    ----------
    mode : direct, threads or distributed
    n_workers : threads of the machine or the cluster; 0 for a direct call
    seconds : of one core that the work was measured to take, 0 where it was not worth measuring
    """

    def __init__(
        self, mode: execute.Mode, n_workers: int, seconds: float, cluster: Cluster | None = None
    ) -> None:
        self.mode = mode
        self.n_workers = n_workers
        self.seconds = seconds
        self._cluster = cluster

    @property
    def attrs(self) -> dict[str, Any]:
        """What a result says of where it was made."""
        return {"run_mode": self.mode, "n_workers": max(1, self.n_workers), "measured_seconds": self.seconds}

    def cut(self, plan: Plan, chunk_size: int | None) -> tuple[Block, ...]:
        """Cut a plan into tasks for this place."""
        if chunk_size is not None:
            chunk_size = whole("chunk_size", chunk_size, "the number of draws of a task")
        return execute.cut(plan, self.seconds, self.n_workers, chunk_size)

    def run(
        self,
        kind: execute.Kind,
        question: Question,
        tally: Tally,
        take: Callable[[int, Any], None],
        done: Callable[[], None],
    ) -> None:
        """Run all open blocks; hand each result to `take`, then call `done`."""
        plan, inputs = question.plan, question.inputs
        if self.mode == "direct":
            execute.run_direct(kind, plan, inputs, tally, take, done)
        elif self.mode == "threads":
            execute.run_threads(kind, plan, inputs, tally, take, done, self.n_workers)
        else:
            from tdmx_dask.clusters.run import run_blocks
            from tdmx_dask.jobs.apart import apart

            assert self._cluster is not None  # noqa: S101

            def both(index: int, part: Any) -> None:
                take(index, part)
                done()

            blocks = ((i, block, inputs.values(block)) for i, block in tally.open_blocks())
            total = sum(1 for _ in tally.open_blocks())
            run_blocks(
                self._cluster.client, apart(execute.TASKS[kind]), plan, blocks, both, name=execute.TASK_NAMES[kind],
                total=total, seconds=self.seconds / max(1, len(tally.blocks)), threads=self.n_workers,
            )  # fmt: skip


@contextmanager
def choose(question: Question, *, on: object, run: str, n_workers: int | None) -> Iterator[Place]:
    """Decide where to run, and close what was started for it."""
    if run not in RUNS:
        raise InputError(
            "run", run, f"a run is one of {', '.join(RUNS)}", "Leave it out to choose by measured work."
        )
    if n_workers is not None:
        n_workers = whole("n_workers", n_workers, "the number of workers", fix="Leave it out for one a core.")
    if on is not None and run not in ("auto", "distributed"):
        raise InputError("run", run, "a cluster was given with on=", "Leave one of the two out.")
    seconds = 0.0 if run == "direct" else execute.measure(question.plan, question.inputs)
    if on is not None or run == "distributed":
        joined = cluster("local", n_workers=n_workers, threads_per_worker=1) if on is None else join(on)
        try:
            yield Place("distributed", joined.expected_threads, seconds, joined)
        finally:
            if on is None or joined is not on:
                joined.close()
        return
    cores = _cores() if n_workers is None else n_workers
    if run == "direct" or (run == "auto" and (seconds < execute.SMALL_WORK or cores == 1)):
        yield Place("direct", 0, seconds)
    else:
        yield Place("threads", cores, seconds)


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
        assert pool is not None  # noqa: S101
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

    try:
        content = yaml.safe_load(path.expanduser().read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise InputError(
            "cluster", path, f"it is a YAML file that can be read ({error})", "Check it."
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


def _cores() -> int:
    import os

    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
