"""The verbs: critical MIC, PTA and CFR, wherever they run."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import numpy as np
import xarray as xr

from tdmx_dask.analysis import execute
from tdmx_dask.analysis.plan import Plan
from tdmx_dask.analysis.response import cfr_of
from tdmx_dask.analysis.summarise import Kind, breakpoint_of, label_pta, plan_labels, summarise
from tdmx_dask.analysis.tally import Tally, new_tally, resume_tally
from tdmx_dask.api.progress import counting
from tdmx_dask.api.question import Question, ask, provenance
from tdmx_dask.api.where import Place, choose
from tdmx_dask.domain.mic import MICDistribution
from tdmx_dask.domain.population import Population
from tdmx_dask.domain.regimen import Regimen
from tdmx_dask.domain.units import real
from tdmx_dask.errors import InputError

__all__ = ["breakpoint", "cfr", "critical_mic", "pta"]

Progress = bool | Callable[[int, int], None]
Run = Literal["auto", "direct", "threads", "processes", "distributed"]


def pta(
    draws: object,
    regimens: object = None,
    targets: object = None,
    *,
    mic: object = None,
    population: Population | None = None,
    scenarios: object = None,
    design: Sequence[tuple[str, Regimen | str]] | None = None,
    subjects: int = 1,
    n: int | None = None,
    fu: object = None,
    weight: float | None = None,
    seed: int | None = None,
    window: object = None,
    interval: Kind = "auto",
    level: float | None = None,
    breakpoint_level: float | None = None,
    on: object = None,
    run: Run = "auto",
    chunk_size: int | None = None,
    n_workers: int | None = None,
    progress: Progress = False,
    compute: bool = True,
    checkpoint: str | PathLike[str] | None = None,
) -> xr.Dataset:
    """Probability of target attainment at every MIC, exact for each profile.

    Parameters
    ----------
    draws : path of a store of draws, a Dataset or DataTree (chain, draw), columns by name, or a `Population`, of which `n` virtual
        patients are drawn
    regimens : `Regimen` or shorthand such as ``"1000 mg q8h inf 3h"``, one or several
    targets : `Target` or text such as ``"fT>MIC >= 50%"``, one or several
    mic : mg/L, numbers or `MICDistribution`; every MIC costs next to nothing
    population : with draws of its parameters: covariates and between-subject variability (two levels with `subjects`)
    scenarios : ``{name: {covariate: value}}``, crossed with the regimens
    design : (scenario, regimen) pairs instead of the full crossing
    subjects : virtual patients of each draw
    n : virtual patients of a population given as `draws`; default 10,000
    fu : unbound fraction, a number in (0, 1] or one a draw; default: that of the draws or the population
    weight : kg, for doses in mg/kg where no covariate gives it
    seed : of the virtual patients, a whole number in [0, 2^64)
    window : of the targets that do not say: ``ss`` (default), ``first_dose``, ``day1``, ``interval 20``, ``(24, 48)``
    interval : ``credible`` (over draws, several subjects each), ``monte_carlo``, or ``auto``: the former where it can be had
    level : of the interval
    breakpoint_level : PTA that the PK/PD breakpoint needs
    on : a cluster: of ours, a distributed Client, ``"current"``, an address or a profile's name
    run : ``auto`` chooses by measured work
    chunk_size : draws of a task, rounded up to whole blocks of 1,024; results do not depend on it
    n_workers : threads, processes, or workers of a cluster started for this call
    progress : True for a bar, or a function of (profiles done, profiles in all)
    compute : False gives dask-backed variables: nothing is read yet
    checkpoint : file in which counts are kept, and from which a run goes on

    Returns
    -------
    Dataset with dims (scenario, regimen, target, mic): pta, lower, upper, mcse, n_attained; and n_simulated, breakpoint (mg/L).
    Attributes say what the interval is, where it ran, with which seed, version and draws.

    Raises
    ------
    InputError
        A value is out of range, a parameter is missing, a window does not go with a regimen, a draw is not finite.
    StoreError
        The store of draws is missing or damaged.

    References
    ----------
    Mouton et al. 2005, doi:10.1093/jac/dki079 (PTA, CFR).

    Examples
    --------
    A bolus of 100 mg into 10 L with a half-life of 8 h is above 2.5 mg/L for 16 h of the first 24:

    >>> import numpy as np, tdmx_dask as tdmx
    >>> draws = {"CL": np.array([10 * np.log(2) / 8]), "Vc": np.array([10.0])}
    >>> result = tdmx.pta(draws, "100 mg q24h", "T>MIC >= 60% in first_dose", mic=[2.4, 2.6, 2.9])
    >>> result.pta.values.ravel().tolist()
    [1.0, 1.0, 0.0]
    """
    started = time.perf_counter()
    seed, level, breakpoint_level = _defaults(seed, level, breakpoint_level)
    question = ask(
        draws, regimens, targets, mic=mic, population=population, scenarios=scenarios, design=design, subjects=subjects,
        n=n, fu=fu, weight=weight, seed=seed, window=window,
    )  # fmt: skip
    plan, inputs = question.plan, question.inputs
    form = _Form(
        plan, inputs.dependent, question.has_mic, provenance(question), interval, level, breakpoint_level
    )
    if not compute:
        from tdmx_dask.analysis.lazy import lazy_counts
        from tdmx_dask.jobs.apart import apart

        return lazy_counts(plan, inputs, chunk_size, form.fill_lazily, apart)
    with choose(question, on=on, run=run, n_workers=n_workers, shown=(interval, level)) as place:
        tally = _run(question, place, chunk_size, progress, None if checkpoint is None else Path(checkpoint))
        result = form.fill(tally.n_attained, place.attrs)
        place.tell(result)
    result.attrs["seconds"] = time.perf_counter() - started
    return result


def cfr(
    pta: xr.Dataset,
    distributions: MICDistribution | str | Sequence[MICDistribution | str],
    *,
    level: float | None = None,
) -> xr.Dataset:
    """Cumulative fraction of response: expected attainment over one or several MIC distributions.

    Parameters
    ----------
    pta : result of `pta`, with the MICs of the distributions among its own
    distributions : `MICDistribution` or text such as ``"0.25:0.1, 0.5:0.9"``, one or several
    level : of the interval; default that of `pta`

    Returns
    -------
    Dataset with dims (scenario, regimen, target, organism): cfr, lower, upper, mcse; the interval is of the kind that PTA's is

    Raises
    ------
    InputError
        A MIC was not counted, or two distributions have the same name.

    Examples
    --------
    >>> import numpy as np, tdmx_dask as tdmx
    >>> isolates = tdmx.MICDistribution.parse("1:0.5, 4:0.5")
    >>> draws = {"CL": np.array([1.0, 4.0]), "Vc": np.array([10.0, 10.0])}
    >>> result = tdmx.cfr(tdmx.pta(draws, "100 mg q24h", "AUC24/MIC >= 25", mic=isolates), isolates)
    >>> result.cfr.item()                       # AUC24 = 100 and 25: both attain at MIC 1, one at MIC 4
    0.75
    """
    several = [distributions] if isinstance(distributions, MICDistribution | str) else distributions
    given = [MICDistribution.parse(each) if isinstance(each, str) else each for each in several]
    if not isinstance(pta, xr.Dataset) or "n_attained" not in pta:
        raise InputError(
            "pta", type(pta).__name__, "CFR is made of a result of tdmx.pta", "Call tdmx.pta first."
        )
    level = float(pta.attrs["interval_level"]) if level is None else level
    if pta["pta"].chunks is None:
        return cfr_of(pta, given, level)
    from tdmx_dask.analysis.lazy import as_dataset, sketch

    shape_of = cfr_of(sketch(pta), given, level)
    return as_dataset(shape_of, partial(cfr_of, distributions=given, level=level), pta, name="tdmx-cfr")


def critical_mic(
    draws: object,
    regimens: object,
    targets: object,
    *,
    population: Population | None = None,
    scenarios: object = None,
    subjects: int = 1,
    n: int | None = None,
    fu: object = None,
    weight: float | None = None,
    seed: int | None = None,
    window: object = None,
    on: object = None,
    run: Run = "auto",
    chunk_size: int | None = None,
    n_workers: int | None = None,
    progress: Progress = False,
    compute: bool = True,
) -> xr.DataArray:
    """Largest MIC at which each profile attains each target: one number that answers all MICs.

    Parameters are those of `pta`.

    Returns
    -------
    DataArray with dims (scenario, regimen, target, chain, draw, subject), mg/L; +inf or 0 for a target without MIC

    Raises
    ------
    InputError, StoreError
        As `pta`.

    Examples
    --------
    100 mg into 10 L with a half-life of 8 h: what is exceeded during 16 h of the first dose is what is left after two half-lives.

    >>> import numpy as np, tdmx_dask as tdmx
    >>> draws = {"CL": np.array([10 * np.log(2) / 8]), "Vc": np.array([10.0])}
    >>> found = tdmx.critical_mic(draws, "100 mg q32h", "T>MIC >= 50% in first_dose")
    >>> round(found.item(), 12)
    2.5
    """
    started = time.perf_counter()
    seed, _, _ = _defaults(seed, 0.95, 0.9)
    question = ask(
        draws, regimens, targets, mic=1.0, population=population, scenarios=scenarios, design=None, subjects=subjects,
        n=n, fu=fu, weight=weight, seed=seed, window=window, per_draw=False,
    )  # fmt: skip
    if not compute:
        from tdmx_dask.analysis.lazy import lazy_critical
        from tdmx_dask.jobs.apart import apart

        return _label_critical(question, lazy_critical(question.plan, question.inputs, chunk_size, apart), {})
    plan = question.plan
    out = np.empty((len(plan.pairs), len(plan.targets), plan.n_chains, plan.n_draws, plan.n_subjects))
    with choose(question, on=on, run=run, n_workers=n_workers) as place:
        tally = new_tally(plan, place.cut(plan, chunk_size))

        def put(index: int, part: Any) -> None:
            block = tally.blocks[index]
            out[:, :, block.chain, block.start : block.stop, block.subject_start : block.subject_stop] = part
            tally.done[index] = True

        with counting(progress, tally) as report:
            place.run("critical", question, tally, put, report)
        where = place.attrs
    result = _label_critical(question, out, where)
    result.attrs["seconds"] = time.perf_counter() - started
    return result


def breakpoint(pta: xr.Dataset, level: float = 0.9) -> xr.DataArray:  # noqa: A001
    """PK/PD breakpoint: the largest MIC of the grid at which PTA, there and at all lower MICs, is at least `level`.

    Parameters
    ----------
    pta : result of `pta`
    level : fraction in (0, 1)

    Returns
    -------
    DataArray with dims (scenario, regimen, target), mg/L; NaN where PTA is lower at the smallest MIC, or the target has no MIC
    """
    level = _level("level", level)
    values = pta["pta"].transpose(..., "mic").values
    found = breakpoint_of(values, tuple(pta["mic"].values.tolist()), level)
    breakpoint_ = pta["breakpoint"].copy(data=found).assign_attrs(level=level)
    return breakpoint_.where(~breakpoint_["target"].isin(json.loads(pta.attrs["without_mic"])))


def _defaults(
    seed: int | None, level: float | None, breakpoint_level: float | None
) -> tuple[int, float, float]:
    """Fill in what is configured, and refuse levels that are none."""
    if seed is None or level is None or breakpoint_level is None:
        from tdmx_dask.config import settings

        configured = settings()
        seed = configured.seed if seed is None else seed
        level = configured.interval_level if level is None else level
        breakpoint_level = configured.breakpoint_level if breakpoint_level is None else breakpoint_level
    return seed, _level("level", level), _level("breakpoint_level", breakpoint_level)


def _level(name: str, value: object) -> float:
    level = real(name, value, "a level", gt=0, fix="For example 0.9.")
    if level >= 1:
        raise InputError(name, value, "a level is a fraction, 0 < level < 1", "For example 0.9.")
    return level


def _run(
    question: Question, place: Place, chunk_size: int | None, progress: Progress, checkpoint: Path | None
) -> Tally:
    """Count all blocks, from a checkpoint on if there is one."""
    tally = None if checkpoint is None else resume_tally(question.plan, checkpoint)
    if tally is None:
        tally = new_tally(question.plan, place.cut(question.plan, chunk_size))
    saved = time.monotonic()
    try:
        with counting(progress, tally) as report:

            def done() -> None:
                nonlocal saved
                report()
                if checkpoint is not None and time.monotonic() - saved > execute.CHECKPOINT_SECONDS:
                    tally.save(checkpoint)
                    saved = time.monotonic()

            place.run("count", question, tally, tally.add, done)
    finally:
        if checkpoint is not None and tally.done.any():
            tally.save(checkpoint)
    return tally


@dataclass(frozen=True, slots=True)
class _Form:
    """How counts become a labelled result; small, for it travels with a lazy graph."""

    plan: Plan
    dependent: bool
    has_mic: tuple[bool, ...]
    provenance: Mapping[str, Any]
    interval: Kind
    level: float
    breakpoint_level: float

    def fill(self, n_attained: Any, where: Mapping[str, Any]) -> xr.Dataset:
        summary = summarise(self.plan, n_attained, self.interval, self.level, self.dependent)
        return label_pta(
            self.plan,
            summary,
            breakpoint_level=self.breakpoint_level,
            has_mic=self.has_mic,
            by_draw=n_attained if self.plan.per_draw else None,
            attrs={**self.provenance, "interval_level": self.level, **where},
        )

    def fill_lazily(self, n_attained: Any) -> xr.Dataset:
        return self.fill(n_attained, {"run_mode": "lazy"})


def _label_critical(question: Question, values: Any, where: Mapping[str, Any]) -> xr.DataArray:
    plan = question.plan
    return xr.DataArray(
        values.reshape(len(plan.scenarios), len(plan.regimens), *values.shape[1:]),
        dims=("scenario", "regimen", "target", "chain", "draw", "subject"),
        coords=plan_labels(plan),
        name="critical_mic",
        attrs={"long_name": "critical MIC", "units": "mg/L", **provenance(question), **where},
    )
