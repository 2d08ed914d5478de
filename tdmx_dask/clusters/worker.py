"""A worker that knows its limits: ``python -m tdmx_dask.clusters.worker SCHEDULER [options]``, in batch jobs, pods and containers.

It takes the smaller of what was asked for and what its node really allows (control groups, SLURM's job), declares `MEM` and `CPU` by it,
keeps its scratch where nobody else can look, listens beyond loopback only for Dask's own protocol, and becomes distributed's own
worker, which gets all options that are not named here.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from tdmx_dask.clusters import options as check
from tdmx_dask.clusters.resources import available_cores, available_memory
from tdmx_dask.errors import InputError, TdmxError

__all__ = ["END", "LONGEST_TASK", "Node", "Plan", "Start", "end_of_job", "main", "plan", "prepare"]

END = "TDMX_JOB_END"
"""Environment: when the job ends, s since the epoch."""
LONGEST_TASK = "TDMX_LONGEST_TASK"
"""Environment: s before it from which the worker begins nothing."""

MARGIN = 0.95
"""Of a job's memory that the worker plans with: the rest is for the nanny and what is not counted; beyond the limit the kernel kills."""

PROLOGUE = 300.0
"""Seconds that a job may spend before its worker starts; a parent that is older is not the job's shell."""

_MEGA = 10**6


@dataclass(frozen=True, slots=True)
class Node:
    """What a process may use where it runs.

    Parameters
    ----------
    cores : at least 1
    memory : bytes
    """

    cores: int
    memory: int


@dataclass(frozen=True, slots=True)
class Plan:
    """How a worker uses its node.

    Parameters
    ----------
    threads : of the worker
    arrays : bytes of the worker process itself, Dask's `memory_limit`
    fits_mb : MB (10^6 bytes) of the processes of its fits together, the resource `MEM`
    """

    threads: int
    arrays: int
    fits_mb: int


def plan(node: Node, *, cores: int | None, memory: int | None, fits_share: float) -> Plan:
    """Divide the smaller of what was asked for and what there is.

    Parameters
    ----------
    node : what there is
    cores, memory : asked for; None: all that there is; memory in bytes
    fits_share : fraction of the memory for the processes of fits
    """
    threads = node.cores if cores is None else min(cores, node.cores)
    usable = int(MARGIN * (node.memory if memory is None else min(memory, node.memory)))
    fits = int(usable * fits_share)
    return Plan(threads, usable - fits, fits // _MEGA)


def end_of_job(environment: Mapping[str, str], until: float | None, *, born: float) -> float | None:
    """When the batch scheduler will end this job, s since the epoch; None where it will not.

    Parameters
    ----------
    environment : of the job; SLURM says the end in it
    until : s that the job was given
    born : when this process began, s since the epoch: the job began a little earlier
    """
    said = environment.get("SLURM_JOB_END_TIME", "")
    if said.isascii() and said.isdigit() and int(said) > born:
        return float(said)
    return None if until is None else born + until


@dataclass(frozen=True, slots=True)
class Start:
    """How distributed's own worker is started.

    Parameters
    ----------
    line : its options
    scratch : folder that was made for it
    environment : what `tdmx_dask.clusters.walltime` needs to know
    """

    line: tuple[str, ...]
    scratch: Path
    environment: Mapping[str, str]


def prepare(arguments: Sequence[str], environment: Mapping[str, str], node: Node) -> Start:
    """Make of our options, the job's environment and the node's limits those of distributed's own worker; makes the scratch folder.

    Raises
    ------
    InputError
        An option out of range, or a scratch folder that cannot be made.
    """
    given, rest = _parser().parse_known_args(list(arguments))
    memory = None if given.memory == "auto" else check.memory("memory", _number(given.memory))
    cores = (
        None
        if given.cores == "auto"
        else check.count(1, "the number of cores")("cores", _number(given.cores))
    )
    share = check.fraction("fits-share", _number(given.fits_share))
    until = None if given.until is None else check.duration("until", _number(given.until))
    longest = check.duration("longest-task", _number(given.longest_task))
    divided = plan(node, cores=cores, memory=memory, fits_share=share)
    end = end_of_job(environment, until, born=_born())
    scratch = _scratch(given.scratch, environment)
    line = [
        *rest,
        "--nthreads", str(divided.threads),
        "--memory-limit", str(divided.arrays),
        "--resources", f"MEM={divided.fits_mb},CPU={divided.threads}",
        "--local-directory", str(scratch),
        "--nanny",
    ]  # fmt: skip
    if "--dashboard-address" not in rest:
        line += ["--dashboard-address", "127.0.0.1:0"]
    told = {}
    if end is not None:
        line += ["--preload", "tdmx_dask.clusters.walltime"]
        told = {END: f"{end:.0f}", LONGEST_TASK: f"{longest:g}"}
    return Start(tuple(line), scratch, told)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tdmx_dask.clusters.worker",
        allow_abbrev=False,
        description="A Dask worker that knows the limits of its job, pod or container.",
        epilog="All other options go to dask worker.",
    )
    parser.add_argument(
        "--memory", default="auto", metavar="BYTES", help="of the job; the node's limit where that is smaller"
    )
    parser.add_argument(
        "--cores", default="auto", metavar="N", help="of the job; the node's limit where that is smaller"
    )
    parser.add_argument(
        "--fits-share", default="0.5", metavar="F", help="part of the memory for processes of fits"
    )
    parser.add_argument(
        "--scratch", metavar="PATH", help="on the node; may name its variables, such as $TMPDIR"
    )
    parser.add_argument("--until", metavar="SECONDS", help="the job's walltime; SLURM's own word wins")
    parser.add_argument(
        "--longest-task", default="600", metavar="SECONDS", help="begin nothing when less is left"
    )
    for replaced in (
        "--nthreads",
        "--memory-limit",
        "--local-directory",
    ):  # dask-jobqueue says them; the node knows better
        parser.add_argument(replaced, help=argparse.SUPPRESS)
    return parser


def _number(text: str) -> float | int | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _born() -> float:
    """When the job began, s since the epoch: its shell, which may have loaded modules before us, or this process."""
    me = psutil.Process()
    shell = me.parent()
    own = me.create_time()
    return own if shell is None or own - shell.create_time() > PROLOGUE else shell.create_time()


def _scratch(wanted: str | None, environment: Mapping[str, str]) -> Path:
    """A new folder of mode 0700: below the wanted one, else where the node keeps temporary files."""
    parent = None
    if wanted is not None:
        parent = Path(os.path.expandvars(wanted)).expanduser()
        if "$" in str(parent):
            raise InputError(
                "scratch", wanted, "it names a variable that is not set on this node", "See local-directory."
            )
        parent.mkdir(parents=True, exist_ok=True)
    elif environment.get("TMPDIR"):
        parent = Path(environment["TMPDIR"])
        parent = parent if parent.is_dir() else None
    return Path(tempfile.mkdtemp(prefix="tdmx-", dir=parent))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a worker until its scheduler, its job or its walltime ends it; returns 0, or 2 where it was asked for wrongly."""
    from click import ClickException
    from distributed.cli.dask_worker import main as dask_worker

    node = Node(available_cores(), available_memory())
    try:
        start = prepare(sys.argv[1:] if arguments is None else arguments, os.environ, node)
    except (TdmxError, OSError) as error:
        return _refuse(error)
    try:
        os.environ.update(start.environment)  # the nanny's child inherits it
        dask_worker(list(start.line), standalone_mode=False)
    except ClickException as error:  # an option that dask worker does not know
        return _refuse(error.format_message())
    except ValueError as error:  # options that it knows, but not together, or no address
        return _refuse(error)
    finally:
        shutil.rmtree(start.scratch, ignore_errors=True)
    return 0


def _refuse(error: object) -> int:
    print(f"tdmx worker: {error}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    raise SystemExit(main())
