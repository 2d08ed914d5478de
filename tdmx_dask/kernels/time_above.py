"""The time that a course of doses spends above a level: every monotone piece crosses it at most once."""

from __future__ import annotations

from tdmx_dask.kernels.course import Course, Piece, concentration, monotone_pieces
from tdmx_dask.kernels.disposition import Array, namespace
from tdmx_dask.kernels.interval import total

__all__ = ["time_above"]

MAX_STEPS = 60
"""A bracket halved 60 times is at the resolution of float64."""

NEAR = 1e-12
"""Of a segment's length: a step towards the crossing that is the last."""


def time_above(profile: Course, level: float | Array) -> Array:
    """Fraction of a course's window in which the concentration is at a level or above it, for limits count as attained.

    Parameters
    ----------
    profile : a course over its window
    level : mg/L, >= 0, a number or (profile,)

    Returns
    -------
    (profile,), fraction in [0, 1]; NaN where a parameter is NaN
    """
    xp = namespace(profile.rate)
    level = level + xp.zeros_like(profile.rate[0])
    window = sum(segment.length for segment in profile.segments)
    above = xp.zeros_like(level)
    for piece in monotone_pieces(profile):
        length = piece.end - piece.start
        starts, ends = piece.first >= level, piece.last >= level
        above += xp.where(starts & ends, length, 0.0)
        rows = xp.nonzero(starts != ends)[0]
        if rows.shape[0] > 0:
            cross = _crossing(profile.rate, piece, level, rows)
            above[rows] += xp.where(starts[rows], cross - piece.start[rows], piece.end[rows] - cross)
    return xp.minimum(above / window, 1.0) + 0.0 * total(profile.rate)


def _crossing(rate: Array, piece: Piece, level: Array, rows: Array) -> Array:
    """When the rows of a piece cross the level: Newton steps within a bracket."""
    xp = namespace(rate)
    segment = piece.segment
    rate = xp.take(rate, rows, axis=1)
    held = xp.take(segment.held, rows, axis=1)
    plateau = None if segment.plateau is None else xp.take(segment.plateau, rows, axis=1)
    segment = segment._replace(held=held, plateau=plateau)
    drive = rate * ((0.0 if plateau is None else plateau) - held)
    low, high, wanted = piece.start[rows], piece.end[rows], level[rows]
    rises = piece.last[rows] > piece.first[rows]
    t = 0.5 * (low + high)
    for _ in range(MAX_STEPS):
        excess = concentration(rate, segment, t) - wanted
        past = (excess > 0.0) == rises
        low, high = xp.where(past, low, t), xp.where(past, t, high)
        slope = total(drive * xp.exp(rate * -t))
        newton = t - excess / xp.where(slope == 0.0, 1.0, slope)
        trial = xp.where((newton > low) & (newton < high) & (slope != 0.0), newton, 0.5 * (low + high))
        done = (xp.abs(trial - t) <= NEAR * segment.length).all()
        t = trial
        if done:
            break
    return t
