"""The monotone pieces of a course, stacked in arrays: their values, their parabolas, the time that they stay above a level.

Concentrations are fractions of the window's highest. Each piece ("branch") crosses a level at most once. At a time t near that
crossing it is close to its parabola, with value C, slope S and second derivative K there, which meets a level L at

    t + 2 (L - C) / (S ± √(S² + 2 K (L - C)))

(the quadratic formula that stays exact where S or K vanishes), with the slope ±√(…) at that meeting.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tdmx_dask.kernels.course import Piece
from tdmx_dask.kernels.disposition import Array, namespace
from tdmx_dask.kernels.interval import total

__all__ = [
    "FLAT",
    "Branches",
    "Parabola",
    "meeting",
    "parabola",
    "stacked",
    "summed",
    "taken",
    "time_above",
    "value",
]

FLAT = 1e-10
"""Of the highest concentration, per window: what is added to a slope, so that no step is infinite."""


class Branches(NamedTuple):
    """Monotone pieces of a block of profiles, those without input first.

    Attributes
    ----------
    rate : (mode, 1, profile), 1/h
    drive : (mode, branch, profile), what each mode still has to lose (or, negative, to gain)
    base : (branch, profile), the concentration at the segment's start; 0 without input
    start, end : (branch, profile), h after the segment's start
    low, high : (branch, profile), the concentrations between which the branch runs
    sign : (branch, profile), 1 where it rises, -1 where it falls
    anchor : (branch, profile), the end of a rise, minus the start of a fall, so that ``anchor - sign·t`` is the time above, h
    highest : (profile,), mg/L, the unit of concentration
    n_falls : number of branches without input
    window : h
    """

    rate: Array
    drive: Array
    base: Array
    start: Array
    end: Array
    low: Array
    high: Array
    sign: Array
    anchor: Array
    highest: Array
    n_falls: int
    window: float


class Parabola(NamedTuple):
    """Value, |slope| (1/h) and second derivative (1/h²) of each branch at its present time; (branch, profile)."""

    value: Array
    steep: Array
    bend: Array


def stacked(
    rate: Array, pieces: Sequence[Piece], highest: Array, window: float, rows: slice | Array
) -> Branches:
    """Stack the pieces (those without input first) of some profiles, in units of the highest concentration."""
    xp = namespace(rate)
    highest = highest[rows]
    scale = 1.0 / xp.where(highest > 0.0, highest, 1.0)
    shape = (len(pieces), highest.shape[0])
    drive = xp.empty((rate.shape[0], *shape))
    base, sign = xp.zeros(shape), xp.full(shape, -1.0)
    start, end, low, high = xp.empty(shape), xp.empty(shape), xp.empty(shape), xp.empty(shape)
    for i, piece in enumerate(pieces):
        start[i], end[i] = piece.start[rows], piece.end[rows]
        first, last = piece.first[rows] * scale, piece.last[rows] * scale
        low[i], high[i] = xp.minimum(first, last), xp.maximum(first, last)
        held = piece.segment.held[:, rows]
        if piece.segment.plateau is not None:
            base[i] = total(held) * scale
            sign[i] = xp.where(last > first, 1.0, -1.0)
            held = held - piece.segment.plateau[:, rows]
        drive[:, i] = held * scale
    n_falls = sum(piece.segment.plateau is None for piece in pieces)
    rate = rate[:, rows][:, None]
    anchor = xp.where(sign > 0.0, end, -start)
    return Branches(rate, drive, base, start, end, low, high, sign, anchor, highest, n_falls, window)


def taken(branches: Branches, rows: Array) -> Branches:
    """Return the branches of some profiles."""
    xp = namespace(rows)
    arrays = zip(Branches._fields, branches, strict=True)
    return branches._replace(
        **{name: xp.take(array, rows, axis=-1) for name, array in arrays if name not in ("n_falls", "window")}
    )


def summed(parts: Array) -> Array:
    """Sum over the first axis in its order. One column alone would be summed pairwise, so it goes another way."""
    return total(parts) + 0.0 if parts.shape[-1] == 1 else namespace(parts).sum(parts, axis=0)


def value(branches: Branches, t: Array) -> Array:
    """Concentration of each branch at its time; (branch, profile)."""
    return total(_decay(branches, t)) + branches.base


def parabola(branches: Branches, t: Array) -> Parabola:
    """Parabola of each branch at its time."""
    xp = namespace(t)
    terms = _decay(branches, t)
    here = total(terms) + branches.base
    n = branches.n_falls
    terms[:, n:] += branches.drive[:, n:]
    terms *= branches.rate
    steep = xp.abs(total(terms))
    terms *= branches.rate
    return Parabola(here, steep, total(terms))


def meeting(branches: Branches, t: Array, curve: Parabola, level: Array) -> tuple[Array, Array]:
    """Where each parabola meets the level, kept within its branch, h; and how long a unit of level takes there, h."""
    xp = namespace(t)
    twice = level - curve.value
    twice *= 2.0
    slope = curve.bend * twice
    slope += curve.steep * curve.steep
    xp.maximum(slope, 0.0, out=slope)
    xp.sqrt(slope, out=slope)
    slope += FLAT / branches.window
    twice *= branches.sign
    twice /= slope + curve.steep
    twice += t
    xp.maximum(twice, branches.start, out=twice)
    xp.minimum(twice, branches.end, out=twice)
    return twice, xp.divide(1.0, slope, out=slope)


def time_above(branches: Branches, t: Array, level: Array) -> tuple[Array, Array]:
    """Time above a level if each branch crosses it at ``t``, (profile,), h; and which branches do, (branch, profile)."""
    xp = namespace(t)
    reached, crosses = level >= branches.low, level < branches.high
    part = branches.anchor - branches.sign * t
    part = xp.where(reached, part, branches.end - branches.start)
    part *= crosses
    crosses &= reached
    return summed(part), crosses


def _decay(branches: Branches, t: Array) -> Array:
    """drive·exp(-λt) without input, drive·(exp(-λt) - 1) with it; (mode, branch, profile)."""
    xp = namespace(t)
    n = branches.n_falls
    terms = branches.rate * -t
    xp.exp(terms[:, :n], out=terms[:, :n])
    xp.expm1(terms[:, n:], out=terms[:, n:])
    terms *= branches.drive
    return terms
