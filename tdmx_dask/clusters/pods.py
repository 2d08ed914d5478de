"""What a pod's status says of a worker. Pure: mappings in, nouns out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tdmx_dask.clusters.engine import BatchJob, State

__all__ = ["as_job", "is_ready", "stuck"]

HOPELESS = (
    "CrashLoopBackOff",
    "CreateContainerConfigError",
    "ErrImageNeverPull",
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
)
"""Reasons that do not pass by waiting."""


def as_job(pod: Mapping[str, Any]) -> BatchJob:
    """A worker's pod as a job: its state, and why it waits or has ended in the words of Kubernetes."""
    state, reason = _state(pod)
    return BatchJob(
        id=pod["metadata"]["name"],
        worker=_worker(pod),
        state=state,
        reason=reason,
        node=pod.get("spec", {}).get("nodeName", ""),
    )


def is_ready(pod: Mapping[str, Any]) -> bool:
    """Whether the pod's probes say that it answers."""
    return "deletionTimestamp" not in pod["metadata"] and any(
        each["type"] == "Ready" and each["status"] == "True" for each in _status(pod).get("conditions", ())
    )


def stuck(pod: Mapping[str, Any]) -> str:
    """Why the pod will not run however long it is waited for; empty where it may."""
    reason = _state(pod)[1]
    return reason if reason.startswith(HOPELESS) else ""


def _state(pod: Mapping[str, Any]) -> tuple[State, str]:
    status = _status(pod)
    phase = status.get("phase", "Unknown")
    if "deletionTimestamp" in pod["metadata"]:
        return "ending", "Terminating"
    if phase in ("Succeeded", "Failed"):
        return "gone", _first(_said(status), *_ended(status)) or phase
    waits = [
        _said(each["state"]["waiting"]) for each in _containers(status) if "waiting" in each.get("state", {})
    ]
    if phase == "Pending":
        unplaced = [
            _said(each)
            for each in status.get("conditions", ())
            if each["type"] == "PodScheduled" and each["status"] != "True"
        ]
        return "waiting", _first(*unplaced, *waits) or phase
    if phase == "Running":
        past = ", ".join(_restarts(status))
        if waits:
            return "waiting", f"{waits[0]} ({past})" if past else waits[0]
        return "running", past
    return "unknown", _said(status) or phase


def _status(pod: Mapping[str, Any]) -> Mapping[str, Any]:
    status: Mapping[str, Any] = pod.get("status", {})
    return status


def _containers(status: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield from status.get("containerStatuses", ())


def _restarts(status: Mapping[str, Any]) -> Iterator[str]:
    for each in _containers(status):
        ended = each.get("lastState", {}).get("terminated")
        if ended and each.get("restartCount"):
            yield f"{_exit(ended)}, restarted {each['restartCount']} times"


def _ended(status: Mapping[str, Any]) -> Iterator[str]:
    for each in _containers(status):
        ended = each.get("state", {}).get("terminated")
        if ended and (ended.get("reason") != "Completed" or ended.get("exitCode")):
            yield _exit(ended)


def _exit(ended: Mapping[str, Any]) -> str:
    return f"{ended.get('reason', 'Error')} (exit code {ended.get('exitCode', '?')})"


def _said(place: Mapping[str, Any]) -> str:
    reason, message = place.get("reason", ""), place.get("message", "")
    return f"{reason}: {message}" if reason and message else reason or message


def _first(*texts: str) -> str:
    return next((each for each in texts if each), "")


def _worker(pod: Mapping[str, Any]) -> str:
    for container in pod.get("spec", {}).get("containers", ()):
        for variable in container.get("env", ()):
            if variable["name"] == "DASK_WORKER_NAME":
                return str(variable.get("value", ""))
    return ""
