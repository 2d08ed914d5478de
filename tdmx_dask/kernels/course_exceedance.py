"""The concentration exceeded during a given fraction of any window: the critical MIC of ``T>MIC`` before steady state.

The time above a level is the sum over the monotone pieces of the course, each of which crosses the level at most once. It falls
as the level rises, so the level wanted is one root, found by Newton steps kept in a bracket (Press et al., Numerical Recipes, 3rd
ed. 2007, §9.4); the crossing times inside are roots of their own, found the same way to the resolution of float64.
The error of the level is below 1e-11 of the highest concentration of the window.
"""

from __future__ import annotations

from collections.abc import Callable

from tdmx_dask.kernels.course import Course, Piece, concentration, course_cmax, monotone_pieces, slope
from tdmx_dask.kernels.disposition import Array, namespace

__all__ = ["course_exceeded"]

LEVEL_TOLERANCE = 1e-12  # of the window's highest concentration
TIME_TOLERANCE = 1e-14  # of the piece's length
MAX_STEPS = 120


def course_exceeded(profile: Course, fraction: float) -> Array:
    """Concentration exceeded during ``fraction`` of the window.

    Parameters
    ----------
    profile : a course over its window
    fraction : of the window, 0 < fraction <= 1; 1 gives the lowest concentration, the window's start included

    Returns
    -------
    (profile,), mg/L; NaN where a parameter is NaN
    """
    xp = namespace(profile.rate)
    pieces = monotone_pieces(profile)
    lowest = pieces[0].first
    for piece in pieces:
        lowest = xp.minimum(lowest, xp.minimum(piece.first, piece.last))
    if fraction == 1.0:
        return lowest
    highest = course_cmax(profile)
    wanted = fraction * sum(segment.length for segment in profile.segments)

    def excess(level: Array) -> tuple[Array, Array]:
        above, change = _time_above(profile.rate, pieces, level)
        return above - wanted, change

    at_lowest, _ = excess(lowest)
    level = _decreasing_root(excess, lowest, highest, 0.5 * (lowest + highest), LEVEL_TOLERANCE * highest)
    return xp.where(at_lowest <= 0.0, lowest, level)


def _time_above(rate: Array, pieces: list[Piece], level: Array) -> tuple[Array, Array]:
    """Time strictly above a level, h, and its derivative by the level, h per mg/L (<= 0)."""
    xp = namespace(rate)
    above = xp.zeros_like(level)
    change = xp.zeros_like(level)
    for piece in pieces:
        falls = piece.last < piece.first
        low, high = xp.minimum(piece.first, piece.last), xp.maximum(piece.first, piece.last)
        crosses = (level >= low) & (level < high)
        t = _crossing(rate, piece, level, falls)
        length = piece.end - piece.start
        part = xp.where(falls, t - piece.start, piece.end - t)
        above += xp.where(crosses, part, xp.where(level < low, length, 0.0))
        steep = xp.abs(slope(rate, piece.segment, t))
        change -= xp.where(crosses, 1.0 / xp.maximum(steep, 1e-300), 0.0)
    return above, change


def _crossing(rate: Array, piece: Piece, level: Array, falls: Array) -> Array:
    """Time in the piece's segment at which the concentration passes the level; (profile,), h."""
    xp = namespace(rate)
    sign = xp.where(falls, 1.0, -1.0)

    def excess(t: Array) -> tuple[Array, Array]:
        return sign * (concentration(rate, piece.segment, t) - level), sign * slope(rate, piece.segment, t)

    drop = piece.first - piece.last
    part = (piece.first - level) / xp.where(drop == 0.0, 1.0, drop)
    guess = piece.start + xp.minimum(xp.maximum(part, 0.0), 1.0) * (piece.end - piece.start)
    return _decreasing_root(excess, piece.start, piece.end, guess, TIME_TOLERANCE * piece.segment.length)


def _decreasing_root(
    function: Callable[[Array], tuple[Array, Array]],
    low: Array,
    high: Array,
    x: Array,
    tolerance: float | Array,
) -> Array:
    """Root of a decreasing function between ``low`` and ``high``, row by row; an end of the bracket where it has no root.

    A row that has converged stays as it is, so its value does not depend on its neighbours.
    """
    xp = namespace(x)
    active = xp.ones_like(x, dtype=bool)
    previous = high - low
    for _ in range(MAX_STEPS):
        value, derivative = function(x)
        low = xp.where(active & (value > 0.0), x, low)
        high = xp.where(active & (value <= 0.0), x, high)
        middle = 0.5 * (low + high)
        usable = derivative < 0.0
        newton = x - value / xp.where(usable, derivative, -1.0)
        short = xp.abs(newton - x) < 0.5 * xp.abs(previous)
        trial = xp.where(usable & (newton >= low) & (newton <= high) & short, newton, middle)
        step = trial - x
        x = xp.where(active, trial, x)
        previous = xp.where(active, step, previous)
        active &= (xp.abs(step) > tolerance) & (high - low > tolerance)
        if not active.any():
            break
    return x
