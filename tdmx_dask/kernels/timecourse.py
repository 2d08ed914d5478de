"""Concentrations at any times of any dose history, first dose to steady state: what a figure of the course shows.

Each time is evaluated in its own segment of the course (`tdmx_dask.kernels.course`), exactly and from nothing but the profile's own
row. At a time when a dose is due, but for rounding, the concentration is the one just before it, as everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence

from tdmx_dask.kernels.course import SAME_TIME as NEAR
from tdmx_dask.kernels.course import Input, concentration, periodic_start, walk, wrapped
from tdmx_dask.kernels.disposition import Array, Modes, namespace
from tdmx_dask.kernels.interval import total

__all__ = ["concentrations_at"]

SAME_TIME = 1e-9
"""h: a time as near as this after the end of a cycle is that end, for a multiple of tau need not be exact in float64."""


def concentrations_at(
    modes: Modes, inputs: Sequence[Input], times: Sequence[float], *, cycle: float | None = None
) -> Array:
    """Concentrations at some times.

    Parameters
    ----------
    modes : exponentials of the profiles
    inputs : doses, in any order
    times : h, ascending, >= 0; at least one
    cycle : h; the inputs repeat with this period and have done so for ever: time 0 is the start of a cycle at steady state

    Returns
    -------
    (time, profile), mg/L
    """
    xp = namespace(modes.rate)
    held = modes.share * 0.0
    if cycle is None:
        return _along(modes, inputs, held, times)
    within = wrapped(inputs, cycle)
    held = periodic_start(modes, within, cycle)
    phases = [_phase(time, cycle) for time in times]
    distinct = sorted(set(phases))
    at = {phase: row for row, phase in enumerate(distinct)}
    found = _along(modes, within, held, distinct)
    if phases == distinct:
        return found
    return xp.take(found, xp.asarray([at[phase] for phase in phases]), axis=0)


def _phase(time: float, cycle: float) -> float:
    """Time within the cycle, in (0, cycle]: its start is the end of the one before."""
    phase = time % cycle
    return cycle if phase <= SAME_TIME else phase


def _along(modes: Modes, inputs: Sequence[Input], held: Array, times: Sequence[float]) -> Array:
    """Fill in the times of each segment as the walk comes to it; (time, profile)."""
    xp = namespace(modes.rate)
    out = xp.empty((len(times), modes.resistance.shape[0]))
    row = 0
    while row < len(times) and times[row] == 0.0:
        out[row] = total(held)
        row += 1
    if row == len(times):
        return out
    for start, segment, left in walk(modes, inputs, held, times[-1]):
        end = start + segment.length
        near = NEAR * end
        while row < len(times) and times[row] <= end + near:
            after = times[row] - start
            out[row] = total(left) if times[row] >= end - near else concentration(modes.rate, segment, after)
            row += 1
    out[row:] = total(left)  # the last end may fall short of the last time by rounding
    return out
