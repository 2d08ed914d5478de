"""Which regimen to give: all candidates in one PTA, ranked by what they cost among those that reach the goal."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from tdmx_dask.analysis.summarise import Kind
from tdmx_dask.api.nouns import read_regimens
from tdmx_dask.api.verbs import Progress, Run, cfr, pta
from tdmx_dask.domain.doses import hours
from tdmx_dask.domain.mic import MICDistribution
from tdmx_dask.domain.population import Population
from tdmx_dask.domain.regimen import Regimen
from tdmx_dask.domain.units import number_text, real
from tdmx_dask.errors import InputError

__all__ = ["DILUTIONS", "MOST_CANDIDATES", "Wish", "optimise", "ranked", "read_candidates"]

DILUTIONS = tuple(2.0**k for k in range(-6, 8))
"""mg/L; MICs at which the PK/PD breakpoint is looked for, besides the one that is asked for."""

MOST_CANDIDATES = 10_000

_DOSE_DIGITS = 12  # daily doses that differ by rounding alone are the same


def optimise(
    draws: object,
    candidates: object = None,
    targets: object = None,
    *,
    doses: object = None,
    taus: object = None,
    tinfs: object = None,
    mic: float | None = None,
    distributions: object = None,
    goal: float = 0.9,
    max_daily_dose: float | None = None,
    max_infusion_hours: float | None = None,
    population: Population | None = None,
    subjects: int = 1,
    n: int | None = None,
    fu: object = None,
    weight: float | None = None,
    seed: int | None = None,
    window: object = None,
    interval: Kind = "auto",
    level: float | None = None,
    on: object = None,
    run: Run = "auto",
    n_workers: int | None = None,
    progress: Progress = False,
) -> xr.Dataset:
    """Rank candidate regimens: first those that reach the goal, by daily dose, interventions and hours of infusion.

    All candidates meet the same virtual patients, so they differ by their doses alone. Where several targets (or scenarios of the
    draws, or distributions) are given, a candidate must reach the goal in each; write ``all of (…)`` where a profile must attain
    several targets at once.

    Parameters
    ----------
    draws : as of `pta`
    candidates : regimens, as of `pta`; None: the grid of `doses`, `taus` and `tinfs`
    targets : as of `pta`
    doses, taus, tinfs : of the grid: mg (or texts such as ``"15 mg/kg"``), h, h (or ``"ci"``, a continuous infusion; left out, a bolus).
        An infusion longer than the interval is no candidate
    mic : mg/L, at which PTA must reach the goal
    distributions : of MICs, over which CFR must reach it; instead of `mic`
    goal : PTA or CFR that is wanted, in (0, 1)
    max_daily_dose : mg in 24 h of maintenance (mg/kg where all candidates are); others are left out
    max_infusion_hours : hours of infusion in 24 h; others are left out
    population, subjects, n, fu, weight, seed, window, interval, level, on, run, n_workers, progress : as of `pta`

    Returns
    -------
    Dataset with the dim candidate, in the order of rank: attained, lower, upper, mcse (of the target, scenario or distribution that it
    reaches least, named by ``limiting``), reaches, daily_dose (mg, or mg/kg), interventions_per_day, infusion_hours_per_day, breakpoint
    (mg/L: the largest MIC at which PTA is at least the goal); and attained_of (candidate, criterion). Candidates that miss the
    goal follow by what they attain. The attribute ``best`` is the label of the first, or empty where none reaches the goal; ``reason``
    says why.

    Raises
    ------
    InputError
        As `pta`; no candidate is left, candidates in mg and in mg/kg without a weight, or neither or both of `mic` and `distributions`.

    Examples
    --------
    AUC24 = daily dose / CL: for CL = 2 L/h, AUC24/MIC >= 100 at a MIC of 8 mg/L takes 1,600 mg a day.

    >>> import numpy as np, tdmx_dask as tdmx
    >>> draws = {"CL": np.array([2.0]), "Vc": np.array([10.0])}
    >>> found = tdmx.optimise(draws, targets="AUC24/MIC >= 100", doses=[500, 800, 1600], taus=[12, 24], mic=8)
    >>> found.candidate.values.tolist()[:2], found.reaches.values.tolist()[:3]
    (['1600 mg q24h', '800 mg q12h'], [True, True, True])
    >>> print(found.reason)
    1600 mg q24h has the smallest daily dose, 1600 mg, of 3 of 6 candidates that reach a PTA of 0.9 at a MIC of 8 mg/L.
    """
    if targets is None:
        raise InputError("targets", None, "there must be at least one target", "Write 'fT>MIC >= 50%'.")
    wish = Wish.of(goal, mic, distributions)
    regimens, n_left_out = read_candidates(
        candidates, doses=doses, taus=taus, tinfs=tinfs,
        max_daily_dose=max_daily_dose, max_infusion_hours=max_infusion_hours, weight=weight,
    )  # fmt: skip
    return ranked(
        wish, n_left_out, draws=draws, regimens=regimens, targets=targets, mic=wish.grid, population=population,
        subjects=subjects, n=n, fu=fu, weight=weight, seed=seed, window=window, interval=interval, level=level,
        breakpoint_level=wish.goal, on=on, run=run, n_workers=n_workers, progress=progress,
    )  # fmt: skip


class Wish:
    """What is wanted of a regimen.

    Parameters
    ----------
    goal : PTA or CFR, in (0, 1)
    mic : mg/L, or None
    distributions : over which CFR is formed where there is no MIC
    """

    def __init__(self, goal: float, mic: float | None, distributions: tuple[MICDistribution, ...]) -> None:
        self.goal, self.mic, self.distributions = goal, mic, distributions

    @classmethod
    def of(cls, goal: object, mic: object, distributions: object) -> Wish:
        """Check what a user wants.

        Raises
        ------
        InputError
            A goal or MIC out of range, or neither or both of `mic` and `distributions`.
        """
        wanted = real("goal", goal, "a goal", gt=0, fix="For example 0.9.")
        if wanted >= 1:
            raise InputError("goal", goal, "a goal is a fraction, 0 < goal < 1", "For example 0.9.")
        if (mic is None) == (distributions is None):
            rule = "PTA is wanted at one MIC, or CFR over distributions of MICs"
            fix = "Give one of mic and distributions."
            raise InputError("mic", "both" if mic is not None else None, rule, fix)
        if mic is not None:
            fix = "Give the one that a regimen must cover; of several, that is the largest."
            return cls(wanted, real("mic", mic, "a MIC", unit="mg/L", gt=0, fix=fix), ())
        several = [distributions] if isinstance(distributions, MICDistribution | str) else distributions
        if not isinstance(several, Iterable):
            rule = "distributions are MICDistribution objects or texts"
            raise InputError("distributions", distributions, rule, "Write '0.25:0.1, 0.5:0.9'.")
        found = tuple(
            each if isinstance(each, MICDistribution) else MICDistribution.parse(each) for each in several
        )
        if not found:
            raise InputError("distributions", "()", "there must be at least one", "Or give mic=2.")
        return cls(wanted, None, found)

    @property
    def grid(self) -> list[float]:
        """MICs to count, mg/L."""
        if self.mic is None:
            return sorted({mic for each in self.distributions for mic in each.mic})
        return sorted({self.mic, *DILUTIONS})

    def __str__(self) -> str:
        if self.mic is None:
            names = ", ".join(each.organism for each in self.distributions)
            return f"a CFR of {self.goal:g} over {names}"
        return f"a PTA of {self.goal:g} at a MIC of {number_text(self.mic)} mg/L"


# --- candidates -----------------------------------------------------------------------------------------------


def read_candidates(
    candidates: object = None,
    *,
    doses: object = None,
    taus: object = None,
    tinfs: object = None,
    max_daily_dose: float | None = None,
    max_infusion_hours: float | None = None,
    weight: float | None = None,
) -> tuple[tuple[Regimen, ...], int]:
    """Candidates within their limits, and how many the limits left out; arguments as of `optimise`.

    Raises
    ------
    InputError
        Neither or both of candidates and a grid, no possible candidate, or none within the limits.
    """
    grid = {"doses": doses, "taus": taus, "tinfs": tinfs}
    given = [key for key, values in grid.items() if values is not None]
    if candidates is not None:
        if given:
            rule = "candidates are given, or a grid of doses, taus and tinfs"
            raise InputError(given[0], "given", rule, "Give one of the two.")
        found = read_regimens(candidates)
    else:
        found = _grid(grid)
    if len(found) > MOST_CANDIDATES:
        rule = f"at most {MOST_CANDIDATES:,} candidates are compared"
        raise InputError("candidates", len(found), rule, "Make the grid coarser.")
    _one_unit(found, weight)
    limits = (
        ("max_daily_dose", max_daily_dose, "a daily dose", "mg", lambda each: _daily(each, weight)),
        ("max_infusion_hours", max_infusion_hours, "a time of infusion", "h", lambda each: each.infusion_hours_per_day),
    )  # fmt: skip
    kept = found
    for name, most, what, unit, of in limits:
        if most is None:
            continue
        bound = real(name, most, what, unit=f"{unit} in 24 h", ge=0) * (1 + 1e-12)
        within = tuple(each for each in kept if of(each) <= bound)
        if not within:
            least = number_text(min(map(of, kept)))
            raise InputError(
                name, most, f"no candidate keeps to it; the least is {least} {unit} in 24 h", "Raise it."
            )
        kept = within
    return kept, len(found) - len(kept)


def _grid(grid: Mapping[str, object]) -> tuple[Regimen, ...]:
    """Every possible regimen of a grid, each once."""
    axes = {}
    for key, values in grid.items():
        if values is None and key == "tinfs":
            values = (0.0,)
        if values is None:
            rule = f"{key} of the grid are missing"
            raise InputError(key, None, rule, "Give candidates, or doses and taus.")
        axes[key] = _several(key, values)
    found: dict[Regimen, None] = {}
    for dose, tau, tinf in product(*axes.values()):
        interval = real("taus", hours("taus", tau), "a dosing interval", unit="h", gt=0)
        what = "the length of an infusion"
        length = interval if tinf == "ci" else real("tinfs", hours("tinfs", tinf), what, unit="h", ge=0)
        if length > interval:  # these two do not go together
            continue
        found[Regimen.from_mapping({"dose": dose, "tau": interval, "tinf": length})] = None
    if not found:
        rule = "every infusion is longer than every interval"
        raise InputError("tinfs", list(axes["tinfs"]), rule, "Give a tinf <= tau.")
    return tuple(found)


def _several(key: str, values: object) -> list[Any]:
    if isinstance(values, str | int | float):
        return [values]
    if not isinstance(values, Iterable):
        raise InputError(
            key, values, "it is a number, a text, or several of them", "For example [500, 1000]."
        )
    several = [each.item() if isinstance(each, np.generic) else each for each in values]
    if not several:
        raise InputError(key, "()", "there must be at least one", "For example [500, 1000].")
    return several


def _one_unit(regimens: Sequence[Regimen], weight: float | None) -> None:
    units = {each.unit for each in regimens}
    if len(units) > 1 and weight is None:
        rule = "daily doses in mg and in mg/kg cannot be compared"
        raise InputError("candidates", "mg and mg/kg", rule, "Give weight=, or one unit.")


def _daily(regimen: Regimen, weight: float | None) -> float:
    """Daily dose, mg; mg/kg where all are and no weight is given."""
    daily = regimen.daily_dose
    if regimen.unit == "mg/kg" and weight is not None:
        daily *= weight
    return float(f"{daily:.{_DOSE_DIGITS}g}")


# --- ranks ----------------------------------------------------------------------------------------------------


def ranked(wish: Wish, n_left_out: int, **question: Any) -> xr.Dataset:
    """Answer a question about candidates, and rank them.

    Parameters
    ----------
    wish : what is wanted
    n_left_out : candidates that the limits left out
    question : arguments of `pta`: all of its regimens are candidates, and its MICs those of the wish

    Returns
    -------
    As `optimise`
    """
    return _ranked(pta(**question), question["regimens"], wish, question["weight"], n_left_out)


def _ranked(
    attained: xr.Dataset, regimens: Sequence[Regimen], wish: Wish, weight: float | None, n_left_out: int
) -> xr.Dataset:
    names, cells = _criteria(attained, wish)
    limiting = cells["attained"].argmin(axis=1)
    rows = np.arange(len(regimens))
    least = {name: values[rows, limiting] for name, values in cells.items()}
    reaches = np.all(cells["attained"] >= wish.goal, axis=1)
    cost = [
        (_daily(each, weight), each.interventions_per_day, each.infusion_hours_per_day, each.label)
        for each in regimens
    ]
    order = sorted(
        rows.tolist(), key=lambda i: (not reaches[i], 0.0 if reaches[i] else -least["attained"][i], *cost[i])
    )
    unit = "mg" if weight is not None else regimens[0].unit
    about = {"units": "1"}
    result = xr.Dataset(
        {
            **{name: ("candidate", values[order], about) for name, values in least.items()},
            "limiting": ("candidate", np.array(names, dtype=object)[limiting[order]]),
            "reaches": ("candidate", reaches[order]),
            "daily_dose": ("candidate", np.array([cost[i][0] for i in order]), {"units": unit}),
            "interventions_per_day": ("candidate", np.array([cost[i][1] for i in order]), about),
            "infusion_hours_per_day": ("candidate", np.array([cost[i][2] for i in order]), {"units": "h"}),
            "breakpoint": ("candidate", _breakpoints(attained)[order], {"units": "mg/L"}),
            "attained_of": (("candidate", "criterion"), cells["attained"][order], about),
        },
        {
            "candidate": np.array([regimens[i].label for i in order], dtype=object),
            "criterion": np.array(names, dtype=object),
        },
        _provenance(attained, [regimens[i] for i in order]),
    )
    best = order[0]
    if reaches[best]:
        label, reason = regimens[best].label, _chosen(regimens[best], cost[best][0], unit, reaches, wish)
    else:
        near = f"{regimens[best].label} attains {least['attained'][best]:.3g} ({names[limiting[best]]})"
        label, reason = "", f"None of {len(regimens)} candidates reaches {wish}; {near}."
    return result.assign_attrs(best=label, reason=reason, goal=wish.goal, n_left_out=n_left_out)


def _chosen(best: Regimen, daily: float, unit: str, reaches: NDArray[np.bool_], wish: Wish) -> str:
    share = f"{int(reaches.sum())} of {len(reaches)} candidates that reach {wish}"
    return f"{best.label} has the smallest daily dose, {number_text(daily)} {unit}, of {share}."


def _criteria(attained: xr.Dataset, wish: Wish) -> tuple[list[str], dict[str, NDArray[np.float64]]]:
    """Names of what must be reached, and attained, lower, upper and mcse of each; (candidate, criterion)."""
    if wish.mic is None:
        found, value, last = cfr(attained, wish.distributions), "cfr", "organism"
    else:
        found, value, last = attained.sel(mic=[wish.mic]), "pta", "mic"
    dims = ("regimen", "scenario", "target", last)
    cells = {}
    for name in (value, "lower", "upper", "mcse"):
        array = found[name].transpose(*dims).values
        cells["attained" if name == value else name] = array.reshape(array.shape[0], -1)
    axes = [found[dim].values.tolist() for dim in dims[1:]]
    several = [len(axes[0]) > 1, True, wish.mic is None and len(axes[2]) > 1]
    names = [
        ", ".join(str(each) for each, shown in zip(point, several, strict=True) if shown)
        for point in product(*axes)
    ]
    return names, cells


def _breakpoints(attained: xr.Dataset) -> NDArray[np.float64]:
    """The least breakpoint of each candidate over its scenarios and targets with a MIC; NaN where one has none."""
    without = json.loads(attained.attrs["without_mic"])
    kept = attained["breakpoint"].isel(target=~np.isin(attained["target"].values.astype(str), without))
    values = kept.transpose("regimen", ...).values.reshape(kept.sizes["regimen"], -1)
    found: NDArray[np.float64] = values.min(axis=1) if values.shape[1] else np.full(values.shape[0], np.nan)
    return found


def _provenance(attained: xr.Dataset, regimens: Sequence[Regimen]) -> dict[str, Any]:
    left = ("regimens", "without_mic")
    attrs = {key: value for key, value in attained.attrs.items() if key not in left}
    return {**attrs, "candidates": json.dumps([each.to_mapping() for each in regimens])}
