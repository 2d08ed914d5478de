"""Workers that are jobs of a batch scheduler, by dask-jobqueue: one worker a job, kept up, under TLS.

dask-jobqueue submits and cancels; what it leaves open is done here. A job that was lost, before or after its worker came, is submitted
again (`Keeper`); a submission that is refused is an error of ours; the worker finds its limits itself (`tdmx_dask.clusters.worker`); keys
are files that only their owner can read.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import math
import re
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from distributed import SpecCluster, Status
from distributed.security import Security

from tdmx_dask.clusters import security
from tdmx_dask.clusters.batch_queue import look
from tdmx_dask.clusters.client import Client
from tdmx_dask.clusters.cluster import Cluster
from tdmx_dask.clusters.dask_settings import dask_settings
from tdmx_dask.clusters.engine import BatchJob
from tdmx_dask.clusters.keeper import Keeper
from tdmx_dask.clusters.plugins import install
from tdmx_dask.clusters.profile import Jobs
from tdmx_dask.clusters.shape import Shape, publish
from tdmx_dask.clusters.start import LOOPBACK, free_port
from tdmx_dask.clusters.worker import MARGIN
from tdmx_dask.errors import ClusterError

__all__ = ["JobEngine", "options", "refusal", "script", "start_jobs"]

ADAPT = {"interval": "1s", "wait_count": 20, "target_duration": "60s"}
"""How often the number of jobs is thought over, how often in a row one must be too many before it goes, in which time work should end."""

_CLASSES = {
    "slurm": "SLURMCluster",
    "pbs": "PBSCluster",
    "sge": "SGECluster",
    "lsf": "LSFCluster",
    "htcondor": "HTCondorCluster",
}
_SUBMITS = {"slurm": "sbatch", "pbs": "qsub", "sge": "qsub", "lsf": "bsub", "htcondor": "condor_submit"}
_CONDOR = (
    "batch_name",
    "RequestCpus",
    "RequestMemory",
    "RequestDisk",
    "Output",
    "Error",
    "Stream_Output",
    "Stream_Error",
)
"""What dask-jobqueue writes for HTCondor and a site may do without; all else there is needed by these or by itself."""
_MEGA = 10**6
_MEBI = 2**20
_log = logging.getLogger("tdmx_dask")


def start_jobs(kind: str, profile: Jobs, *, name: str) -> Cluster:
    """Start a scheduler here and submit jobs that work for it.

    Raises
    ------
    ClusterError
        The batch scheduler is not here, or refuses the job: with its own words.
    InputError, StoreError
        Given credentials or the folder for keys cannot be used.
    """
    if shutil.which(_SUBMITS[kind]) is None:
        raise ClusterError(
            "cluster",
            name,
            f"{_SUBMITS[kind]} is not on the path of this host",
            "Start it where jobs are submitted.",
        )
    with contextlib.ExitStack() as held:
        tls = _credentials(profile, held)
        held.enter_context(dask_settings())
        try:
            made = _class(kind)
            told = options(kind, profile, tls, dashboard_port=free_port(profile.dashboard_port))
            started = _keeping(made)(job_cls=_remembering(made.job_cls), **told)
        except (OSError, RuntimeError, ValueError) as error:
            raise ClusterError(
                "cluster", name, f"its scheduler did not start ({error})", "See the profile."
            ) from error
        engine = JobEngine(kind, profile, started, held.pop_all())
    try:
        client = Client(started)
        most = profile.jobs if profile.maximum_jobs is None else profile.maximum_jobs
        fits_mb = int(MARGIN * profile.memory * profile.fits_share) // _MEGA
        publish(client, Shape(kind, profile.cores, fits_mb, most))
        install(client)
        engine.begin()
    except BaseException:
        engine.close()
        raise
    return Cluster(client, engine, name=name)


def options(kind: str, profile: Jobs, tls: Security, *, dashboard_port: int = 0) -> dict[str, Any]:
    """What dask-jobqueue is told."""
    log = Path(profile.log_directory).expanduser()
    log.mkdir(mode=0o700, parents=True, exist_ok=True)
    scheduler: dict[str, Any] = {
        "dashboard_address": f"{LOOPBACK}:{dashboard_port}",
        "port": profile.scheduler_port,
    }
    if profile.scheduler_interface is not None:
        scheduler["interface"] = profile.scheduler_interface
    worker = [
        "--memory", str(profile.memory),
        "--cores", str(profile.cores),
        "--fits-share", f"{profile.fits_share:g}",
        "--until", f"{profile.walltime:.0f}",
        "--longest-task", f"{profile.longest_task:g}",
        *(["--scratch", f"'{profile.local_directory}'"] if profile.local_directory else []),
    ]  # fmt: skip
    return {
        "cores": profile.cores,
        "memory": profile.memory,
        "processes": 1,
        "job_name": profile.job_name,
        "interface": profile.interface,
        "security": tls,
        "protocol": "tls://",
        "scheduler_options": scheduler,
        "log_directory": str(log),
        "python": profile.python,
        "job_script_prologue": list(profile.prologue),
        "job_extra_directives": _directives(kind, profile),
        "job_directives_skip": _skipped(kind, profile),
        "worker_command": "tdmx_dask.clusters.worker",
        "worker_extra_args": worker,
        "death_timeout": round(profile.start_timeout),
        "silence_logs": logging.CRITICAL,
        **_own(kind, profile),
    }


def _own(kind: str, profile: Jobs) -> dict[str, Any]:
    """What one batch scheduler alone is told, in its own units."""
    minutes, seconds = divmod(math.ceil(profile.walltime), 60)
    clock = f"{minutes // 60:02d}:{minutes % 60:02d}:{seconds:02d}"
    if kind == "slurm":  # its M is 2^20 bytes; rounded up, so that the job has what the worker plans with
        return {
            "queue": profile.queue,
            "account": profile.account,
            "walltime": clock,
            "job_mem": f"{math.ceil(profile.memory / _MEBI)}M",
        }
    if kind == "pbs":
        spec = {"resource_spec": profile.resource_spec} if profile.resource_spec else {}
        return {"queue": profile.queue, "account": profile.account, "walltime": clock, **spec}
    if kind == "sge":
        return {
            "queue": profile.queue,
            "project": profile.account,
            "walltime": clock,
            "resource_spec": profile.resource_spec,
        }
    if kind == "lsf":  # hours:minutes
        whole = math.ceil(profile.walltime / 60)
        return {
            "queue": profile.queue,
            "project": profile.account,
            "walltime": f"{whole // 60:02d}:{whole % 60:02d}",
        }
    return {  # dask-jobqueue rounds memory down to MiB, disk to KiB: whole ones lose nothing
        "disk": math.ceil(profile.disk / 1024) * 1024,
        "memory": math.ceil(profile.memory / _MEBI) * _MEBI,
    }


def _directives(kind: str, profile: Jobs) -> list[str] | dict[str, str]:
    """Further directives; HTCondor's are `name = value`."""
    if kind != "htcondor":
        return list(profile.directives)
    pairs = [line.partition("=") for line in profile.directives]
    return {key.strip(): value.strip() for key, _, value in pairs}


def _skipped(kind: str, profile: Jobs) -> list[str]:
    """Texts of directives to leave out; of HTCondor dask-jobqueue wants whole names, and only such as there are."""
    if kind != "htcondor":
        return list(profile.directives_skip)
    names = (*_CONDOR, *_directives(kind, profile))
    return [name for name in dict.fromkeys(names) if any(text in name for text in profile.directives_skip)]


def _class(kind: str) -> Any:
    """dask-jobqueue's class; importing it would take Ctrl-C for itself, and fail in a thread."""
    made = _without_handlers()
    return getattr(made, _CLASSES[kind])


def _without_handlers() -> ModuleType:
    original = signal.signal
    signal.signal = lambda *_: None
    try:
        return importlib.import_module("dask_jobqueue")
    finally:
        signal.signal = original


def _credentials(profile: Jobs, held: contextlib.ExitStack) -> Security:
    """Those of the profile, or new ones in a folder of their own that the nodes see, removed in the end."""
    if profile.tls_ca_file and profile.tls_cert and profile.tls_key:
        return security.from_files(
            security.Credentials(profile.tls_ca_file, profile.tls_cert, profile.tls_key)
        )
    try:
        parent = Path(profile.shared_folder).expanduser()
        parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        keys = Path(tempfile.mkdtemp(prefix="keys-", dir=parent))
    except (OSError, RuntimeError) as error:
        raise ClusterError(
            "shared_folder",
            profile.shared_folder,
            f"it is a folder that this host and all nodes see ({error})",
            "Name another.",
        ) from error
    held.callback(shutil.rmtree, keys, ignore_errors=True)
    return security.from_files(security.write(security.temporary(), keys))


class JobEngine:
    """Jobs of a batch scheduler that work for a scheduler in this process."""

    def __init__(self, kind: str, profile: Jobs, started: Any, held: contextlib.ExitStack) -> None:
        self.kind = kind
        self._profile = profile
        self._started = started
        self._held = held
        self._keeper = Keeper(started, lambda ids: look(kind, ids), self._log_of)
        self._lock = threading.Lock()

    def begin(self) -> None:
        """Submit the first jobs; raise what the batch scheduler says against them."""
        if self._profile.maximum_jobs is not None:
            self._try()
            self.adapt(self._profile.minimum_jobs, self._profile.maximum_jobs)
        else:
            self._started.scale(self._profile.jobs)
        with contextlib.suppress(
            RuntimeError
        ):  # what was refused is looked up below: another call may have got the error
            self._started.sync(self._started._correct_state)
        for job in list(self._started.workers.values()):
            if job.refusal:
                raise self._refused(job.refusal)
        self._keeper.start()

    def _try(self) -> None:
        """Let SLURM judge a job before there is work for one; other batch schedulers cannot."""
        if self.kind == "slurm":
            script = self.job_script()
            command = [shutil.which("sbatch") or "sbatch", "--test-only"]
            done = subprocess.run(command, input=script, capture_output=True, text=True, check=False)  # noqa: S603
            if done.returncode:
                raise self._refused(done.stderr)

    def _refused(self, text: str) -> ClusterError:
        rule = f"the batch scheduler refused the job: {' '.join(text.split())[:400]}"
        return ClusterError(
            "cluster", self.kind, rule, "See the profile, and what tdmx cluster script prints."
        )

    def scale(self, n: int) -> None:
        """Submit or cancel jobs until there are n."""
        with self._lock:
            self._stop_adapting()
            self._keeper.forgive()
            self._started.scale(jobs=n)

    def adapt(self, minimum: int, maximum: int) -> None:
        """Let the number of jobs follow the work."""
        with self._lock:
            self._stop_adapting()
            self._keeper.forgive()
            self._started.adapt(minimum_jobs=minimum, maximum_jobs=maximum, **ADAPT)

    def job_script(self) -> str:
        """What is submitted."""
        return str(self._started.job_script())

    def jobs(self) -> tuple[BatchJob, ...]:
        """Ask the batch scheduler about all jobs."""
        return self._keeper.jobs()

    def close(self) -> None:
        """Cancel all jobs, end the scheduler, remove the keys."""
        with self._lock, self._held:
            self._stop_adapting()
            self._keeper.stop()
            with contextlib.suppress(TimeoutError):
                try:
                    self._started.sync(self._keeper.release)
                finally:
                    self._started.close(timeout=30)

    def _stop_adapting(self) -> None:
        adaptive = getattr(self._started, "_adaptive", None)
        if adaptive is not None:
            adaptive.stop()

    def _log_of(self, job: str) -> str:
        """The last lines of what a job said."""
        folder = Path(self._profile.log_directory).expanduser()
        for path in sorted(folder.glob(f"*{job}*"), key=lambda found: found.suffix != ".err"):
            with contextlib.suppress(OSError, UnicodeDecodeError):
                lines = [line.strip() for line in path.read_text().splitlines() if line.strip()]
                if lines:
                    return " / ".join(lines[-3:])[-400:]
        return ""


def _keeping(cluster: Any) -> Any:
    """The class of a cluster that leaves lost workers to `Keeper`: Dask cancels the job of one that its nanny is about to start anew."""

    def update(self: Any, op: str, msg: Any) -> None:
        super(SpecCluster, self)._update_worker_status(op, msg)

    return type(cluster.__name__, (cluster,), {"_update_worker_status": update})


_STDERR = re.compile(r"stderr:\n(.*?)\n*\Z", re.DOTALL)


def _remembering(job: Any) -> Any:
    """The class of a job that remembers why it was refused; dask-jobqueue hands the error to whoever happened to ask."""

    class Job(job):  # type: ignore[misc]
        refusal = ""

        async def start(self) -> None:
            try:
                await super().start()
            except (OSError, RuntimeError, ValueError) as error:
                self.refusal = refusal(error)
                self.status = Status.failed
                raise

        async def close(self) -> None:
            await super().close()
            self.status = Status.closed

    return Job


def refusal(error: BaseException) -> str:
    """What a submitting command said, without dask-jobqueue's frame."""
    found = _STDERR.search(str(error))
    text = found.group(1) if found and found.group(1).strip() else str(error)
    return " ".join(text.split())[:400]


def script(kind: str, profile: Jobs) -> str:
    """The job script of a profile, without starting or submitting anything; its scheduler's address and key files are placeholders."""
    files: Mapping[str, str] = {"tls_ca_file": "ca.pem", "tls_cert": "cert.pem", "tls_key": "key.pem"}
    folder = f"{profile.shared_folder}/keys"
    paths = {key: getattr(profile, key) or f"{folder}/{name}" for key, name in files.items()}
    tls = Security(
        require_encryption=True,
        tls_ca_file=paths["tls_ca_file"],
        tls_worker_cert=paths["tls_cert"],
        tls_worker_key=paths["tls_key"],
    )
    given = options(kind, profile, tls)
    for key in ("scheduler_options", "silence_logs"):
        given.pop(key)
    job = _class(kind).job_cls("tls://SCHEDULER:PORT", name="WORKER", **given)
    return str(job.job_script())
