"""From a regimen and a target to the kernel that answers it.

A regular regimen is solved for 1 mg and scaled, so regimens that differ in dose alone share one solution (and PTA depends on dose/MIC
alone, to the bit where the ratio is a power of two). Everything else is a course of doses over a window.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tdmx_dask.domain.regimen import DoseEvent, Regimen
from tdmx_dask.domain.target import AllOf, Target
from tdmx_dask.errors import InputError
from tdmx_dask.kernels import course as courses
from tdmx_dask.kernels import interval as intervals
from tdmx_dask.kernels.course_exceedance import course_exceeded
from tdmx_dask.kernels.disposition import Modes
from tdmx_dask.kernels.exceedance import exceeded
from tdmx_dask.kernels.time_above import time_above
from tdmx_dask.kernels.timecourse import concentrations_at

__all__ = ["Exposures", "Need", "course_need", "critical_mic_of", "need", "single_targets"]

Floats = NDArray[np.float64]
Functional = Literal["exceeded", "auc", "cmax", "cmin", "at"]

DAY = 24.0

_FUNCTIONAL: dict[str, Functional] = {
    "T>MIC": "exceeded",
    "AUC": "auc",
    "AUC24": "auc",
    "Cmax": "cmax",
    "Cmin": "cmin",
    "C": "at",
}
_OF_COURSE: dict[Functional, Callable[[courses.Course], Floats]] = {
    "auc": courses.course_auc,
    "cmax": courses.course_cmax,
    "cmin": courses.course_cmin,
}
_OF_INTERVAL: dict[Functional, Callable[[intervals.IntervalProfile], Floats]] = {
    "auc": intervals.auc,
    "cmax": intervals.cmax,
    "cmin": intervals.cmin,
}


@dataclass(frozen=True, slots=True)
class Need:
    """What must be known of a concentration profile.

    Parameters
    ----------
    functional : exceeded (during `fraction` of the window), auc, cmax, cmin, or at (the window's end)
    fraction : for ``exceeded``, in (0, 1]
    regular : (tau, tinf, n): the n-th interval of a regular regimen, n = 0 at steady state; None for a course
    events, window, cycle : the doses of a course, its window (h), and the period with which they repeat
    factor : mg (or mg/kg) by which the solution for 1 mg is scaled, times 24/tau for a mean daily AUC
    weight : covariate by which mg/kg is multiplied; empty for mg
    """

    functional: Functional
    fraction: float
    regular: tuple[float, float, int] | None
    events: tuple[DoseEvent, ...]
    window: tuple[float, float]
    cycle: float | None
    factor: float
    weight: str

    @property
    def solution(self) -> Need:
        """What the kernel solves: the need without its scale."""
        return Need(
            self.functional,
            self.fraction,
            self.regular,
            self.events,
            self.window,
            self.cycle,
            1.0,
            "" if self.regular else self.weight,
        )


def single_targets(target: Target | AllOf) -> tuple[Target, ...]:
    """Return the targets that must all be attained."""
    return target.targets if isinstance(target, AllOf) else (target,)


def need(regimen: Regimen, target: Target) -> Need:
    """Translate a target of a regimen into what the kernels must solve.

    Raises
    ------
    InputError
        The window does not go with the regimen, or an AUC24 before steady state is asked of a window that is not 24 h long.
    """
    functional = _FUNCTIONAL[target.index]
    if target.index == "C":
        assert target.time is not None  # noqa: S101  checked by Target
        if target.time == 0:
            raise InputError(
                "time", "0 h", "a concentration is asked for after the first dose", "Give a later time."
            )
        events = regimen.events(target.time)
        return Need(functional, 0.0, None, events, (0.0, target.time), None, 1.0, _weight(regimen, events))
    fraction = target.lower if target.index == "T>MIC" and target.lower is not None else 0.0
    span = target.window.span(regimen)
    factor = 1.0
    if target.index == "AUC24":
        factor = _daily(target, regimen, span)
    regular = _regular(regimen, target, span)
    if regular is not None:
        assert regimen.cycle is not None  # noqa: S101
        dose = regimen.cycle.events
        return Need(
            functional,
            fraction,
            regular,
            (),
            (0.0, 0.0),
            None,
            factor * dose[0].amount,
            _weight(regimen, dose),
        )
    if span is None:
        assert regimen.cycle is not None  # noqa: S101
        cycle = regimen.cycle
        weight = _weight(regimen, cycle.events)
        return Need(functional, fraction, None, cycle.events, (0.0, cycle.tau), cycle.tau, factor, weight)
    events = regimen.events(span[1])
    return Need(functional, fraction, None, events, span, None, factor, _weight(regimen, events))


def course_need(regimen: Regimen, span: tuple[float, float] | None) -> Need:
    """The doses of a course over a span (h), or of the cycle that repeats where it is None (steady state).

    What is asked of it is not said: `Exposures.at_times` and `Exposures.time_above` take it.
    """
    if span is None:
        assert regimen.cycle is not None  # noqa: S101  a window at steady state was refused before
        events, cycle = regimen.cycle.events, regimen.cycle.tau
        return Need("at", 0.0, None, events, (0.0, cycle), cycle, 1.0, _weight(regimen, events))
    events = regimen.events(span[1])
    return Need("at", 0.0, None, events, span, None, 1.0, _weight(regimen, events))


def _weight(regimen: Regimen, events: tuple[DoseEvent, ...]) -> str:
    """The covariate that these doses are multiplied by; none where all are mg (a load in mg/kg may be over)."""
    return regimen.weight if any(event.per_kg for event in events) else ""


def _daily(target: Target, regimen: Regimen, span: tuple[float, float] | None) -> float:
    """Factor that makes a day's AUC of the window's: 24/tau at steady state, else the window must be a day."""
    if span is None:
        assert regimen.cycle is not None  # noqa: S101
        return DAY / regimen.cycle.tau
    if abs(span[1] - span[0] - DAY) > 1e-9:
        raise InputError(
            "window",
            target.window,
            f"AUC24 before steady state needs a window of 24 h, and this one lasts {span[1] - span[0]:g} h",
            "Take day1, a span such as 24..48h, or AUC over the window.",
        )
    return 1.0


def _regular(
    regimen: Regimen, target: Target, span: tuple[float, float] | None
) -> tuple[float, float, int] | None:
    """(tau, tinf, n) where the window is one interval of one dose that repeats."""
    cycle = regimen.cycle
    if cycle is None or len(cycle.events) != 1 or cycle.events[0].time != 0.0:
        return None
    tinf = cycle.events[0].tinf
    if span is None:
        return cycle.tau, tinf, 0
    if regimen.history or target.window.kind not in ("first_dose", "interval"):
        return None
    n = 1 if target.window.n is None else target.window.n
    if target.index == "Cmin" and tinf == cycle.tau and n > 1:
        return (
            None  # an infusion without a pause has no trough at an interval's end: the lowest is looked for
        )
    return cycle.tau, tinf, n


class Exposures:
    """Solutions for one pass of profiles, each computed once however many regimens and targets ask for it.

    Parameters
    ----------
    modes : exponentials of the profiles
    covariates : name -> (profile,), the weights that mg/kg doses are multiplied by
    """

    def __init__(self, modes: Modes, covariates: Mapping[str, Floats]) -> None:
        self._modes = modes
        self._covariates = covariates
        self._profiles: dict[object, intervals.IntervalProfile | courses.Course] = {}
        self._solved: dict[Need, Floats] = {}

    def value(self, wanted: Need, fu: float | Floats) -> Floats:
        """Exposure at the site, (profile,): mg/L or mg·h/L, times the unbound fraction and penetration in `fu`."""
        solution = wanted.solution
        solved = self._solved.get(solution)
        if solved is None:
            solved = self._solved[solution] = self._solve(solution)
        scaled: Floats = solved * (wanted.factor * fu)
        if wanted.regular and wanted.weight:
            scaled *= self._covariates[wanted.weight]
        return scaled

    def at_times(self, wanted: Need, times: Sequence[float]) -> Floats:
        """Total concentrations of a need's doses at some times (h, ascending); (time, profile), mg/L."""
        found: Floats = concentrations_at(self._modes, self._inputs(wanted), times, cycle=wanted.cycle)
        return found

    def time_above(self, wanted: Need, level: float | Floats) -> Floats:
        """Fraction of a need's window in which the total concentration is at a level (mg/L) or above it; (profile,)."""
        profile = courses.course(self._modes, self._inputs(wanted), wanted.window, cycle=wanted.cycle)
        found: Floats = time_above(profile, level)
        return found

    def _solve(self, wanted: Need) -> Floats:
        found: Floats
        if wanted.functional == "at":
            found = courses.course_at(self._modes, self._inputs(wanted), wanted.window[1])
            return found
        key = (wanted.regular, wanted.events, wanted.window, wanted.cycle, wanted.weight)
        profile = self._profiles.get(key)
        if profile is None:
            profile = self._profiles[key] = self._profile(wanted)
        if isinstance(profile, courses.Course):
            if wanted.functional == "exceeded":
                found = course_exceeded(profile, wanted.fraction)
            else:
                found = _OF_COURSE[wanted.functional](profile)
        elif wanted.functional == "exceeded":
            found = exceeded(profile, wanted.fraction)
        else:
            found = _OF_INTERVAL[wanted.functional](profile)
        return found

    def _profile(self, wanted: Need) -> intervals.IntervalProfile | courses.Course:
        if wanted.regular is not None:
            tau, tinf, n = wanted.regular
            if n == 0:
                return intervals.steady_state(self._modes, tau, tinf)
            return intervals.nth_interval(self._modes, tau, tinf, n)
        return courses.course(self._modes, self._inputs(wanted), wanted.window, cycle=wanted.cycle)

    def _inputs(self, wanted: Need) -> list[courses.Input]:
        return [
            courses.Input(
                event.time,
                event.amount * self._covariates[wanted.weight] if event.per_kg else event.amount,
                event.tinf,
            )
            for event in wanted.events
        ]


def critical_mic_of(
    exposures: Exposures, target: Target | AllOf, needs: tuple[Need, ...], fu: float | Floats
) -> Floats:
    """Largest MIC at which each profile attains the target (DESIGN: the critical MIC).

    Parameters
    ----------
    exposures : of the profiles
    target, needs : the target and what each of its parts needs
    fu : unbound fraction where the target does not fix its own, a number or (profile,)

    Returns
    -------
    (profile,), mg/L; +inf or 0 for a target without MIC; the minimum over the parts of `AllOf`
    """
    parts = [
        _critical(exposures, single, wanted, fu)
        for single, wanted in zip(single_targets(target), needs, strict=True)
    ]
    critical = parts[0]
    for part in parts[1:]:
        np.minimum(critical, part, out=critical)
    return critical


def _critical(exposures: Exposures, target: Target, wanted: Need, fu: float | Floats) -> Floats:
    unbound: float | Floats = 1.0
    if target.free:
        unbound = fu if target.fu is None else target.fu
    at_site = unbound * target.penetration
    if target.index == "T>MIC":
        return exposures.value(wanted, at_site / target.mic_multiple)
    if target.per_mic:
        assert target.lower is not None  # noqa: S101  checked by Target
        return exposures.value(wanted, at_site / target.lower)
    value = exposures.value(wanted, at_site)
    attained = np.ones(value.shape, dtype=bool)
    if target.lower is not None:
        attained &= value >= target.lower
    if target.upper is not None:
        attained &= value <= target.upper
    return np.where(attained, np.inf, 0.0)
