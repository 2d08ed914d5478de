"""A level by roots within brackets: slow and sure, for the rows that the joint steps miss.

The level is bracketed between the lowest and the highest concentration, each crossing time between the ends of its branch, and
no step leaves its bracket (Press et al., Numerical Recipes, 3rd ed. 2007, §9.4).
"""

from __future__ import annotations

from tdmx_dask.kernels.branches import FLAT, Branches, meeting, parabola, summed, time_above
from tdmx_dask.kernels.disposition import Array, namespace

__all__ = ["nested_level"]

LEVEL_TOLERANCE = 1e-12
"""Of the highest concentration: a step of the level that is the last."""

VALUE_TOLERANCE = 1e-14
"""Of the highest concentration: how near a crossing's concentration is to the level."""

TIME_TOLERANCE = 1e-16
"""Of the branch's end: a bracket that cannot be divided any more, about."""

MAX_STEPS = 120
"""More halvings than float64 can hold of any bracket."""


def nested_level(branches: Branches, lowest: Array, wanted: float) -> Array:
    """Largest level above which the profile stays for ``wanted`` h, as a fraction of the highest; (profile,)."""
    xp = namespace(lowest)
    low, high = lowest, xp.ones_like(lowest)
    level = 0.5 * (low + high)
    previous = high - low
    t = 0.5 * (branches.start + branches.end)
    active = xp.ones_like(level, dtype=bool)
    for _ in range(MAX_STEPS):
        t, pace = _crossing(branches, level, t)
        above, crosses = time_above(branches, t, level)
        excess = above - wanted
        change = summed(xp.where(crosses, pace, 0.0))
        enough = excess >= 0.0
        low, high = xp.where(active & enough, level, low), xp.where(active & ~enough, level, high)
        newton = level + excess / xp.maximum(change, FLAT * branches.window)
        kept = (newton > low) & (newton < high) & (xp.abs(newton - level) < 0.5 * previous)
        trial = xp.where(kept, newton, 0.5 * (low + high))
        step = xp.abs(trial - level)
        level = xp.where(active, trial, level)
        previous = xp.where(active, step, previous)
        active &= (step > LEVEL_TOLERANCE) & (high - low > LEVEL_TOLERANCE)
        if not active.any():
            break
    return level


def _crossing(branches: Branches, level: Array, t: Array) -> tuple[Array, Array]:
    """Time at which each branch passes the level (about one of its ends if it does not), h, and the pace there, h.

    Both (branch, profile). ``t`` is where to start, h.
    """
    xp = namespace(level)
    low, high = branches.start, branches.end
    active = (level >= branches.low) & (level < branches.high)
    pace = t
    for _ in range(MAX_STEPS):
        curve = parabola(branches, t)
        before = (level > curve.value) == (branches.sign > 0.0)
        low, high = xp.where(before, t, low), xp.where(before, high, t)
        met, pace_there = meeting(branches, t, curve, level)
        trial = xp.where((met > low) & (met < high), met, 0.5 * (low + high))
        off = xp.abs(curve.value - level) > VALUE_TOLERANCE
        t = xp.where(active & off, trial, t)
        pace = xp.where(active, pace_there, pace)
        active &= off & (high - low > TIME_TOLERANCE * branches.end)
        if not active.any():
            break
    return t, pace
