"""A first guess of the concentration exceeded during a given time: the branches of a course replaced by chords.

Between two knots the concentration is taken as straight in time, its logarithm where there is no input. The time above a level is
then a broken line, whose root needs no exponential of a rate: halvings of the range of log concentration, then Newton steps.
"""

from __future__ import annotations

from collections.abc import Sequence

from tdmx_dask.kernels.branches import Branches, summed
from tdmx_dask.kernels.course import Piece, concentration
from tdmx_dask.kernels.disposition import Array, namespace

__all__ = ["first_guess", "knots"]

CHORDS = 8
"""Chords in a window that is all one segment; a shorter segment has its share, at least one."""

START = -1.4
"""Log of a quarter: the first level tried."""

NEWTON_STEPS = 2
"""The broken line is straight near its root, or nearly always."""

HALVINGS = 8
"""Of the range of log concentration."""

LOWEST = 1e-12
"""Of the highest concentration: where the search starts."""

NOTHING = 1e-300
"""Below every concentration whose logarithm is taken."""

STEEP = 1e-30
"""Below every slope that divides; in float32."""


def knots(rate: Array, piece: Piece, window: float) -> Array:
    """Concentrations at the ends of the chords of a piece, denser at its start; (chord + 1, profile), mg/L."""
    n = max(1, round(CHORDS * piece.segment.length / window))
    length = piece.end - piece.start
    inner = (concentration(rate, piece.segment, piece.start + length * (j / n) ** 2) for j in range(1, n))
    return namespace(rate).stack([piece.first, *inner, piece.last])


def first_guess(branches: Branches, knots_of: Sequence[Array], wanted: float) -> tuple[Array, Array]:
    """Guess the level, (profile,), and the crossing times, h, (branch, profile).

    Parameters
    ----------
    branches : the pieces of some profiles
    knots_of : of each piece
    wanted : h above the level
    """
    xp = namespace(branches.rate)
    lengths, heads, paces = _chords(branches, knots_of)
    n_straight = sum(knot.shape[0] - 1 for knot in knots_of[: branches.n_falls])
    parts = xp.empty_like(lengths)

    none = xp.zeros_like(lengths)

    def above(log_level: Array) -> Array:
        xp.subtract(heads[:n_straight], log_level, out=parts[:n_straight])
        xp.subtract(heads[n_straight:], xp.exp(log_level), out=parts[n_straight:])
        xp.multiply(parts, paces, out=parts)
        xp.maximum(parts, none, out=parts)
        xp.minimum(parts, lengths, out=parts)
        return summed(parts)

    low = xp.log(xp.maximum(xp.min(branches.low, axis=0), LOWEST)).astype(xp.float32)
    high = xp.zeros_like(low)
    log_level = xp.maximum(0.5 * low, START)
    for step in range(HALVINGS + NEWTON_STEPS):
        excess = above(log_level) - wanted
        enough = excess > 0.0
        low, high = xp.where(enough, log_level, low), xp.where(enough, high, log_level)
        tried, log_level = log_level, 0.5 * (low + high)
        if step >= HALVINGS:
            slopes = xp.where((parts > 0.0) & (parts < lengths), paces, 0.0)
            slopes[n_straight:] *= xp.exp(tried)
            newton = tried + excess / xp.maximum(summed(slopes), STEEP)
            log_level = xp.where((newton > low) & (newton < high), newton, log_level)
    above(log_level)
    return xp.exp(log_level.astype(xp.float64)), _times(branches, knots_of, parts)


def _chords(branches: Branches, knots_of: Sequence[Array]) -> tuple[Array, Array, Array]:
    """Length (h), upper end and h per unit of (log) concentration of all chords; (chord, profile)."""
    xp = namespace(branches.rate)
    scale = 1.0 / xp.where(branches.highest > 0.0, branches.highest, 1.0)
    shape = (sum(knot.shape[0] - 1 for knot in knots_of), scale.shape[0])
    lengths, heads, paces = (xp.empty(shape, dtype=xp.float32) for _ in range(3))
    chord = 0
    for i, knot in enumerate(knots_of):
        n = knot.shape[0] - 1
        heights = knot * scale
        if i < branches.n_falls:
            heights = xp.log(xp.maximum(heights, NOTHING))
        length = branches.end[i] - branches.start[i]
        for j in range(n):
            xp.multiply(length, (2 * j + 1) / n**2, out=lengths[chord])
            xp.maximum(heights[j], heights[j + 1], out=heads[chord])
            xp.abs(heights[j + 1] - heights[j], out=paces[chord])
            chord += 1
    xp.maximum(paces, LOWEST, out=paces)
    xp.divide(lengths, paces, out=paces)
    return lengths, heads, paces


def _times(branches: Branches, knots_of: Sequence[Array], parts: Array) -> Array:
    """Time at which each branch crosses a level above which its chords stay for ``parts``; (branch, profile), h."""
    xp = namespace(parts)
    t = xp.where(branches.sign > 0.0, branches.end, branches.start)
    chord = 0
    for i, knot in enumerate(knots_of):
        n = knot.shape[0] - 1
        t[i] -= branches.sign[i] * summed(parts[chord : chord + n])
        chord += n
    return xp.minimum(xp.maximum(t, branches.start), branches.end)
