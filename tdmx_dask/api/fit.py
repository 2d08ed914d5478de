"""The verbs of fits: one, at once or waited for; many; models against each other; predictions against levels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tdmx_dask.api.cohort import Cohort, end, models_by_name, patients_by_name
from tdmx_dask.api.fit_request import OF_ONE, Asked, path_of, question_of, submit
from tdmx_dask.errors import InputError, TdmxError

if TYPE_CHECKING:
    import xarray as xr

    from tdmx_dask.fitting.comparison import Comparison
    from tdmx_dask.fitting.fit import Fit
    from tdmx_dask.fitting.future import FitFuture
    from tdmx_dask.fitting.request import Request
    from tdmx_dask.fitting.task import ChainEvent

__all__ = ["compare_models", "fit", "fit_async", "fit_many", "open_fit", "ppc"]

Progress = bool | Callable[["ChainEvent"], object]


def fit_async(
    patient: object = None,
    *,
    model: str | None = None,
    priors: object = None,
    error: object = None,
    program: object = None,
    data: Mapping[str, Any] | None = None,
    method: str = "nuts",
    engine: str = "auto",
    executable: str | PathLike[str] | None = None,
    chains: int = 4,
    parallel_chains: int | None = None,
    iter_warmup: int = 1000,
    iter_sampling: int = 1000,
    adapt_delta: float = 0.8,
    max_treedepth: int = 10,
    target_ess: float | None = None,
    max_chains: int = 8,
    auto_tune: bool = False,
    max_attempts: int = 3,
    warm_start: bool = True,
    reuse: bool = True,
    seed: int | None = None,
    retries: int = 2,
    priority: int = 0,
    memory_mb: float | None = None,
    out: str | PathLike[str] | None = None,
    library: str | PathLike[str] | None = None,
    on: object = None,
    progress: Progress = False,
    name: str | None = None,
) -> FitFuture:
    """Fit a patient's levels, or any Stan program, and return at once.

    The posterior is published as a store of draws in the library. The same request is answered from there, so the same call gives the
    same draws. Chains run in child processes: here, or as tasks of a cluster, placed by their memory.

    Parameters
    ----------
    patient : a `Patient`, a YAML file, the name of a shipped one, or a mapping
    model : "1C", "2C", "3C", "michaelis_menten", "parallel"; None: that of the priors
    priors : a `Population` (its typical values at the patient's covariates, and its variability), priors, or a mapping; None: the patient's
    error : residual error, an `ErrorModel` or a mapping; None: the patient's
    program : a Stan program instead of a patient: a path, or the name of a shipped one
    data : of the program, numbers and arrays by name
    method : "nuts"; or an approximation, named as such in the result: "mode", "laplace", and on CmdStan "pathfinder" and "advi"
    engine : "stanli" (embedded), "cmdstan", or "auto": CmdStan where it is installed
    executable : a compiled CmdStan program
    chains : Markov chains
    parallel_chains : at once; None: what is free. It changes no draw
    iter_warmup, iter_sampling : iterations a chain
    adapt_delta : wanted acceptance, in (0, 1)
    max_treedepth : of NUTS
    target_ess : least bulk and tail ESS of the named parameters. Chains then begin short, stop early where R-hat is below 1.01 and the ESS
        suffices, and are lengthened (to 4 `iter_sampling`) or joined by others (to `max_chains`) where not
    max_chains : with `target_ess`
    auto_tune : on divergences raise `adapt_delta`, then take the other parameterisation
    max_attempts : runs with `auto_tune`
    warm_start : begin where an earlier fit of the library ended, of the same patient or of a like one; warm-up is then short. A start that
        does not hold is given up, and recorded
    reuse : open the earlier answer to the same request
    seed : whole number in [0, 2^64); None: as configured
    retries : times that a worker or process which was killed is replaced; the draws are the same
    priority : higher runs first
    memory_mb : that a batch of chains may need, MB; None: estimated, and learned from what earlier fits used
    out : folder of the store, instead of one in the library
    library : folder of fits; None: as configured (``fits``)
    on : a cluster: of ours, a distributed Client, ``"current"``, an address or a profile's name; None: this machine
    progress : True for a bar in the terminal or notebook, or a function of each `ChainEvent`
    name : of the fit; None: the patient's id, or the program's name

    Returns
    -------
    A future: ``status``, ``progress()``, ``result(timeout)``, ``cancel()``, ``add_done_callback``; awaitable

    Raises
    ------
    InputError
        A value is out of range, a prior or a covariate is missing.
    FitError
        The engine is not installed, or has not got the method. What goes wrong later, ``result()`` raises.
    ClusterError
        The cluster does not answer.

    Examples
    --------
    >>> import tempfile, tdmx_dask as tdmx
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     future = tdmx.fit_async("meropenem_tdm", chains=2, iter_warmup=200, iter_sampling=100, seed=1, library=folder)
    ...     dict(future.result(timeout=60).draws.sizes)["draw"]
    100
    """
    given = dict(locals())
    asked = _asked(given)
    one = {key: given[key] for key in OF_ONE}
    question = question_of(patient, **one)
    listeners, attach = _listeners(progress, 1, chains)
    futures = submit([asked.checked()(question, _out(out))], on, listeners)
    attach(futures)
    return futures[0]


def fit(patient: object = None, **options: Any) -> Fit:
    """Fit and wait: `fit_async` with the same arguments, then its result. Ctrl-C cancels the fit.

    Parameters
    ----------
    patient, options : as of `fit_async`

    Returns
    -------
    The fit: ``draws`` for `pta`, ``summary()``, ``diagnose()``, ``tree``, ``attrs``, ``log``

    Raises
    ------
    InputError, FitError, ClusterError
        As `fit_async`; a program that does not compile, data that do not fit it, a crash: with program, seed and the last lines.
    StoreError
        The library cannot be written.

    Examples
    --------
    >>> import tempfile, tdmx_dask as tdmx
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     found = tdmx.fit("meropenem_tdm", chains=2, iter_warmup=200, iter_sampling=200, seed=1, library=folder)
    ...     pta = tdmx.pta(found.draws, "1000 mg q8h inf 3h", "fT>MIC >= 50%", mic=[2])
    >>> bool(pta.pta.item() > 0.5)
    True
    """
    _asked(options)  # refuses unknown ones
    future = fit_async(patient, **options)
    try:
        return future.result()
    except KeyboardInterrupt:
        end([future])
        raise


def fit_many(
    what: object,
    *,
    patient: object = None,
    on: object = None,
    progress: Progress = False,
    **options: Any,
) -> Cohort:
    """Fit a cohort, or several models of one patient, and return at once.

    Parameters
    ----------
    what : patients as `fit_async` takes them, in a sequence or by name; the path of a cohort's CSV file; or, with `patient`, models by
        name: ``{"one": "1C", "two": {"model": "2C", "priors": …}}``, options of `fit_async` each
    patient : whose levels all models are fitted to
    on, progress : as of `fit_async`
    options : others of `fit_async`, for all fits

    Returns
    -------
    Fits as they complete (iterate), or all (``results()``); failures are kept beside and stop no other

    Raises
    ------
    InputError
        No fit, a name twice, an option out of range, or no patient at all can be asked about.

    Examples
    --------
    >>> import tempfile, tdmx_dask as tdmx
    >>> few = {"chains": 2, "iter_warmup": 200, "iter_sampling": 100, "seed": 1}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     cohort = tdmx.fit_many({"A": "meropenem_tdm", "B": "meropenem_tdm"}, library=folder, **few)
    ...     dict(cohort.draws.sizes)
    {'chain': 2, 'draw': 100, 'scenario': 2}
    """
    for key in ("out", "name"):
        if options.get(key) is not None:
            raise InputError(key, options[key], "it is of one fit", "Leave it out; name fits by a mapping.")
    wanted = models_by_name(what, patient) if patient is not None else patients_by_name(what)
    common = {key: options.pop(key) for key in OF_ONE if key in options}
    make = _asked(options).checked()
    requests: dict[str, Request] = {}
    refused: dict[str, BaseException] = {}
    for name, (whose, own) in wanted.items():
        try:
            requests[name] = make(question_of(whose, **{**common, **own, "name": name}), None)
        except TdmxError as error:
            if len(refused) + 1 == len(wanted):
                raise
            refused[name] = error
    listeners, attach = _listeners(progress, len(requests), options.get("chains", 4))
    futures = dict(zip(requests, submit(list(requests.values()), on, listeners), strict=True))
    attach(list(futures.values()))
    return Cohort(futures, refused)


def open_fit(path: str | PathLike[str]) -> Fit:
    """Open a fit from its store.

    Parameters
    ----------
    path : folder in the library, or `out`

    Raises
    ------
    InputError, SchemaError, StoreError
        It is no path, no fit, or damaged.
    """
    from tdmx_dask.fitting.fit import Fit

    return Fit(path_of("path", path))


def compare_models(fits: Cohort | Mapping[str, Fit], *, method: str = "stacking") -> Comparison:
    """Compare fits of the same levels by leave-one-out cross-validation (ArviZ's PSIS-LOO).

    Parameters
    ----------
    fits : by name of the model, or a cohort of them
    method : of the weights: stacking, BB-pseudo-BMA or pseudo-BMA

    Raises
    ------
    InputError
        Fewer than two fits, other levels, or an approximation.
    """
    from tdmx_dask.fitting.comparison import compare
    from tdmx_dask.fitting.fit import Fit

    if not isinstance(fits, Cohort | Mapping):
        raise InputError("fits", fits, "fits are a mapping by name, or a cohort", "Give {'one': fit, …}.")
    found = fits.results() if isinstance(fits, Cohort) else dict(fits)
    for name, each in found.items():
        if not isinstance(each, Fit):
            raise InputError(f"fits[{name}]", each, "it is a fit", "Open a store with open_fit.")
        if each.method != "nuts":
            raise InputError(
                f"fits[{name}]", each.method, "only draws of NUTS are compared", "Use method='nuts'."
            )
    return compare({name: each.tree for name, each in found.items()}, method=method)


def ppc(
    fit: Fit | str | PathLike[str],
    *,
    intervals: Sequence[float] = (0.5, 0.9),
    chunks: int | None = None,
) -> xr.Dataset:
    """Posterior predictive check: measured levels against levels that the fitted model makes.

    Parameters
    ----------
    fit : a fit or its store
    intervals : probabilities of central intervals, in (0, 1)
    chunks : levels of a chunk; the result is then lazy, and ``compute()`` runs wherever Dask does. None: in memory

    Returns
    -------
    Dataset as `fitting.predictive.predictive_check` has it: pit, p_below, lower, median, upper, inside, coverage, p_value

    Raises
    ------
    InputError
        The fit has no levels, or no replicates of them.
    """
    from tdmx_dask.domain.units import whole
    from tdmx_dask.fitting.fit import Fit
    from tdmx_dask.fitting.predictive import predictive_check

    found = fit if isinstance(fit, Fit) else Fit(path_of("fit", fit))
    groups = found.tree.children
    predicted, constant = groups.get("posterior_predictive"), groups.get("constant_data")
    if predicted is None or constant is None or "level" not in predicted or "level" not in constant:
        rule = "a predictive check needs levels and their replicates"
        raise InputError("fit", found.name, rule, "Fit a patient with levels, or use your own replicates.")
    replicates = predicted.to_dataset()["level"]
    if chunks is not None:
        size = whole("chunks", chunks, "levels of a chunk")
        replicates = replicates.chunk({"chain": -1, "draw": -1, "observation": size})
    data = constant.to_dataset()
    return predictive_check(data["level"], replicates, below=data.get("below"), intervals=intervals)


def _asked(options: Mapping[str, Any]) -> Asked:
    known = set(Asked.__dataclass_fields__)
    strange = [key for key in options if key not in known | _ELSEWHERE]
    if strange:
        from tdmx_dask.domain.units import nearest

        raise InputError(
            strange[0],
            options[strange[0]],
            "there is no such option",
            nearest(strange[0], sorted(known | _ELSEWHERE)).rstrip(),
        )
    return Asked(**{key: value for key, value in options.items() if key in known})


_ELSEWHERE = {*OF_ONE, "patient", "out", "on", "progress"}


def _out(out: str | PathLike[str] | None) -> Path | None:
    if out is None:
        return None
    path = path_of("out", out).resolve()
    if path.exists():
        raise InputError("out", out, "it exists", "Choose another name.")
    return path


def _listeners(
    progress: Progress, n: int, chains: int
) -> tuple[tuple[Callable[[ChainEvent], object], ...], Callable[[Sequence[FitFuture]], None]]:
    """Who hears of events, and what takes the futures once they are there."""
    if progress is False:
        return (), lambda _: None
    if progress is True:
        from tdmx_dask.api.progress import FitBars

        bars = FitBars(n, chains)
        return (bars.show,), bars.attach
    if not callable(progress):
        raise InputError("progress", progress, "it is True, False or a function of an event", "Leave it out.")
    return (progress,), lambda _: None
