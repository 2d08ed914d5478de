"""Ask a batch scheduler about jobs: one call for all, with a time limit, its own words kept.

Formats: squeue(1) `--Format`-free `-o`; PBS `qstat -f -F json`; Grid Engine `qstat -xml`; LSF `bjobs -json -o`; HTCondor `condor_q -json`.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from xml.etree import ElementTree as ET

from tdmx_dask.clusters.engine import BatchJob, State

__all__ = ["MEANINGS", "look", "parse_condor", "parse_lsf", "parse_pbs", "parse_sge", "parse_slurm"]

ANSWER = 10.0
"""Seconds in which the batch scheduler has to answer."""

MEANINGS: Mapping[str, str] = {
    "Resources": "nothing is free yet",
    "Priority": "others come first",
    "PartitionTimeLimit": "its walltime is longer than the partition allows: it will never start",
    "PartitionNodeLimit": "it asks for more than the partition has: it will never start",
    "PartitionDown": "the partition is down",
    "PartitionInactive": "the partition is inactive",
    "ReqNodeNotAvail": "the nodes that it could use are down or reserved",
    "NodeDown": "its node is down",
    "BadConstraints": "no node has what it asks for: it will never start",
    "Licenses": "a licence is not free",
    "Reservation": "it waits for its reservation",
    "JobHeldUser": "you hold it back: scontrol release",
    "JobHeldAdmin": "an administrator holds it back",
    "BeginTime": "its begin lies ahead",
    "Dependency": "it waits for another job",
    "AssocGrpCpuLimit": "your group's limit of cores is reached",
    "AssocGrpMemLimit": "your group's limit of memory is reached",
    "AssocMaxJobsLimit": "your limit of running jobs is reached",
    "QOSMaxJobsPerUserLimit": "your limit of running jobs in this QOS is reached",
    "QOSMaxCpuPerUserLimit": "your limit of cores in this QOS is reached",
    "InvalidAccount": "the account is not valid: it will never start",
    "InvalidQOS": "the QOS is not valid: it will never start",
    "TimeLimit": "its walltime was over",
    "OutOfMemory": "it used more memory than it had asked for",
}
"""What SLURM's reasons mean."""

_SLURM: Mapping[str, State] = {
    "PENDING": "waiting", "CONFIGURING": "waiting", "REQUEUED": "waiting", "REQUEUE_HOLD": "waiting", "SPECIAL_EXIT": "waiting",
    "RUNNING": "running", "SUSPENDED": "running", "STOPPED": "running", "RESIZING": "running", "SIGNALING": "running",
    "COMPLETING": "ending", "STAGE_OUT": "ending",
}  # fmt: skip


def look(kind: str, ids: Sequence[str]) -> dict[str, BatchJob]:
    """Ask about jobs by their ids.

    Parameters
    ----------
    kind : slurm, pbs, sge, lsf or htcondor
    ids : of jobs

    Returns
    -------
    id -> job. One of which the batch scheduler knows no more is `gone`; where it does not answer, all are `unknown`, with its words.
    """
    if not ids:
        return {}
    command, parse = _ASK[kind]
    try:
        done = subprocess.run(  # noqa: S603
            command(ids),
            capture_output=True,
            text=True,
            timeout=ANSWER,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        found = parse(done.stdout)
        if not found and done.returncode and not _knows_none(done.stderr):
            return _unknown(ids, done.stderr or f"{command(ids)[0]} ended with {done.returncode}")
    except (
        OSError,
        subprocess.TimeoutExpired,
        AttributeError,
        LookupError,
        ValueError,
        ET.ParseError,
    ) as error:
        return _unknown(ids, str(error))
    return {job: found.get(job) or BatchJob(job, state="gone") for job in ids}


def _unknown(ids: Sequence[str], reason: str) -> dict[str, BatchJob]:
    return {job: BatchJob(job, state="unknown", reason=" ".join(reason.split())[:200]) for job in ids}


def _knows_none(said: str) -> bool:
    """Whether a command failed only because it no longer knows any of the jobs."""
    words = (
        "invalid job id",
        "unknown job id",
        "do not exist",
        "is not found",
        "no matching job",
        "has finished",
    )
    return any(word in said.lower() for word in words)


def parse_slurm(text: str) -> dict[str, BatchJob]:
    """Lines of ``squeue -h -t all -o "%i|%T|%r|%N|%L"``; jobs that have ended are `gone`."""
    found = {}
    for line in text.splitlines():
        job, state, reason, node, left = line.split("|")
        word = reason.strip("()").split(",")[0]
        why = "" if word in ("None", "") else f"{word}: {MEANINGS[word]}" if word in MEANINGS else word
        known = _SLURM.get(state, "gone")
        if known == "gone":
            why = why if "NonZero" not in why else ""
            why = f"{state}, {why}" if why else state
        running = known == "running"
        found[job] = BatchJob(
            job,
            state=known,
            reason="" if running else why,
            node=node if running else "",
            seconds_left=_seconds(left) if running else None,
        )
    return found


def parse_pbs(text: str) -> dict[str, BatchJob]:
    """``qstat -f -F json`` of OpenPBS and PBS Pro."""
    states: Mapping[str, State] = {"Q": "waiting", "H": "waiting", "W": "waiting", "T": "waiting", "R": "running", "S": "running",
                                   "B": "running", "E": "ending", "F": "gone", "X": "gone"}  # fmt: skip
    found = {}
    for job, said in (json.loads(text).get("Jobs", {}) if text.strip() else {}).items():
        state = states.get(said.get("job_state", ""), "unknown")
        walltime = _seconds(said.get("Resource_List", {}).get("walltime", ""))
        used = _seconds(said.get("resources_used", {}).get("walltime", "")) or 0.0
        running = state == "running"
        host = said.get("exec_host", "").split("/")[0] if running else ""
        left = walltime - used if running and walltime is not None else None
        made = BatchJob(
            job, state=state, reason=_once(said.get("comment", ""), running), node=host, seconds_left=left
        )
        found[job] = found[job.split(".")[0]] = made
    return found


def parse_sge(text: str) -> dict[str, BatchJob]:
    """``qstat -u USER -xml`` of Grid Engine."""
    found = {}
    for entry in ET.fromstring(text).iter("job_list"):  # noqa: S314  our own batch scheduler wrote it
        job, code = entry.findtext("JB_job_number", ""), entry.findtext("state", "")
        state: State = "running" if "r" in code or "t" in code else "waiting"
        if "d" in code:
            state = "ending"
        reason = (
            {"E": "an error state: qstat -j says why", "h": "held back"}.get(code.strip("qw")[:1], "")
            if state == "waiting"
            else ""
        )
        node = entry.findtext("queue_name", "").partition("@")[2] if state == "running" else ""
        found[job] = BatchJob(job, state=state, reason=reason, node=node)
    return found


def parse_lsf(text: str) -> dict[str, BatchJob]:
    """``bjobs -a -json -o "jobid stat pend_reason exec_host time_left"``."""
    states: Mapping[str, State] = {"PEND": "waiting", "PSUSP": "waiting", "WAIT": "waiting", "PROV": "waiting", "RUN": "running",
                                   "USUSP": "running", "SSUSP": "running", "DONE": "gone", "EXIT": "gone", "ZOMBI": "ending"}  # fmt: skip
    found = {}
    for said in json.loads(text).get("RECORDS", []) if text.strip() else []:
        job = str(said.get("JOBID", ""))
        if not said.get("STAT"):
            continue
        state = states.get(said["STAT"], "unknown")
        running = state == "running"
        found[job] = BatchJob(
            job,
            state=state,
            reason=_once(said.get("PEND_REASON", ""), running),
            node=said.get("EXEC_HOST", "").split("*")[-1] if running else "",
            seconds_left=_lsf_left(said.get("TIME_LEFT", "")) if running else None,
        )
    return found


def _lsf_left(text: str) -> float | None:
    """``hours:minutes`` and a letter."""
    left = _seconds(text.split(" ")[0])
    return None if left is None else 60 * left


def parse_condor(text: str) -> dict[str, BatchJob]:
    """``condor_q -json -attributes ClusterId,ProcId,JobStatus,HoldReason,RemoteHost``."""
    states: Mapping[int, State] = {
        1: "waiting",
        2: "running",
        3: "gone",
        4: "gone",
        5: "waiting",
        6: "ending",
        7: "running",
    }
    found = {}
    for said in json.loads(text) if text.strip() else []:
        job = f"{said['ClusterId']}.{said['ProcId']}"
        state = states.get(said.get("JobStatus", 0), "unknown")
        host = str(said.get("RemoteHost", "")).partition("@")[2] if state == "running" else ""
        found[job] = BatchJob(job, state=state, reason=str(said.get("HoldReason", "")), node=host)
    return found


def _once(text: str, running: bool) -> str:
    return "" if running else " ".join(text.split())[:200]


def _seconds(text: str) -> float | None:
    """A time as batch schedulers print it, ``[days-][[hours:]minutes:]seconds``; None where it is none."""
    days, _, clock = text.rpartition("-")
    try:
        parts = [int(part) for part in clock.split(":")]
        return float(
            sum(part * 60**place for place, part in enumerate(reversed(parts))) + 86400 * int(days or 0)
        )
    except ValueError:
        return None


def _sge_command(_ids: Sequence[str]) -> list[str]:
    import getpass

    return ["qstat", "-u", getpass.getuser(), "-xml"]  # Grid Engine shows no list of jobs by id


_ASK: Mapping[str, tuple[Callable[[Sequence[str]], list[str]], Callable[[str], dict[str, Any]]]] = {
    "slurm": (
        lambda ids: ["squeue", "--noheader", "--states=all", "-o", "%i|%T|%r|%N|%L", "--jobs", ",".join(ids)],
        parse_slurm,
    ),
    "pbs": (lambda ids: ["qstat", "-x", "-f", "-F", "json", *ids], parse_pbs),
    "sge": (_sge_command, parse_sge),
    "lsf": (
        lambda ids: ["bjobs", "-a", "-json", "-o", "jobid stat pend_reason exec_host time_left", *ids],
        parse_lsf,
    ),
    "htcondor": (
        lambda ids: [
            "condor_q",
            *ids,
            "-json",
            "-attributes",
            "ClusterId,ProcId,JobStatus,HoldReason,RemoteHost",
        ],
        parse_condor,
    ),
}
