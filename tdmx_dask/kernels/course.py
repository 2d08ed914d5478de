"""The concentration over any dose history: sums of exponentials between events, exact.

Each mode of the disposition is a store of its own: what it holds decays with its rate, an infusion fills it towards its plateau. So
between two events (a dose's start, an infusion's end)

    C(t) = Σ_k plateau_k (1 - exp(-λ_k t)) + held_k exp(-λ_k t),

and what is held at the segment's end starts the next one. Nothing is stepped: each segment is exact whatever its length (the modes are
uncoupled, so superposition is plain addition). Steady state of a repeated cycle starts from what one cycle leaves, times the
geometric series 1/(1 - exp(-λ tau)).

Without input the concentration falls, for all that is held is positive. During an infusion its slope is a sum of as many
exponentials as there are modes, of either sign, which has at most ``modes - 1`` zeros (Descartes' rule for exponential sums;
Pólya & Szegő, Problems and Theorems in Analysis II, part V, no. 77). Cut there, every piece of the course is monotone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from tdmx_dask.kernels.disposition import Array, Modes, namespace
from tdmx_dask.kernels.interval import total

__all__ = [
    "Course",
    "Input",
    "Segment",
    "concentration",
    "course",
    "course_at",
    "course_auc",
    "course_cmax",
    "course_cmin",
    "held_at",
    "monotone_pieces",
    "periodic_start",
    "walk",
    "wrapped",
]


SAME_TIME = 1e-11
"""Of a time: times as near as this are one, for a multiple of tau need not be exact in float64."""

STILL = 1e-9
"""Of a segment's length: a step towards a stationary point that is the last. The concentration's error is of its square."""

MAX_STEPS = 60
"""A bracket halved 60 times is at the resolution of float64."""


class Input(NamedTuple):
    """One dose into the central compartment.

    Attributes
    ----------
    time : h, start of the input
    amount : mg, a number or (profile,)
    tinf : h, 0 for a bolus
    """

    time: float
    amount: float | Array
    tinf: float


class Segment(NamedTuple):
    """A stretch without events; time runs from its start.

    Attributes
    ----------
    length : h, > 0
    held : (mode, profile), mg/L, what each mode holds at the start, a bolus given there included
    plateau : (mode, profile), mg/L, what each mode would rise to; None without an infusion
    """

    length: float
    held: Array
    plateau: Array | None


class Course(NamedTuple):
    """A window of the concentration.

    Attributes
    ----------
    rate : of the modes, (mode, profile), 1/h
    segments : of the window, in order
    under_way : the concentration at the window's start is one of the window's own: treatment has begun before, and no dose that ends
        an interval is due then
    """

    rate: Array
    segments: tuple[Segment, ...]
    under_way: bool = False


class Piece(NamedTuple):
    """A monotone stretch of a segment.

    Attributes
    ----------
    segment : where it lies
    start, end : (profile,), h after the segment's start; an empty piece has start = end
    first, last : (profile,), mg/L at its ends
    """

    segment: Segment
    start: Array
    end: Array
    first: Array
    last: Array


def course(
    modes: Modes, inputs: Sequence[Input], window: tuple[float, float], *, cycle: float | None = None
) -> Course:
    """Return the concentration of a window, segment by segment.

    Parameters
    ----------
    modes : exponentials of the profiles
    inputs : doses, in any order; those that start at the window's end or later are left out
    window : (start, end) in h, 0 <= start < end; a dose at ``start`` belongs to it
    cycle : h; the inputs repeat for ever with this period, and the window lies in [0, cycle]

    Returns
    -------
    Course whose segments cover the window
    """
    held = modes.share * 0.0
    near = SAME_TIME * max(window[0], cycle or 0.0)
    inputs = [
        dose._replace(time=window[0]) if abs(dose.time - window[0]) <= near else dose for dose in inputs
    ]
    under_way = _under_way(inputs, window[0], near, cycle)
    if cycle is not None:
        inputs = wrapped(inputs, cycle)
        held = periodic_start(modes, inputs, cycle)
    return Course(modes.rate, tuple(_walk(modes, inputs, held, window)[1]), under_way)


def _under_way(inputs: Sequence[Input], start: float, near: float, cycle: float | None) -> bool:
    """Whether treatment has begun before a time, and goes on at it: by no new dose, but one that an infusion runs into."""
    if cycle is not None:
        inputs = [*(dose._replace(time=dose.time - cycle) for dose in inputs), *inputs]
    before = [dose for dose in inputs if dose.time < start]
    due = [dose for dose in inputs if dose.time == start]
    runs = any(dose.tinf > 0.0 and dose.time + dose.tinf >= start - near for dose in before)
    return bool(before) and (not due or (runs and all(dose.tinf > 0.0 for dose in due)))


def course_at(modes: Modes, inputs: Sequence[Input], time: float) -> Array:
    """Concentration at ``time`` (h, > 0), just before a dose that is due then; (profile,), mg/L."""
    held, _ = _walk(modes, inputs, modes.share * 0.0, (0.0, time))
    return total(held)


def course_auc(profile: Course) -> Array:
    """Area under the curve over the window; (profile,), mg·h/L."""
    xp = namespace(profile.rate)
    area = 0.0 * profile.rate[0]
    for segment in profile.segments:
        decayed = -xp.expm1(profile.rate * -segment.length) / profile.rate
        per_mode = segment.held * decayed
        if segment.plateau is not None:
            per_mode += segment.plateau * _ramp(profile.rate, segment.length)
        area += total(per_mode)
    return area


def course_cmax(profile: Course) -> Array:
    """Highest concentration of the window; (profile,), mg/L."""
    xp = namespace(profile.rate)
    highest = 0.0 * profile.rate[0]
    for piece in monotone_pieces(profile):
        highest = xp.maximum(highest, xp.maximum(piece.first, piece.last))
    return highest


def course_cmin(profile: Course) -> Array:
    """Lowest concentration of the window once treatment has begun; (profile,), mg/L.

    It is where the concentration stops falling, where the window ends, or where it starts: but not before the first dose (it is 0
    there), nor just before a dose that is due at the start, for that trough belongs to the interval before.
    """
    xp = namespace(profile.rate)
    pieces = monotone_pieces(profile)
    lowest = xp.minimum(pieces[-1].last, pieces[0].first) if profile.under_way else pieces[-1].last
    for piece in pieces:
        falls = piece.last < piece.first
        lowest = xp.where(falls, xp.minimum(lowest, piece.last), lowest)
    return lowest


def concentration(rate: Array, segment: Segment, t: float | Array) -> Array:
    """Concentration at ``t`` h after the segment's start; (profile,), mg/L."""
    return total(held_at(rate, segment, t))


def monotone_pieces(profile: Course) -> list[Piece]:
    """Cut every segment where its slope vanishes: at most ``modes`` pieces, some of them empty."""
    xp = namespace(profile.rate)
    pieces = []
    for segment in profile.segments:
        here = xp.zeros_like(profile.rate[0])
        value = total(segment.held)
        for cut in [*_stationary(profile.rate, segment), here + segment.length]:
            value_there = concentration(profile.rate, segment, cut)
            pieces.append(Piece(segment, here, cut, value, value_there))
            here, value = cut, value_there
    return pieces


def walk(
    modes: Modes, inputs: Sequence[Input], held: Array, end: float, stops: Sequence[float] = ()
) -> Iterator[tuple[float, Segment, Array]]:
    """Go through the segments from time 0 to ``end``.

    Parameters
    ----------
    modes : exponentials of the profiles
    inputs : doses, in any order; those that start at ``end`` or later are left out
    held : (mode, profile), mg/L, what each mode holds at time 0, before a dose that is due then
    end : h, > 0
    stops : h, moments at which a segment ends even without an event

    Yields
    ------
    start : h, of the segment
    segment : with what is held there after a bolus
    left : (mode, profile), mg/L, what is held at its end
    """
    taken = sorted((dose for dose in inputs if dose.time < end), key=lambda dose: dose.time)
    ends = (dose.time + dose.tinf for dose in taken)
    times = sorted({0.0, end, *stops, *(dose.time for dose in taken), *(t for t in ends if t < end)})
    running: list[Input] = []
    due = 0
    for here, there in pairwise(times):
        running = [dose for dose in running if here < dose.time + dose.tinf]
        while due < len(taken) and taken[due].time == here:
            dose = taken[due]
            due += 1
            if dose.tinf > 0.0:
                running.append(dose)
            else:
                held = held + modes.share * modes.rate * (modes.resistance * dose.amount)
        infused: float | Array | None = None
        for dose in running:
            infused = dose.amount / dose.tinf + (0.0 if infused is None else infused)
        plateau = None if infused is None else modes.share * (modes.resistance * infused)
        segment = Segment(there - here, held, plateau)
        held = held_at(modes.rate, segment, segment.length)
        yield here, segment, held


def periodic_start(modes: Modes, inputs: Sequence[Input], cycle: float) -> Array:
    """What each mode holds at the start of a cycle of wrapped inputs that repeats for ever; (mode, profile), mg/L."""
    xp = namespace(modes.rate)
    held, _ = _walk(modes, inputs, modes.share * 0.0, (0.0, cycle))
    return held / -xp.expm1(modes.rate * -cycle)


def _walk(
    modes: Modes, inputs: Sequence[Input], held: Array, window: tuple[float, float]
) -> tuple[Array, list[Segment]]:
    """Run from time 0 to the window's end; what is held there (before a dose due then), and the window's segments."""
    start, end = window
    left, segments = held, []
    for here, segment, left in walk(modes, inputs, held, end, (start,)):  # noqa: B007
        if here >= start:
            segments.append(segment)
    return left, segments


def wrapped(inputs: Sequence[Input], cycle: float) -> list[Input]:
    """Inputs of one cycle, an infusion that crosses its end continued at its beginning (where it ran on from the last cycle)."""
    within = []
    for dose in inputs:
        over = dose.time + dose.tinf - cycle
        if over > 0.0:
            rate = dose.amount / dose.tinf
            within += [
                Input(dose.time, rate * (dose.tinf - over), dose.tinf - over),
                Input(0.0, rate * over, over),
            ]
        else:
            within.append(dose)
    return within


def held_at(rate: Array, segment: Segment, t: float | Array) -> Array:
    """What each mode holds at ``t`` h after the segment's start; (mode, profile), mg/L."""
    xp = namespace(rate)
    exponent = rate * -t
    if segment.plateau is None:
        return segment.held * xp.exp(exponent)
    lost = xp.expm1(exponent)
    return segment.held + (segment.held - segment.plateau) * lost


def _ramp(rate: Array, length: float) -> Array:
    """∫ (1 - exp(-λ t)) dt over a length L = L - (1 - exp(-λL))/λ; by its series where the difference would cancel; h."""
    xp = namespace(rate)
    y = rate * length
    series = y * (1 / 2 - y * (1 / 6 - y * (1 / 24 - y * (1 / 120 - y / 720))))
    return length * xp.where(y < 1e-2, series, 1.0 + xp.expm1(-y) / y)


def _stationary(rate: Array, segment: Segment) -> list[Array]:
    """Times at which the slope may change its sign, in order, (profile,) each; the segment's end where there is none."""
    if segment.plateau is None or rate.shape[0] == 1:
        return []
    xp = namespace(rate)
    drive = rate * (segment.plateau - segment.held)
    length = segment.length
    if rate.shape[0] == 2:
        return [_opposed(xp, drive[0], drive[1], rate[0] - rate[1], length)]
    apart = rate - rate[2]
    turn = _opposed(xp, drive[0] * apart[0], drive[1] * apart[1], rate[0] - rate[1], length)
    start, tolerance = xp.zeros_like(turn), STILL * length
    return [
        _sign_change(rate, drive, start, turn, tolerance),
        _sign_change(rate, drive, turn, start + length, tolerance),
    ]


def _opposed(xp: Array, fast: Array, slow: Array, difference: Array, length: float) -> Array:
    """Root of fast·exp(-difference·t) + slow = 0 in [0, length], else length."""
    opposed = (fast * slow < 0.0) & (xp.abs(fast) > xp.abs(slow)) & (difference > 0.0)
    ratio = xp.where(opposed, -fast / xp.where(opposed, slow, 1.0), 1.0)
    t = xp.log(ratio) / xp.where(opposed, difference, 1.0)
    return xp.where(opposed & (t < length), t, length)


def _sign_change(rate: Array, drive: Array, low: Array, high: Array, tolerance: float) -> Array:
    """Where Σ drive·exp(-λt), monotone between the two times but for a positive factor, changes its sign; else ``high``."""
    xp = namespace(rate)
    rises = total(drive * xp.exp(rate * -low)) > 0.0
    rows = xp.nonzero(rises != (total(drive * xp.exp(rate * -high)) > 0.0))[0]
    t = high + 0.0
    if rows.shape[0] > 0:
        drive = xp.take(drive, rows, axis=1) * xp.where(rises[rows], 1.0, -1.0)
        t[rows] = _zero(xp.take(rate, rows, axis=1), drive, low[rows], high[rows], tolerance)
    return t


def _zero(rate: Array, drive: Array, low: Array, high: Array, tolerance: float) -> Array:
    """Zero of Σ drive·exp(-λt), positive before it, by Newton steps within a bracket, each row until its own step is short."""
    xp = namespace(rate)
    t = 0.5 * (low + high)
    active = xp.ones_like(t, dtype=bool)
    for _ in range(MAX_STEPS):
        terms = drive * xp.exp(rate * -t)
        here = total(terms)
        low, high = xp.where(here > 0.0, t, low), xp.where(here > 0.0, high, t)
        change = total(rate * terms)
        newton = t + here / xp.where(change == 0.0, 1.0, change)
        trial = xp.where((newton > low) & (newton < high), newton, 0.5 * (low + high))
        step = xp.abs(trial - t)
        t = xp.where(active, trial, t)
        active &= step > tolerance
        if not active.any():
            break
    return t
