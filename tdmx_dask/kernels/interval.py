"""One dosing interval of a regular regimen, in closed form, for a dose of 1 mg.

The concentration rises while the drug is infused and falls afterwards, both as sums of exponentials of time::

    rise(t) = plateau · (1 - Σ_k gap_k exp(-λ_k t)),              0 <= t <= tinf
    fall(t) = Σ_k peak_k exp(-λ_k (t - tinf)) · plateau,          tinf <= t <= tau

with the plateau 1/(CL·tinf). For a bolus there is no rise, and ``plateau`` is 1/CL. Everything is linear in the dose, so one
solution serves all doses.

Steady state is the geometric series Σ exp(-λ tau j) = 1/(1 - exp(-λ tau)) (Gibaldi & Perrier 1982, ch. 3), the n-th interval the
finite one. In both, the profile rises through the whole input: by linearity its slope is that of steady state, which is the
periodised impulse response minus what the wash-out of missing earlier doses would take away.
"""

from __future__ import annotations

from typing import NamedTuple

from tdmx_dask.kernels.disposition import Array, Modes, namespace

__all__ = ["IntervalProfile", "auc", "cmax", "cmin", "nth_interval", "steady_state", "total"]


class IntervalProfile(NamedTuple):
    """A dosing interval of a dose of 1 mg.

    Attributes
    ----------
    rate, share : (mode, profile), 1/h and share of AUC, as in `Modes`
    gap : (mode, profile), what the rise still lacks of the plateau at t = 0, as a fraction of the plateau
    peak : (mode, profile), the fall at t = tinf, as a fraction of the plateau
    plateau : (profile,), mg/L for 1 mg
    resistance : (profile,), 1/CL in h/L
    tau, tinf : h
    periodic : whether the interval starts as it ends (steady state)
    """

    rate: Array
    share: Array
    gap: Array
    peak: Array
    plateau: Array
    resistance: Array
    tau: float
    tinf: float
    periodic: bool


def total(per_mode: Array) -> Array:
    """Sum over the modes in a fixed order (no pairwise or blocked sum): the same bits for any block length."""
    if per_mode.shape[0] == 1:
        return per_mode[0]
    out = per_mode[0] + per_mode[1]
    for k in range(2, per_mode.shape[0]):
        out += per_mode[k]
    return out


def steady_state(modes: Modes, tau: float, tinf: float) -> IntervalProfile:
    """Return the interval at steady state for 1 mg every ``tau`` h, infused over ``tinf`` h (0 is a bolus).

    Parameters
    ----------
    modes : exponentials of the profiles
    tau : h, > 0
    tinf : h, 0 <= tinf <= tau
    """
    xp = namespace(modes.rate)
    rate, share, resistance = modes
    series = rate * -tau
    xp.expm1(series, out=series)
    xp.divide(share, series, out=series)  # -share / (1 - exp(-λ tau))
    if tinf == 0.0:
        series *= rate
        xp.negative(series, out=series)
        return IntervalProfile(rate, share, series, series, resistance, resistance, tau, tinf, True)
    gap = rate * (tinf - tau)
    xp.expm1(gap, out=gap)
    gap *= series
    peak = rate * -tinf
    xp.expm1(peak, out=peak)
    peak *= series
    return IntervalProfile(rate, share, gap, peak, resistance / tinf, resistance, tau, tinf, True)


def nth_interval(modes: Modes, tau: float, tinf: float, n: int) -> IntervalProfile:
    """Return the n-th interval (n = 1 is the first dose) of 1 mg every ``tau`` h, infused over ``tinf`` h.

    What earlier doses left at its start is a finite geometric series:
    Σ_{j=1}^{n-1} exp(-λ tau j) = exp(-λ tau) (1 - exp(-λ tau (n-1))) / (1 - exp(-λ tau)).
    """
    xp = namespace(modes.rate)
    rate, share = modes.rate, modes.share
    carried = xp.expm1(rate * (-tau * (n - 1))) / xp.expm1(rate * -tau)  # 0 for the first
    if tinf == 0.0:
        peak = share * rate * (1.0 + xp.exp(rate * -tau) * carried)
        return IntervalProfile(rate, share, peak, peak, modes.resistance, modes.resistance, tau, tinf, False)
    absorbed = -xp.expm1(rate * -tinf)
    left = xp.exp(rate * (tinf - tau)) * absorbed * carried  # of earlier doses, at this interval's start
    peak = share * (absorbed + left * xp.exp(rate * -tinf))
    return IntervalProfile(
        rate, share, share * (1.0 - left), peak, modes.resistance / tinf, modes.resistance, tau, tinf, False
    )


def cmax(profile: IntervalProfile) -> Array:
    """Highest concentration of the interval, that at the end of the input; (profile,), mg/L for 1 mg."""
    return total(profile.peak) * profile.plateau


def cmin(profile: IntervalProfile) -> Array:
    """Trough: the concentration at the interval's end, just before the next dose; (profile,), mg/L for 1 mg."""
    return total(_trough(profile)) * profile.plateau


def auc(profile: IntervalProfile) -> Array:
    """Area under the curve over the interval; (profile,), mg·h/L for 1 mg.

    At steady state 1/CL. Otherwise by the balance of each mode, c' = input - λ c: what came in, less the growth of what is there,
    divided by λ.
    """
    if profile.periodic:
        return profile.resistance + 0.0
    start = profile.share * profile.rate
    if profile.tinf == 0.0:
        kept = _trough(profile) - (profile.peak - start)
    else:
        kept = (_trough(profile) - (profile.share - profile.gap)) / profile.tinf
    return total((start - kept) / profile.rate) * profile.resistance


def _trough(profile: IntervalProfile) -> Array:
    xp = namespace(profile.rate)
    return profile.peak * xp.exp(profile.rate * (profile.tinf - profile.tau))
