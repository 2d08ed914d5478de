"""The concentration that a dosing interval exceeds during a given fraction of it: the critical MIC of ``T>MIC`` targets.

A profile that rises through its input and falls after it is above a level during one stretch of time. The level that it exceeds
for exactly ``w = fraction · tau`` is the one with ``rise(t) = fall(t + w)``. With t counted from the low end of its bracket that is
one equation of one unknown,

    f(t) = Σ_k c_k exp(-λ_k t) = 1,    c_k >= 0,   0 <= t <= span,

log-convex and decreasing. One compartment solves it directly. Otherwise the first guess is the root of the second-order expansion
of log f at 0 (no exponential is needed there), then one Halley step. The step's length bounds what is left: Halley's error is below
(λ_1 step)³ (Traub, Iterative Methods for the Solution of Equations, 1964, §5.2). Each row whose step is not short enough goes on by
safeguarded Halley steps in a bracket, so every row is solved, whatever its neighbours.
"""

from __future__ import annotations

from tdmx_dask.kernels.disposition import TINY_RATE, Array, namespace
from tdmx_dask.kernels.interval import IntervalProfile, cmin, total

__all__ = ["exceeded"]

SHORT_STEP = 5e-4
"""λ_1 · step below which a Halley step is the last: the error left, (5e-4)³ = 1.3e-10 at most, is relative to the concentration."""

MAX_STEPS = 100
"""A bracket halved 100 times is at the resolution of float64."""


def exceeded(profile: IntervalProfile, fraction: float) -> Array:
    """Concentration exceeded during ``fraction`` of the interval, for a dose of 1 mg.

    Parameters
    ----------
    profile : a dosing interval
    fraction : of the interval, 0 < fraction <= 1; 1 gives the lowest concentration

    Returns
    -------
    (profile,), mg/L for 1 mg; NaN where a parameter is NaN
    """
    tau, tinf = profile.tau, profile.tinf
    width = fraction * tau
    if tinf == 0.0:
        return _fall_at(profile, width)
    if fraction == 1.0:
        if profile.periodic:
            return cmin(profile)
        return (1.0 - total(profile.gap)) * profile.plateau
    if tinf == tau and profile.periodic:
        return profile.plateau + 0.0
    low = max(0.0, tinf - width)
    high = min(tinf, tau - width)
    rise, fall = _shifted(profile, low, width)
    lacking = rise + fall
    one = lacking.shape[0] == 1
    level = (fall / lacking)[0] if one else _level(profile.rate, lacking, fall, high - low)
    level *= profile.plateau
    if not profile.periodic and tau - width < tinf:
        _cut_by_interval_end(profile, level, rise, lacking, high - low)
    return level


def _fall_at(profile: IntervalProfile, t: float) -> Array:
    xp = namespace(profile.rate)
    return total(profile.peak * xp.exp(profile.rate * (profile.tinf - t))) * profile.plateau


def _shifted(profile: IntervalProfile, low: float, width: float) -> tuple[Array, Array]:
    """Coefficients of rise and fall with time counted from ``low``, the fall ``width`` later; no exponent is positive."""
    xp = namespace(profile.rate)
    rise, fall = profile.gap, profile.peak
    if low > 0.0:
        rise = profile.rate * -low
        xp.exp(rise, out=rise)
        rise *= profile.gap
    delay = low + width - profile.tinf
    if delay > 0.0:
        fall = profile.rate * -delay
        xp.exp(fall, out=fall)
        fall *= profile.peak
    return rise, fall


def _cut_by_interval_end(
    profile: IntervalProfile, level: Array, rise: Array, lacking: Array, span: float
) -> None:
    """Where the fall has not come down to the level when the interval ends, the level is where the rise is ``width`` before."""
    xp = namespace(profile.rate)
    decay = xp.exp(profile.rate * -span)
    cut = total(lacking * decay) > 1.0
    level[cut] = ((1.0 - total(rise * decay)) * profile.plateau)[cut]


def _level(rate: Array, lacking: Array, fall: Array, span: float) -> Array:
    """Σ_k fall_k exp(-λ_k t) at the root t of Σ_k lacking_k exp(-λ_k t) = 1 in [0, span]; (profile,)."""
    xp = namespace(rate)
    t = _first_guess(rate, lacking, span)
    decay = rate * t
    xp.negative(decay, out=decay)
    xp.exp(decay, out=decay)
    step = _halley_step(rate, lacking * decay)
    left = fall * decay
    # exp(-λ step) by its series: the step is short, or the row is solved again below
    move = rate * step
    size = xp.abs(move[0])
    series = 0.5 * move
    series -= 1.0
    series *= move
    series += 1.0
    series *= left
    level = total(series)
    late = size > SHORT_STEP
    if late.any():
        rows = xp.nonzero(late)[0]
        rate, lacking, fall = (xp.take(per_mode, rows, axis=1) for per_mode in (rate, lacking, fall))
        level[rows] = _finish(rate, lacking, fall, t[rows] + step[rows], span)
    return level


def _first_guess(rate: Array, lacking: Array, span: float) -> Array:
    """Root of the second-order expansion of log f at 0: log f - p t + q t²/2, p = f1/f0, q = f2/f0 - p² >= 0; (profile,), h."""
    xp = namespace(rate)
    weighted = rate * lacking
    excess = total(lacking)
    p = total(weighted)
    weighted *= rate
    q = total(weighted)
    p /= excess
    q /= excess
    q -= p * p
    xp.log(excess, out=excess)
    excess *= 2.0
    q *= excess
    root = p * p
    root -= q
    xp.maximum(root, 0.0, out=root)
    xp.sqrt(root, out=root)
    root += p
    excess /= root
    return xp.minimum(excess, span, out=excess)


def _halley_step(rate: Array, terms: Array) -> Array:
    """Halley's step for Σ terms = 1, with terms the c_k exp(-λ_k t) at the present t; overwrites ``terms``; (profile,), h."""
    f = total(terms)
    terms *= rate
    f1 = total(terms)
    terms *= rate
    f2 = total(terms)
    f -= 1.0
    f2 *= f
    f *= f1
    f *= 2.0
    f1 *= f1
    f1 *= 2.0
    f1 -= f2
    f1 += TINY_RATE
    f /= f1
    return f


def _finish(rate: Array, lacking: Array, fall: Array, trial: Array, span: float) -> Array:
    """The rows whose first step was long: Halley steps kept in a shrinking bracket, each row until its own step is short."""
    xp = namespace(rate)
    level = xp.empty_like(trial)
    rows = xp.arange(trial.shape[0])
    low, high = xp.zeros_like(trial), xp.full_like(trial, span)
    for _ in range(MAX_STEPS):
        t = xp.where((trial > low) & (trial < high), trial, 0.5 * (low + high))
        decay = xp.exp(rate * -t)
        terms = lacking * decay
        excess = total(terms) - 1.0
        low, high = xp.where(excess > 0.0, t, low), xp.where(excess > 0.0, high, t)
        trial = t + _halley_step(rate, terms)
        last = xp.minimum(xp.maximum(trial, low), high)
        far = xp.maximum(rate[0] * xp.abs(trial - t), 0.5 * xp.abs(excess))
        done = ~((far > SHORT_STEP) & (rate[0] * (high - low) > SHORT_STEP))
        ended = xp.nonzero(done)[0]
        there = xp.exp(xp.take(rate, ended, axis=1) * -last[ended])
        level[rows[ended]] = total(xp.take(fall, ended, axis=1) * there)
        go = xp.nonzero(~done)[0]
        if go.shape[0] == 0:
            break
        rows, trial, low, high = rows[go], trial[go], low[go], high[go]
        rate, lacking, fall = (xp.take(per_mode, go, axis=1) for per_mode in (rate, lacking, fall))
    return level
