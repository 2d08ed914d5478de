"""Is the whole way from prior to posterior right? Simulate, fit, rank: simulation-based calibration as a verb."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tdmx_dask.api.nouns import seed_number
from tdmx_dask.domain.error_model import ERROR_KINDS, ErrorModel
from tdmx_dask.domain.level import Level
from tdmx_dask.domain.patient import Patient, as_patient
from tdmx_dask.domain.population import Population
from tdmx_dask.domain.prior import FITTED, PriorSet
from tdmx_dask.domain.regimen import Regimen
from tdmx_dask.domain.section import nearest
from tdmx_dask.domain.units import real, whole
from tdmx_dask.errors import FitError, InputError
from tdmx_dask.fitting.calibration import SIGMAS, FitRanks, Simulated, rank_fit, simulate
from tdmx_dask.fitting.question import FitQuestion, ask
from tdmx_dask.fitting.task import chain_seed
from tdmx_dask.kernels.uniformity import chi_square, ecdf_band, ecdf_counts, ecdf_p, evaluation_points
from tdmx_dask.version import __version__

if TYPE_CHECKING:
    import xarray as xr

    from tdmx_dask.api.cohort import Cohort

__all__ = ["BAND_LEVEL", "WRONG_BELOW", "calibrate", "simulated_patients", "typical_error", "typical_patient"]

BAND_LEVEL = 0.95
"""Of the simultaneous band."""

WRONG_BELOW = 0.01
"""p-value, Bonferroni's share of it for each quantity, below which ranks are called not uniform."""

_MEDIANS = {"CL": 6.0, "Vc": 18.0, "Q1": 8.0, "Vp1": 15.0, "Q2": 2.0, "Vp2": 40.0}
_OMEGA = 0.35
_ADDITIVE, _PROPORTIONAL = 0.5, 0.15
_FEWEST = 10
_ROOM = 32_000_000  # bytes; fits that wait to be ranked


def calibrate(
    patient: Patient | Mapping[str, object] | str | PathLike[str],
    *,
    model: str | None = None,
    priors: Population | PriorSet | Mapping[str, object] | None = None,
    error: ErrorModel | Mapping[str, object] | str | None = None,
    n: int = 200,
    lloq: float | None = None,
    ranked: int = 99,
    seed: int = 0,
    chains: int = 2,
    iter_warmup: int = 500,
    iter_sampling: int = 500,
    target_ess: float | None = None,
    warm_start: bool = False,
    on: object = None,
    progress: bool = False,
    **options: Any,
) -> xr.Dataset:
    """Simulation-based calibration: fit levels simulated from the prior, and see whether the true values rank uniformly.

    Each fit is of levels that the Python kernels made from parameters of the prior, at the patient's own doses and times; those
    below `lloq` are censored. Where the program, its likelihood, the sampler and the rule that stops it are right, the rank of each
    true value among independent draws is uniform.

    Parameters
    ----------
    patient : whose doses, times of levels, priors and error model; or ``1C``, ``2C``, ``3C`` for a typical one
    model, priors, error : as for `fit`; an error may be named by its kind, with typical figures
    n : fits, at least 10
    lloq : limit of quantification, mg/L; None: the patient's, or such that a twentieth of the levels is below it
    ranked : draws that a truth is ranked among, at most; fewer where the effective sample size is smaller
    seed : of parameters, levels and fits; fewer fits are the first of more
    chains, iter_warmup, iter_sampling, target_ess : as for `fit`
    warm_start : whether fits may start from each other's metric and step size
    on : where the fits run, as for `fit_many`
    progress : True for a bar
    options : any others of `fit_many`, but for `reuse`

    Returns
    -------
    Dataset with dims (fit, quantity): rank, in (0, 1), and truth; (quantity): chi_square, chi_square_p, ecdf_p, mean_rank;
    (quantity, point): ecdf, and (point): band_lower, band_upper; (fit): n_independent, ess. Attributes: verdict, uniform, the
    failed fits, settings

    Raises
    ------
    InputError
        Not a linear model, no level, or a number out of range.
    FitError
        Fewer than ten fits succeeded.

    References
    ----------
    Talts et al. 2018, arXiv:1804.06788; Säilynoja, Bürkner, Vehtari 2022, doi:10.1007/s11222-022-10090-6 (band); Modrák et al.
    2023, doi:10.1214/23-BA1404 (the likelihood as a quantity).

    Examples
    --------
    >>> import tdmx_dask as tdmx
    >>> result = tdmx.calibrate("1C", error="proportional", n=10, chains=1, iter_warmup=200, iter_sampling=200)
    >>> result["rank"].sizes["fit"], result.quantity.values.tolist()
    (10, ['CL', 'Vc', 'sigma_proportional', 'log_likelihood'])
    """
    started = time.perf_counter()
    n = whole("n", n, "the number of fits", ge=_FEWEST)
    ranked = whole("ranked", ranked, "the number of draws to rank among", ge=9)
    seed = seed_number(seed)
    given, residual = _given(patient, error)
    question = ask(given, model=model, priors=priors, error=residual)
    simulated = simulate(
        question.data, FITTED[_linear(question.model)], n, seed=seed, lloq=_limit(lloq, given)
    )
    settings = {
        "chains": chains,
        "iter_warmup": iter_warmup,
        "iter_sampling": iter_sampling,
        "target_ess": target_ess,
        "warm_start": warm_start,
        **options,
    }
    asked = {"model": model, "priors": priors, "error": residual, "on": on, "progress": progress, **settings}
    ranks, failures, engine = _fitted(question, simulated, ranked, seed, asked)
    if len(ranks) < _FEWEST:
        reason = next(iter(failures.values()), "")
        raise FitError(
            "calibrate",
            f"{len(ranks)} of {n}",
            f"fewer than {_FEWEST} fits succeeded ({reason})",
            "See what the first says.",
        )
    result = _table(ranks)
    result.attrs |= {
        "model": question.model,
        "error": ERROR_KINDS[question.data["error_model"] - 1],
        "lloq": simulated.lloq,
        "share_below": float(simulated.below.mean()),
        "seed": seed,
        "n_asked": n,
        "failures": json.dumps(failures, ensure_ascii=False),
        "settings": json.dumps(
            {key: value for key, value in settings.items() if value is not None}, default=str
        ),
        "engine": engine,
        "seconds": time.perf_counter() - started,
        "created_by": f"tdmx_dask {__version__}",
    }
    return result


def typical_error(kind: str) -> ErrorModel:
    """An error model of a kind with typical figures, both estimated: 0.5 mg/L, 15 %.

    Raises
    ------
    InputError
        There is no such kind.
    """
    if kind not in ERROR_KINDS:
        raise InputError("error", kind, "there is no such error model", nearest(kind, ERROR_KINDS))
    medians = {"additive": _ADDITIVE, "proportional": _PROPORTIONAL}
    parts = {part: {"median": medians[part], "omega": 0.3} for part in ErrorModel.parts_of(kind)}
    return ErrorModel.from_mapping({"kind": kind, **parts})


def typical_patient(model: str) -> Patient:
    """A patient with six doses of 1,000 mg, five levels to be simulated, and wide priors of a linear model."""
    names = FITTED[_linear(model)]
    priors = PriorSet.from_mapping({name: {"median": _MEDIANS[name], "omega": _OMEGA} for name in names})
    times = (0.75, 7.5, 41.0, 43.0, 47.5)
    return Patient(
        id=model,
        regimen=Regimen.parse("1000 mg q8h inf 30min x6"),
        levels=tuple(Level(each, 1.0) for each in times),
        priors=priors,
    )


def simulated_patients(patient: Patient, n: int, *, seed: int = 0) -> list[Patient]:
    """Patients like a given one, with its doses and times, whose levels are simulated from parameters of its prior.

    Parameters
    ----------
    patient : with priors and an error model
    n : how many; fewer are the first of more
    seed : whole number in [0, 2^64)
    """
    question = ask(patient)
    simulated = simulate(
        question.data, FITTED[_linear(question.model)], n, seed=seed, lloq=_limit(None, patient)
    )
    return _patients(question, simulated)


def _given(patient: object, error: Any) -> tuple[Patient, Any]:
    """The patient, and the error model to be told to fits; None for the patient's own."""
    if isinstance(patient, str) and patient in FITTED:
        found = typical_patient(patient)
    else:
        found = replace(as_patient(patient), assessment=None)
    if isinstance(error, str):
        error = typical_error(error)
    return found, typical_error("proportional") if error is None and found.error is None else error


def _linear(model: str) -> Any:
    if model not in ("1C", "2C", "3C"):
        raise InputError("model", model, "levels are simulated for linear models", "Give 1C, 2C or 3C.")
    return model


def _limit(lloq: float | None, patient: Patient) -> float | None:
    if lloq is not None:
        return real("lloq", lloq, "a limit of quantification", unit="mg/L", gt=0)
    return min((level.value for level in patient.levels if level.below), default=None)


def _fitted(
    question: FitQuestion, simulated: Simulated, most: int, seed: int, asked: dict[str, Any]
) -> tuple[dict[int, FitRanks], dict[str, str], str]:
    """Fit every simulation as a cohort, rank each as it is done, and keep nothing of it but its ranks."""
    from tdmx_dask.api.cohort import end

    ranks: dict[int, FitRanks] = {}
    engine = ""
    with tempfile.TemporaryDirectory(prefix="tdmx-calibrate-", dir=_memory()) as folder:
        cohort = _cohort(_patients(question, simulated), seed, Path(folder), dict(asked))
        try:
            for fit in cohort:
                index = int(fit.name)
                draws = {
                    name: fit.draws[name].values for name in (*simulated.names, *SIGMAS) if name in fit.draws
                }
                ranks[index] = rank_fit(question.data, simulated, index, draws, seed=seed, most=most)
                engine = fit.engine
                if not asked["warm_start"]:
                    _remove(fit.path)
        except BaseException:
            end(cohort.futures.values())
            raise
        failures = {name: str(problem) for name, problem in cohort.failures.items()}
    return dict(sorted(ranks.items())), failures, engine


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def _memory() -> str | None:
    """A folder in memory, where the system has one with room: stores that live for a second need no disk."""
    folder = Path("/dev/shm")  # noqa: S108  the folder inside has a random name and mode 0700
    try:
        return str(folder) if os.access(folder, os.W_OK) and shutil.disk_usage(folder).free > _ROOM else None
    except OSError:
        return None


def _cohort(patients: Sequence[Patient], seed: int, library: Path, asked: dict[str, Any]) -> Cohort:
    """As `fit_many`, but each fit has a seed of its own: chains of one seed share their random numbers, and their ranks would too."""
    from tdmx_dask.api.cohort import Cohort
    from tdmx_dask.api.fit_request import Asked, question_of, submit
    from tdmx_dask.api.progress import FitBars

    own = {key: asked.pop(key) for key in ("model", "priors", "error")}
    on, progress = asked.pop("on"), asked.pop("progress")
    known = set(Asked.__dataclass_fields__) - {"seed", "reuse"}
    for key in set(asked) - known:
        raise InputError(key, asked[key], "there is no such option", nearest(key, tuple(sorted(known))))
    make = Asked(**{"library": library, **asked}, reuse=False).checked()
    requests = [
        replace(make(question_of(patient, **own), None), seed=chain_seed(seed, index, 0, 0))
        for index, patient in enumerate(patients)
    ]
    bars = FitBars(len(requests), asked["chains"]) if progress else None
    futures = submit(requests, on, (bars.show,) if bars else ())
    if bars is not None:
        bars.attach(futures)
    return Cohort({patient.id: future for patient, future in zip(patients, futures, strict=True)}, {})


def _patients(question: FitQuestion, simulated: Simulated) -> list[Patient]:
    """One patient a simulation, with its levels."""
    patient, times = question.patient, question.data["level_time"]
    assert patient is not None  # noqa: S101  `ask` sets it
    return [
        replace(
            patient,
            id=f"{index:05d}",
            levels=tuple(
                Level(time, float(value), bool(below))
                for time, value, below in zip(
                    times, simulated.level[index], simulated.below[index], strict=True
                )
            ),
        )
        for index in range(simulated.n)
    ]


def _table(fits: Mapping[int, FitRanks]) -> xr.Dataset:
    """Ranks, their tests and their bands, labelled."""
    import xarray as xr

    first = next(iter(fits.values()))
    names = list(first.ranks)
    ranks = np.array([[each.ranks[name] for name in names] for each in fits.values()])
    truth = np.array([[each.truth[name] for name in names] for each in fits.values()])
    n = len(fits)
    points = evaluation_points(n)
    lowest, highest = ecdf_band(n, points, BAND_LEVEL)
    counts = np.array([ecdf_counts(column, points) for column in ranks.T])
    tests = [(*chi_square(column, max(2, min(20, n // 10))), ecdf_p(column)) for column in ranks.T]
    chi, chi_p, ecdf = (list(each) for each in zip(*tests, strict=True))
    result = xr.Dataset(
        {
            "rank": (("fit", "quantity"), ranks),
            "truth": (("fit", "quantity"), truth),
            "n_independent": ("fit", np.array([each.n_independent for each in fits.values()])),
            "ess": ("fit", np.array([each.ess for each in fits.values()])),
            "mean_rank": ("quantity", ranks.mean(axis=0)),
            "chi_square": ("quantity", np.array(chi)),
            "chi_square_p": ("quantity", np.array(chi_p)),
            "ecdf_p": ("quantity", np.array(ecdf)),
            "ecdf": (("quantity", "point"), counts / n),
            "band_lower": ("point", lowest / n),
            "band_upper": ("point", highest / n),
        },
        {"fit": list(fits), "quantity": names, "point": points},
    )
    wrong = [name for name, p in zip(names, ecdf, strict=True) if p * len(names) < WRONG_BELOW]
    result.attrs = {
        "band_level": BAND_LEVEL,
        "wrong_below": WRONG_BELOW / len(names),
        "uniform": int(not wrong),
        "verdict": _verdict(wrong, ranks, names),
    }
    return result


def _verdict(wrong: Sequence[str], ranks: np.ndarray, names: Sequence[str]) -> str:
    """What the ranks say, in words."""
    if not wrong:
        return "The ranks are consistent with uniform ones: no sign that the posteriors are wrong."
    said = []
    for name in wrong:
        column = ranks[:, names.index(name)]
        shift = (column.mean() - 0.5) * np.sqrt(12 * column.size)
        if abs(shift) > 2.5:
            said.append(f"{name} is {'low' if shift > 0 else 'high'} in its posteriors")
        else:
            said.append(f"the posteriors of {name} are too {'wide' if column.var() < 1 / 12 else 'narrow'}")
    return f"The ranks are not uniform: {'; '.join(said)}."
