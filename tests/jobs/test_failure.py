"""What a function raised, across processes; what may pass."""

from __future__ import annotations

import errno
import json
from typing import Any

import pytest

from tdmx_dask import errors
from tdmx_dask.errors import (
    ClusterError,
    FitError,
    InputError,
    JobCancelled,
    JobError,
    JobLost,
    JobTimeout,
    SchemaError,
    StoreError,
    TdmxError,
)
from tdmx_dask.fitting.engine import ChildKilled, InitialisationFailed
from tdmx_dask.jobs.failure import error_from, error_message, may_pass

FIELDS = ("name", 3, "a rule", "A fix.")


class FullDiskError(OSError):
    """A class of the user's own."""


class SilentError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


def sent(error: BaseException) -> Any:
    """The error as another process gets it."""
    return error_from(json.loads(json.dumps(error_message(error))))


@pytest.mark.parametrize(
    "each",
    [each for name in errors.__all__ if issubclass(each := getattr(errors, name), TdmxError)],
    ids=lambda each: each.__name__,
)
def test_error__every_class_of_ours_arrives_whole(each: type[TdmxError]) -> None:
    found = sent(each(*FIELDS))
    assert type(found) is each
    assert (found.name, found.value, found.rule, found.fix) == FIELDS


def test_error__value_that_is_no_json_becomes_text() -> None:
    assert sent(InputError("dose", complex(1, 2), "real", "")).value == "(1+2j)"


def test_error__own_subclass_arrives_as_its_nearest_class() -> None:
    assert type(sent(InitialisationFailed(*FIELDS))) is FitError
    assert type(sent(ChildKilled(*FIELDS))) is JobLost


def test_error__ordinary_one_names_its_class_and_keeps_its_traceback() -> None:
    try:
        float("x")
    except ValueError as error:
        error.add_note("a note of its own")
        found = sent(error)
    assert type(found) is JobError
    assert str(found).startswith(
        "error=ValueError: could not convert string to float: 'x': the function raised it."
    )
    assert found.__notes__[0] == "a note of its own"
    assert 'float("x")' in found.__notes__[-1]


def test_error__one_without_a_text_does_no_harm() -> None:
    assert sent(SilentError()).value == "SilentError: (its text cannot be made: RuntimeError)"
    assert sent(ValueError()).value == "ValueError"


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (JobLost(*FIELDS), True),
        (JobTimeout(*FIELDS), True),
        (MemoryError("no more"), True),
        (ChildKilled(*FIELDS), True),
        (ClusterError("cluster", "x", "the scheduler was lost"), True),
        (ClusterError("memory_mb", 9, "no worker can hold it"), False),
        (ConnectionRefusedError(errno.ECONNREFUSED, "refused"), True),
        (TimeoutError("late"), True),
        (InterruptedError(), True),
        (OSError(errno.ENOSPC, "no space"), True),
        (OSError(errno.ESTALE, "stale"), True),
        (FullDiskError(errno.ENOSPC, "no space"), True),
        (FullDiskError("of another reason"), False),
        (FileNotFoundError(errno.ENOENT, "none"), False),
        (PermissionError(errno.EACCES, "no"), False),
        (ValueError("[Errno 28] in words"), False),
        (InputError(*FIELDS), False),
        (SchemaError(*FIELDS), False),
        (FitError(*FIELDS), False),
        (JobCancelled(*FIELDS), False),
        (StoreError(*FIELDS), False),
        (KeyboardInterrupt(), False),
    ],
    ids=lambda value: value if isinstance(value, bool) else f"{type(value).__name__}-{value}"[:40],
)
def test_may_pass__same_here_and_across_processes(error: BaseException, passes: bool) -> None:
    assert may_pass(error) is passes
    assert may_pass(sent(error)) is passes


def test_may_pass__store_error_of_a_full_disk() -> None:
    error = StoreError("store", "x", "it cannot be written")
    error.__cause__ = OSError(errno.ENOSPC, "no space")
    assert may_pass(error)
