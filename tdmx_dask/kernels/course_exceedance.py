"""The concentration exceeded during a given fraction of any window: the critical MIC of ``T>MIC`` before steady state.

The time above a level is the sum over the monotone pieces of the course, each of which crosses the level at most once. It falls
as the level rises, so the level wanted is one root. It is found together with the crossing times (`_refined`): at its present
crossing every piece is replaced by its parabola, which says how long the piece stays above any level nearby, and Halley's step for the
sum gives the next level. The first level is that of chords (`tdmx_dask.kernels.chords`). Each row's residuals are then checked; a row that
misses is solved again by roots within brackets (`tdmx_dask.kernels.nested`). The error of the level is below 1e-10 of the highest
concentration of the window.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

from tdmx_dask.kernels.branches import (
    Branches,
    meeting,
    parabola,
    stacked,
    summed,
    taken,
    time_above,
    value,
)
from tdmx_dask.kernels.chords import first_guess, knots
from tdmx_dask.kernels.course import Course, monotone_pieces
from tdmx_dask.kernels.disposition import Array, namespace
from tdmx_dask.kernels.nested import nested_level

__all__ = ["course_exceeded"]

TOLERANCE = 1e-11
"""Residual of a solved row, as a fraction of the window's highest concentration."""

EDGE = 1e-10
"""Distance from a gap between branches, as a fraction of the highest concentration, at which a level is solved by brackets."""

PASS = 65536
"""Elements (pieces times rows) in one pass, so that temporaries stay in cache."""

SHORT = 1e-8
"""Residual of the time above the level of a solved row, as a fraction of the window."""

LESS = 1.0 - 1e-14
"""Times summed in float64 that should equal the time wanted do not fall short of it."""

NOTHING = 1e-12
"""Added to what may vanish, in units of the highest concentration and the window."""

ROUNDS = 4
"""Pairs of joint steps given to a row before its roots are bracketed."""


class _State(NamedTuple):
    """Level, crossing times (branch, profile), and the bounds of the level."""

    level: Array
    t: Array
    low: Array
    high: Array

    def of(self, rows: Array) -> _State:
        """Return the state of some profiles, given by a mask."""
        xp = namespace(self.level)
        chosen = xp.nonzero(rows)[0]
        return _State(*(xp.take(array, chosen, axis=-1) for array in self))


def course_exceeded(profile: Course, fraction: float) -> Array:
    """Concentration exceeded during ``fraction`` of the window.

    Parameters
    ----------
    profile : a course over its window
    fraction : of the window, 0 < fraction <= 1; 1 gives the lowest concentration, the window's start included

    Returns
    -------
    (profile,), mg/L; NaN where a parameter is NaN. Where a range of levels is exceeded for just this time, its upper end.
    """
    xp = namespace(profile.rate)
    pieces = monotone_pieces(profile)
    pieces = [piece for piece in pieces if (piece.end > piece.start).any()] or pieces[:1]
    lowest, highest = pieces[0].first, pieces[0].first
    for piece in pieces:
        lowest = xp.minimum(lowest, xp.minimum(piece.first, piece.last))
        highest = xp.maximum(highest, xp.maximum(piece.first, piece.last))
    if fraction == 1.0 or lowest.shape[0] == 0:
        return lowest + 0.0
    window = sum(segment.length for segment in profile.segments)
    wanted = fraction * window * LESS
    pieces.sort(key=lambda piece: piece.segment.plateau is not None)
    branches = functools.partial(stacked, profile.rate, pieces, highest, window)
    ends = [knots(profile.rate, piece, window) for piece in pieces]
    level = xp.empty_like(lowest)
    left = []
    width = max(1, PASS // len(pieces))
    for first in range(0, level.shape[0], width):
        rows = slice(first, first + width)
        state, missed = _solved(branches(rows), [knot[:, rows] for knot in ends], wanted)
        level[rows] = state.level
        left.append((first + xp.nonzero(missed)[0], state.of(missed)))
    late = xp.concat([rows for rows, _ in left])
    if late.shape[0] > 0:
        state = _State(
            *(xp.concat(arrays, axis=-1) for arrays in zip(*(state for _, state in left), strict=True))
        )
        level[late] = _solved_surely(branches(late), state, wanted)
    return level * highest


def _solved(branches: Branches, ends: Sequence[Array], wanted: float) -> tuple[_State, Array]:
    """Take the first joint steps from a guess; which rows need more."""
    xp = namespace(branches.low)
    lowest = xp.min(branches.low, axis=0)
    at_lowest = summed(xp.where(branches.high > lowest, branches.end - branches.start, 0.0))
    flat = (at_lowest <= wanted) | (1.0 - lowest <= TOLERANCE)
    level, t = first_guess(branches, ends, wanted)
    state, missed = _refined(branches, _State(level, t, lowest, xp.ones_like(lowest)), wanted)
    return state._replace(level=xp.where(flat, lowest, state.level)), missed & ~flat


def _solved_surely(branches: Branches, state: _State, wanted: float) -> Array:
    """Return the same level for rows that need more joint steps, or brackets."""
    xp = namespace(branches.low)
    level = state.level
    rows = xp.arange(level.shape[0])
    for _ in range(ROUNDS):
        state, missed = _refined(branches, state, wanted)
        level[rows] = state.level
        rows = rows[missed]
        if rows.shape[0] == 0:
            return level
        branches = taken(branches, xp.nonzero(missed)[0])
        state = state.of(missed)
    level[rows] = nested_level(branches, xp.min(branches.low, axis=0), wanted)
    return level


def _refined(branches: Branches, state: _State, wanted: float) -> tuple[_State, Array]:
    """Take two joint steps; which rows then have large residuals (a NaN has none)."""
    for _ in range(2):
        state, pace = _stepped(branches, state, wanted)
    xp = namespace(state.level)
    above, crosses = time_above(branches, state.t, state.level)
    short = xp.abs(above - wanted)
    change = summed(xp.where(crosses, pace, 0.0))
    off = xp.abs(value(branches, state.t) - state.level)
    residual = xp.max(xp.where(crosses, off, 0.0), axis=0)
    residual += short / xp.maximum(change, NOTHING * branches.window)
    # Just under a gap between the branches the level may belong to the gap's upper end.
    upwards = state.level + EDGE
    open_above = xp.any((upwards >= branches.low) & (upwards < branches.high), axis=0)
    return state, (residual > TOLERANCE) | (short > SHORT * branches.window) | ~open_above


def _stepped(branches: Branches, state: _State, wanted: float) -> tuple[_State, Array]:
    """Halley's step for the time above the level that the parabolas give, at most nine tenths of the way to either bound."""
    level, t, low, high = state
    xp = namespace(level)
    curve = parabola(branches, t)
    met, pace = meeting(branches, t, curve, level)
    above, crosses = time_above(branches, met, level)
    pace = xp.where(crosses, pace, 0.0)
    change = summed(pace)
    curvature = pace * pace
    curvature *= pace
    curvature *= curve.bend
    excess = above - wanted
    square = change * change
    halley = xp.maximum(2.0 * square - excess * summed(curvature), square) + (NOTHING * branches.window) ** 2
    low, high = xp.where(excess > 0.0, level, low), xp.where(excess > 0.0, high, level)
    trial = level + 2.0 * excess * change / halley
    level = xp.minimum(xp.maximum(trial, 0.1 * level + 0.9 * low), 0.1 * level + 0.9 * high)
    t, pace = meeting(branches, t, curve, level)
    return _State(level, t, low, high), pace
