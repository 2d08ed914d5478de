"""How a function failed, in plain words that cross from one process to another, and whether trying again may help."""

from __future__ import annotations

import builtins
import errno
import re
import traceback
from collections.abc import Mapping
from typing import Any

from tdmx_dask import errors
from tdmx_dask.errors import ClusterError, JobError, JobLost, JobTimeout, StoreError, TdmxError
from tdmx_dask.fitting.engine import ChildKilled

__all__ = ["error_from", "error_message", "may_pass"]

_CLASSES: dict[str, type[TdmxError]] = {
    name: each
    for name in errors.__all__
    if isinstance(each := getattr(errors, name), type) and issubclass(each, TdmxError)
}
_TEXT = 2000
_NOTE = 3000

_PASSING = (ConnectionError, TimeoutError, InterruptedError, BlockingIOError)
_PASSING_CODES = frozenset(
    {
        errno.EAGAIN, errno.EBUSY, errno.EDQUOT, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.EINTR, errno.EIO, errno.EMFILE,
        errno.ENETDOWN, errno.ENETUNREACH, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.ENOSPC, errno.ESTALE, errno.ETIMEDOUT,
    }
)  # fmt: skip
_WRITTEN = re.compile(r"(\w+)(?:: \[Errno (\d+)\])?")
_NEVER = frozenset({"memory_mb", "memory_per_task", "workers"})


def may_pass(error: BaseException) -> bool:
    """Whether another attempt may succeed.

    So it is after a lost process, worker or scheduler, a time-out, want of memory, and where a device is full or away.
    What a function raised is judged by its class, which `error_message` writes down.
    """
    if isinstance(error, MemoryError | JobLost | JobTimeout | ChildKilled):
        return True
    if isinstance(error, ClusterError):
        return error.name not in _NEVER
    if isinstance(error, JobError):
        return type(error) is JobError and error.name == "error" and _written_passes(str(error.value))
    if isinstance(error, StoreError):
        return error.__cause__ is not None and may_pass(error.__cause__)
    return isinstance(error, OSError) and not isinstance(error, TdmxError) and _passes(error)


def _passes(error: OSError) -> bool:
    return isinstance(error, _PASSING) or error.errno in _PASSING_CODES


def _written_passes(value: str) -> bool:
    found = _WRITTEN.match(value)
    if found is None:
        return False
    name, code = found.groups()
    each = getattr(builtins, name, None)
    if not (isinstance(each, type) and issubclass(each, OSError)):
        return False
    return issubclass(each, _PASSING) or (code is not None and int(code) in _PASSING_CODES)


def error_message(error: BaseException) -> dict[str, Any]:
    """What a function raised, in plain JSON: an error of ours keeps its class and fields, any other becomes a `JobError`."""
    notes = [str(note)[:_NOTE] for note in getattr(error, "__notes__", ())]
    if isinstance(error, MemoryError):
        return {"class": "MemoryError", "fields": [_text(error)], "notes": notes}
    if isinstance(error, ChildKilled):
        return {"class": "JobLost", "fields": _fields(error), "notes": notes}
    if isinstance(error, TdmxError):
        name = next(each.__name__ for each in type(error).__mro__ if _CLASSES.get(each.__name__) is each)
        return {"class": name, "fields": _fields(error), "notes": notes}
    value = f"{_class_name(error)}: {_text(error)}".rstrip(": ")
    fields = [
        "error",
        value,
        "the function raised it",
        "Mend the function or its arguments; the end of the traceback is in the job's log.",
    ]
    return {"class": "JobError", "fields": fields, "notes": [*notes, _trace(error)]}


def error_from(message: Mapping[str, Any]) -> MemoryError | TdmxError:
    """The error of its message, with its notes."""
    found: MemoryError | TdmxError
    if message["class"] == "MemoryError":
        found = MemoryError(*message["fields"])
    else:
        found = _CLASSES[message["class"]](*message["fields"])
    for note in message["notes"]:
        found.add_note(note)
    return found


def _fields(error: TdmxError) -> list[Any]:
    value = error.value
    plain = value is None or isinstance(value, bool | int | float)
    return [str(error.name), value if plain else str(value)[:_TEXT], str(error.rule), str(error.fix)]


def _class_name(error: BaseException) -> str:
    """Its class; one of the user's own that may pass is written with the built-in class that it stems from."""
    name = type(error).__name__
    if isinstance(error, OSError) and _passes(error) and getattr(builtins, name, None) is not type(error):
        stem = next(each for each in type(error).__mro__ if getattr(builtins, each.__name__, None) is each)
        return f"{stem.__name__}: [Errno {error.errno}] {name}" if error.errno else f"{stem.__name__}: {name}"
    return name


def _text(error: BaseException) -> str:
    try:
        return str(error)[:_TEXT]
    except Exception as other:  # its own __str__ fails
        return f"(its text cannot be made: {type(other).__name__})"


def _trace(error: BaseException) -> str:
    try:
        return "".join(traceback.format_exception(error))[-_NOTE:].rstrip()
    except Exception:  # a traceback asks the error for its text, too
        return "".join(traceback.format_tb(error.__traceback__))[-_NOTE:].rstrip()
