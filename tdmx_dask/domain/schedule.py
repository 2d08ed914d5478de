"""When doses are given: one-off doses, then a cycle that repeats."""

from __future__ import annotations

import math

from tdmx_dask.domain.doses import Cycle, DoseEvent
from tdmx_dask.domain.units import whole
from tdmx_dask.errors import InputError

__all__ = ["doses_before", "first_time", "interval"]

History = tuple[DoseEvent, ...]


SAME_TIME = 1e-11
"""Of a time: a dose as near as this to it is due then, for a multiple of an interval (3 x 0.7 h) need not be exact in float64."""

MOST_DOSES = 5000
"""Doses before a window's end: at q1h, 200 days."""


def _cycle_time(cycle: Cycle, index: int) -> float:
    """When the dosing time `index` (from 0) of the cycles is due, also after the last cycle; h."""
    offsets = sorted({event.time for event in cycle.events})
    number, rest = divmod(index, len(offsets))
    return cycle.time(number, offsets[rest])


def _history_times(history: History, cycle: Cycle | None) -> list[float]:
    """Distinct times of the one-off doses, without the first dose of the cycle; h."""
    times = sorted({event.time for event in history})
    if cycle is not None and times and times[-1] == _cycle_time(cycle, 0):
        times.pop()
    return times


def first_time(history: History, cycle: Cycle | None) -> float:
    """When the first dose is given, h."""
    times = _history_times(history, cycle)
    if times or cycle is None:
        return times[0]
    return _cycle_time(cycle, 0)


def doses_before(history: History, cycle: Cycle | None, until: float) -> History:
    """All doses with time < `until` (h), by time; one that is due then but for rounding is not before it.

    Raises
    ------
    InputError
        `until` is no number, infinite where the doses have no end, or too far away.
    """
    endless = cycle is not None and cycle.n is None
    if math.isnan(until) or (endless and until == math.inf):
        rule = "the end must be a number of hours, finite for a regimen without end"
        raise InputError("until", until, rule, "For example until=24.")
    due = until if until == math.inf else until - SAME_TIME * abs(until)
    doses = [event for event in history if event.time < due]
    if cycle is not None and cycle.start < until:
        most = math.inf if until == math.inf else math.ceil((until - cycle.start) / cycle.tau) + 1
        count = int(min(most, most if cycle.n is None else cycle.n))
        if count * len(cycle.events) > MOST_DOSES:
            rule = f"at most {MOST_DOSES:,} doses are followed one by one, and there are {count * len(cycle.events):,} before"
            raise InputError("until", f"{until:g} h", rule, "Take an earlier window, or steady state.")
        for k in range(count):
            for event in cycle.events:
                time = cycle.time(k, event.time)
                if time < due:
                    doses.append(DoseEvent(time, event.amount, event.tinf, event.per_kg))
    return tuple(doses)


def interval(history: History, cycle: Cycle | None, n: int, label: str) -> tuple[float, float]:
    """Start and end of the n-th dosing interval (from 1), h; doses at one time open one interval.

    The last interval of a cycle with an end lasts until the next dose would be due; that of one-off doses
    alone is as long as the one before it.

    Raises
    ------
    InputError
        There is no such interval, or it is that of one dose alone.
    """
    index = whole("interval", n, "the number of a dosing interval") - 1
    times = _history_times(history, cycle)
    if cycle is not None:
        count = len(times) + (cycle.n or 0) * len({event.time for event in cycle.events})
        if cycle.n is None or index < count:
            due = [
                times[k] if k < len(times) else _cycle_time(cycle, k - len(times)) for k in (index, index + 1)
            ]
            return due[0], due[1]
    else:
        count = len(times)
        if count == 1:
            fix = "Give the window in hours, as in 0..24h."
            raise InputError("interval", n, f"one dosing time alone ({label}) has no dosing interval", fix)
        if index < count:
            times.append(times[-1] + (times[-1] - times[-2]))
            return times[index], times[index + 1]
    rule = f"the regimen {label} has {count} dosing intervals"
    raise InputError("interval", n, rule, f"Name one from 1 to {count}.")
