"""The verb `concentrations`: what the profiles do over time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeGuard

import numpy as np
import xarray as xr

from tdmx_dask.analysis.concentration import Quantiles, quantiles_of
from tdmx_dask.analysis.exposure import course_need
from tdmx_dask.api.nouns import read_regimens
from tdmx_dask.api.question import Question, ask, frame
from tdmx_dask.domain.population import Population
from tdmx_dask.domain.regimen import Regimen
from tdmx_dask.domain.target import Target, Window
from tdmx_dask.domain.units import real, whole
from tdmx_dask.errors import InputError

__all__ = ["concentrations", "times_over"]

MOST_TIMES = 100_000
JUST_AFTER = 1e-6
"""h after a bolus at which its peak is taken."""

Span = tuple[float, float]


def concentrations(
    draws: object,
    regimens: object,
    *,
    times: object = None,
    n_times: int = 241,
    window: object = "ss",
    n_intervals: int = 1,
    quantiles: Sequence[float] = (0.05, 0.25, 0.5, 0.75, 0.95),
    free: bool = False,
    population: Population | None = None,
    scenarios: object = None,
    subjects: int = 1,
    n: int | None = None,
    fu: object = None,
    weight: float | None = None,
    seed: int | None = None,
) -> xr.Dataset:
    """Concentration over time: quantiles over all profiles, in closed form at each time.

    Parameters
    ----------
    draws, regimens, population, scenarios, subjects, n, fu, weight, seed : as for `pta`
    times : h, ascending: on the regimens' clock (whose 0 is the start of treatment but for a regimen with a start_time), or at steady
        state since the start of a dosing cycle. Default: `n_times` of equal distance over the window, and the times of all doses, the
        ends of infusions and just after each bolus
    n_times : at least 2
    window : ``ss`` (default), ``first_dose``, ``day1``, ``interval 20`` or ``(24, 48)``. Where regimens have windows of different
        lengths the times cover all of them, and each regimen goes on with its next doses
    n_intervals : dosing intervals (of the regimen with the longest one) that are shown at steady state
    quantiles : fractions in [0, 1]
    free : of the unbound drug; else total

    Returns
    -------
    Dataset with dims (scenario, regimen, quantile, time): concentration, mg/L; mean (scenario, regimen, time), mg/L; the coordinates
    window_start and window_end (regimen), h. At a time when a dose is due the concentration is that just before it. Attributes as
    those of `pta`.

    Raises
    ------
    InputError
        As `pta`; a time or quantile is out of range; or the profiles times the times do not fit into memory.
    StoreError
        The store of draws is missing or damaged.

    Examples
    --------
    A bolus of 100 mg into 10 L with a half-life of 8 h, first dose:

    >>> import numpy as np, tdmx_dask as tdmx
    >>> draws = {"CL": np.array([10 * np.log(2) / 8]), "Vc": np.array([10.0])}
    >>> found = tdmx.concentrations(draws, "100 mg q24h", times=[0, 8, 16, 24], window="first_dose", quantiles=[0.5])
    >>> found.concentration.values.ravel().round(12).tolist()
    [0.0, 5.0, 2.5, 1.25]
    """
    wanted = read_regimens(regimens)
    over = Window.of(window)
    spans = [over.span(regimen) for regimen in wanted]
    shares = _quantiles(quantiles)
    n_times = whole("n_times", n_times, "the number of times", ge=2)
    at = times_over(wanted, spans, n_times, _intervals(n_intervals, over))
    if times is not None:
        at = _given(times)
    end = None if over.kind == "ss" else max(at[-1], *(span[1] for span in spans if span is not None))
    known = Target(
        "Cmax", free=free, upper=1.0, window=over if end is None else Window("span", start=0.0, end=end)
    )
    question = ask(
        draws, wanted, known, mic=None, population=population, scenarios=scenarios, design=None, subjects=subjects,
        n=n, fu=fu, weight=weight, seed=seed, window=None, per_draw=False,
    )  # fmt: skip
    needs = [course_need(regimen, None if end is None else (0.0, end)) for regimen in wanted]
    found = quantiles_of(question.plan, question.inputs, needs, at, shares, free=free)
    result = _labelled(question, found, at, shares, "unbound concentration" if free else "concentration")
    result["time"].attrs["long_name"] = _since(over, wanted)
    return result.assign_coords(_ends(wanted, spans)).assign_attrs(window=str(over), free=int(free))


def _intervals(given: object, window: Window) -> int:
    """How many dosing intervals are shown."""
    number = whole("n_intervals", given, "the number of dosing intervals")
    if number > 1 and window.kind != "ss":
        rule = "several dosing intervals are shown at steady state"
        raise InputError("n_intervals", number, rule, "Give the window in h.")
    return number


def _ends(regimens: Sequence[Regimen], spans: Sequence[Span | None]) -> dict[str, Any]:
    """Where the window of each regimen starts and ends, as coordinates."""
    own = [
        (0.0, regimen.cycle.tau) if span is None and regimen.cycle else span
        for regimen, span in zip(regimens, spans, strict=True)
    ]
    return {
        f"window_{name}": ("regimen", [span[i] for span in own if span], {"units": "h"})
        for i, name in enumerate(("start", "end"))
    }


def _labelled(
    question: Question, found: Quantiles, times: list[float], shares: tuple[float, ...], what: str
) -> xr.Dataset:
    plan = question.plan
    shape = (len(plan.scenarios), len(plan.regimens))
    labels, about = frame(question)
    return xr.Dataset(
        {
            "concentration": (
                ("scenario", "regimen", "quantile", "time"),
                found.quantile.reshape(*shape, len(shares), len(times)),
                {"long_name": what, "units": "mg/L"},
            ),
            "mean": (
                ("scenario", "regimen", "time"),
                found.mean.reshape(*shape, len(times)),
                {"long_name": f"mean {what}", "units": "mg/L"},
            ),
        },
        coords={
            **labels,
            "quantile": ("quantile", list(shares), {"long_name": "share of profiles below", "units": "1"}),
            "time": ("time", times, {"units": "h"}),
        },
        attrs=about,
    )


def _since(window: Window, regimens: Sequence[Regimen]) -> str:
    if window.kind == "ss":
        return "time since a dose at steady state"
    if any(regimen.first_time > 0 for regimen in regimens):
        return "time on the regimens' clock"
    return "time since the start of treatment"


def _listed(given: object) -> TypeGuard[Iterable[object]]:
    """Whether there are several of it; an array of no dimension only looks as if there were."""
    return isinstance(given, Iterable) and not isinstance(given, str) and getattr(given, "ndim", 1) > 0


def _quantiles(given: object) -> tuple[float, ...]:
    if not _listed(given):
        raise InputError("quantiles", given, "quantiles are fractions in [0, 1]", "Write [0.05, 0.5, 0.95].")
    fix = "Write [0.05, 0.5, 0.95]."
    shares = [real("quantiles", each, "a quantile", ge=0, le=1, fix=fix) for each in given]
    if not shares or len(set(shares)) < len(shares):
        raise InputError("quantiles", shares, "there is at least one, and none twice", fix)
    return tuple(sorted(shares))


def _given(times: object) -> list[float]:
    """Times of the user's own, checked."""
    fix = "Write [0, 1, 2, 4, 8]."
    if not _listed(times):
        raise InputError("times", times, "times are numbers of hours", fix)
    found = [real("times", each, "a time", unit="h", ge=0, fix=fix) for each in times]
    if not 0 < len(found) <= MOST_TIMES:
        raise InputError("times", f"{len(found)} of them", f"there are 1 to {MOST_TIMES:,} times", fix)
    late = next((i for i in range(1, len(found)) if found[i] <= found[i - 1]), None)
    if late is not None:
        raise InputError(
            "times", f"{found[late]:g} h", "times are ascending, and none is there twice", "Sort them."
        )
    return found


def times_over(
    regimens: Sequence[Regimen], spans: Sequence[Span | None], n: int, n_intervals: int = 1
) -> list[float]:
    """Times over all windows: of equal distance, and where something happens.

    Parameters
    ----------
    regimens : whose doses happen
    spans : (start, end) of the window of each, h; None at steady state
    n : times of equal distance
    n_intervals : dosing intervals at steady state

    Raises
    ------
    InputError
        They are too many.
    """
    if n > MOST_TIMES:
        raise InputError("n_times", n, f"there are at most {MOST_TIMES:,} times", "Ask for fewer.")
    taus = [regimen.cycle.tau for regimen in regimens if regimen.cycle is not None]
    known = [span for span in spans if span is not None]
    start = min((span[0] for span in known), default=0.0)
    end = max((span[1] for span in known), default=n_intervals * max(taus, default=0.0))
    times = {float(time) for time in np.linspace(start, end, n)}
    for regimen, span in zip(regimens, spans, strict=True):
        times.update(_events(regimen, (start, end), steady=span is None))
    return sorted(times)


def _events(regimen: Regimen, span: Span, *, steady: bool) -> list[float]:
    """Starts and ends of the inputs within a span, and just after each bolus."""
    start, end = span
    if steady:
        assert regimen.cycle is not None  # noqa: S101  a window at steady state was refused before
        tau, doses = regimen.cycle.tau, regimen.cycle.events
        shifts = [k * tau for k in range(-1, int(np.ceil(end / tau)) + 1)]
        inputs = [(shift + dose.time, dose.tinf) for shift in shifts for dose in doses]
    else:
        inputs = [(dose.time, dose.tinf) for dose in regimen.events(end)]
    marks = [time for time, _ in inputs]
    marks += [time + tinf if tinf > 0 else time + JUST_AFTER for time, tinf in inputs]
    return [time for time in marks if start <= time <= end]
