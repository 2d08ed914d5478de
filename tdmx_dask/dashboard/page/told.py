"""What clients tell: a PTA that grows, and a queue of jobs. Their messages, made plain values of bounded size."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tdmx_dask.dashboard.line import Line

__all__ = ["STATES", "Curve", "Queue", "Row", "curve_from", "queue_from", "whole"]

LINES, MICS, ROWS = 12, 100, 60

_LARGEST = 10**15

STATES = ("waiting", "queued", "running", "completed", "cached", "failed", "cancelled")


@dataclass(frozen=True, slots=True)
class Curve:
    """A PTA so far.

    Parameters
    ----------
    began : s since 1970
    title : what its lines have in common
    mic : mg/L, > 0, ascending
    lines : the first of its curves
    more : curves that are not among them
    done, total : profiles
    kind, level : of the interval
    over : whether it is complete
    """

    began: float
    title: str
    mic: tuple[float, ...]
    lines: tuple[Line, ...]
    more: int
    done: int
    total: int
    kind: str
    level: float
    over: bool


@dataclass(frozen=True, slots=True)
class Row:
    """A job.

    Parameters
    ----------
    id, kind, title, priority, state, attempts, error : of the job
    submitted, started : s since 1970, or None
    wait, run : s, or None
    done, total : how far it is; a total of 0: it does not say
    """

    id: int
    kind: str
    title: str
    priority: int
    state: str
    submitted: float | None
    started: float | None
    wait: float | None
    run: float | None
    attempts: int
    done: int
    total: int
    error: str


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue as a client told it.

    Parameters
    ----------
    folder : where it is
    heard : s since 1970
    counts : jobs in each state
    slots : calls that run at once
    rows : those that run, then the next, then the latest that ended
    """

    folder: str
    heard: float
    counts: Mapping[str, int]
    slots: int
    rows: tuple[Row, ...]

    @property
    def total(self) -> int:
        """Jobs of all states."""
        return sum(self.counts.values())


def curve_from(said: Mapping[str, Any], began: float) -> Curve:
    """A PTA from its message; raises what a malformed one raises."""
    mic = tuple(float(each) for each in said["mic"][:MICS])
    if not mic or not all(math.isfinite(each) and each > 0 for each in mic):
        raise ValueError("no MICs")
    lines = tuple(
        Line(str(label)[:120], *(_fractions(part, len(mic)) for part in parts))
        for label, parts in zip(said["labels"][:LINES], said["curves"][:LINES], strict=True)
    )
    title = str(said["title"])[:160]
    return Curve(
        began, title, mic, lines, max(0, whole(said["more"])), whole(said["done"]), whole(said["total"]), str(said["kind"])[:20],
        float(said["level"]), bool(said["over"]),
    )  # fmt: skip


def _fractions(values: Any, n: int) -> tuple[float, ...]:
    found = tuple(math.nan if each is None else float(each) for each in values[:n])
    if len(found) != n:
        raise ValueError("as many values as MICs")
    return found


def queue_from(said: Mapping[str, Any], heard: float) -> Queue:
    """A queue from its message; raises what a malformed one raises."""
    counts = {state: max(0, whole(said["counts"].get(state, 0))) for state in STATES}
    rows = tuple(_row(each) for each in said["rows"][:ROWS])
    return Queue(str(said["queue"])[:400], heard, counts, whole(said["slots"]), rows)


def _row(said: Mapping[str, Any]) -> Row:
    state = str(said["state"])
    if state not in STATES:
        raise ValueError(state)
    submitted, started, wait, run = (_number(said[name]) for name in ("submitted", "started", "wait", "run"))
    kind, title, error = (str(said[name])[:160] for name in ("kind", "title", "error"))
    number, priority, attempts, done, total = (
        whole(said[name]) for name in ("id", "priority", "attempts", "done", "total")
    )
    return Row(
        number, kind, title, priority, state, submitted, started, wait, run, attempts, done, total, error
    )


def _number(value: Any) -> float | None:
    return None if value is None or not abs(float(value)) < _LARGEST else float(value)


def whole(value: Any) -> int:
    """A whole number as it was told; raises where it is none, or is so large that no page could show it."""
    found = int(value)
    if abs(found) > _LARGEST:
        raise OverflowError("no number of anything")
    return found
