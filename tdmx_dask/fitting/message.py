"""What the nouns of a fit look like in a frame."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

import numpy as np

from tdmx_dask.errors import FitError, InputError, TdmxError
from tdmx_dask.fitting.engine import ChildKilled, InitialisationFailed
from tdmx_dask.fitting.program import Program
from tdmx_dask.fitting.task import ChainEvent, ChainResult, ChainTask, Sampling, Start

__all__ = [
    "error_from",
    "error_message",
    "event_from",
    "event_message",
    "result_from",
    "result_message",
    "task_from",
    "task_message",
]

_ERRORS: dict[str, type[TdmxError]] = {
    kind.__name__: kind for kind in (ChildKilled, FitError, InitialisationFailed, InputError)
}


def _flat(noun: Any) -> dict[str, Any]:
    """Fields by name, not copied."""
    return {field.name: getattr(noun, field.name) for field in fields(noun)}


def _start_message(start: Start) -> dict[str, Any]:
    position = {name: np.asarray(value).tolist() for name, value in start.position.items()}
    metric = None if start.inv_metric is None else np.asarray(start.inv_metric, dtype=np.float64)
    return {"position": position, "inv_metric": metric, "step_size": start.step_size}


def task_message(task: ChainTask) -> dict[str, Any]:
    """A task, to be packed."""
    return _flat(task) | {
        "program": {"name": task.program.name, "code": task.program.code},
        "sampling": asdict(task.sampling),
        "start": _start_message(task.start),
    }


def task_from(message: Mapping[str, Any]) -> ChainTask:
    """The task of its message."""
    nouns = {
        "program": Program(**message["program"]),
        "sampling": Sampling(**message["sampling"]),
        "start": Start(**message["start"]),
    }
    return ChainTask(**{**message, **nouns})


def result_message(result: ChainResult) -> dict[str, Any]:
    """A result, to be packed."""
    return _flat(result) | {"end": _start_message(result.end), "info": dict(result.info)}


def result_from(message: Mapping[str, Any]) -> ChainResult:
    """The result of its message."""
    changed = {
        "names": tuple(message["names"]),
        "end": Start(**message["end"]),
        "log": tuple(message["log"]),
    }
    return ChainResult(**{**message, **changed})


def event_message(event: ChainEvent) -> dict[str, Any]:
    """An event, to be packed."""
    return _flat(event)


def event_from(message: Mapping[str, Any]) -> ChainEvent:
    """The event of its message."""
    return ChainEvent(**message)


def error_message(error: TdmxError) -> dict[str, Any]:
    """An error, to be packed."""
    kind = type(error).__name__
    value = error.value if isinstance(error.value, int | float | str) else str(error.value)
    return {
        "kind": kind if kind in _ERRORS else "FitError",
        "fields": [error.name, value, error.rule, error.fix],
    }


def error_from(message: Mapping[str, Any]) -> TdmxError:
    """The error of its message."""
    return _ERRORS[message["kind"]](*message["fields"])
