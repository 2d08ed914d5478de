"""What users hand to the queue, checked; and what it tells them of a job that has no result."""

from __future__ import annotations

import getpass
from collections.abc import Iterable, Mapping
from typing import Any

from tdmx_dask.errors import InputError, JobCancelled, JobError
from tdmx_dask.jobs.failure import error_from
from tdmx_dask.jobs.records import Job
from tdmx_dask.jobs.request import MAXIMUM_PRIORITY
from tdmx_dask.jobs.state import STATES

__all__ = ["check_states", "checked_options", "job_id", "job_ids", "one_of_batch", "problem_of"]

_OPTIONS = ("priority", "callback", "error_callback", "retries", "timeout", "group", "after", "fresh")


def one_of_batch(number: int, given: object) -> tuple[str, Mapping[str, Any], dict[str, Any]]:
    """Type, spec and options of one job of several.

    Raises
    ------
    InputError
        Names the job by its number.
    """
    name = f"jobs[{number}]"
    if not isinstance(given, Mapping):
        raise InputError(name, given, "a job is a mapping with type and spec", "")
    for key in ("type", "spec"):
        if key not in given:
            raise InputError(f"{name}.{key}", "missing", "a job has a type and a spec", "Give both.")
    options = {key: value for key, value in given.items() if key not in ("type", "spec")}
    strange = [key for key in options if key not in _OPTIONS]
    if strange:
        rule = "a job has no such option"
        raise InputError(f"{name}.{strange[0]}", options[strange[0]], rule, f"Known: {', '.join(_OPTIONS)}.")
    return given["type"], given["spec"], options


def checked_options(
    options: Mapping[str, Any], retries: int
) -> tuple[int, int, float | None, str, tuple[int, ...]]:
    """Options of a job: priority, retries, timeout, group, after."""
    priority = options.get("priority", 5)
    if isinstance(priority, bool) or not isinstance(priority, int) or abs(priority) > MAXIMUM_PRIORITY:
        rule = f"a priority is a whole number, {-MAXIMUM_PRIORITY} .. {MAXIMUM_PRIORITY}; higher runs first"
        raise InputError("priority", priority, rule, "5 is ordinary, 10 is high.")
    given = options.get("retries")
    given = retries if given is None else given
    if isinstance(given, bool) or not isinstance(given, int) or not 0 <= given <= 100:
        raise InputError("retries", given, "retries are a whole number, 0 .. 100", "Leave it out.")
    timeout = options.get("timeout")
    if timeout is not None and (
        isinstance(timeout, bool) or not isinstance(timeout, int | float) or not 0 < timeout < 1e9
    ):
        raise InputError("timeout", timeout, "a time-out is > 0 s", "Leave it out for none.")
    group = options.get("group")
    group = getpass.getuser() if group is None else group
    if not isinstance(group, str) or not group.strip() or "\0" in group:
        raise InputError("group", group, "a group has a name", "Leave it out for your own.")
    for key in ("callback", "error_callback"):
        if options.get(key) is not None and not callable(options[key]):
            raise InputError(key, options[key], "it is a function of one argument", "Leave it out.")
    ids = tuple(job_ids(options.get("after", ()), "after"))
    return priority, given, None if timeout is None else float(timeout), group, ids


def job_id(job: object, name: str = "job") -> int:
    """The id of a job; `InputError` where it is none."""
    if isinstance(job, bool) or not hasattr(job, "__index__"):
        raise InputError(name, job, "a job is named by the whole number that submit returned", "")
    number = int(job.__index__())
    if not 0 < number < 2**63:
        raise InputError(name, job, "there is no such job in this queue", "")
    return number


def job_ids(jobs: object, name: str = "job") -> list[int]:
    """Ids of one job or several; `InputError` where one is none."""
    if isinstance(jobs, str | bytes | Mapping) or not isinstance(jobs, Iterable):
        return [job_id(jobs, name)]
    return [job_id(job, name) for job in jobs]


def check_states(states: object) -> None:
    """Refuse what is no list of states."""
    if states is None:
        return
    for state in [states] if isinstance(states, str) else list(states):  # type: ignore[call-overload]
        if isinstance(states, str) or state not in STATES:
            raise InputError(
                "states", states, f"states are a list of {', '.join(STATES)}", "For example ['failed']."
            )


def problem_of(job: Job) -> BaseException:
    """Why a job has no result."""
    if job.state == "cancelled":
        return JobCancelled("job", job.id, "it was cancelled", "queue.retry(id) queues it again.")
    if job.state != "failed":
        return JobError(
            "job", job.id, f"it is {job.state}, and has no result yet", "Wait for it with wait=True."
        )
    if job.failure is None:
        return JobError("job", job.id, job.error or "it failed", "queue.log(id) says more.")
    error = error_from(job.failure)
    error.add_note(
        f"job {job.id}, {job.kind} ({job.title}), attempt {job.attempts}; queue.log({job.id}) says more"
    )
    return error
