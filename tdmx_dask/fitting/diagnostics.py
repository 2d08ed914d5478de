"""How far a posterior can be trusted: figures of every parameter, and a verdict that says what to do.

Arrays are read a block of cells at a time, so that a large posterior that lies in a store is never in memory as a whole.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tdmx_dask.errors import InputError
from tdmx_dask.fitting.policy import THRESHOLDS, Evidence, least_ess
from tdmx_dask.fitting.task import STATS
from tdmx_dask.kernels.convergence import Convergence, convergence, ebfmi, mcse_mean, rhat_rounds

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

__all__ = ["Diagnosis", "diagnose", "evidence", "summary"]

Floats = NDArray[np.float64]

_SAMPLE = ("chain", "draw")
_BLOCK = 1 << 22  # values read at a time: 32 MiB
_QUANTILES = (0.05, 0.5, 0.95)
_NAMED = 3  # parameters that a message names


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """A verdict on draws.

    Parameters
    ----------
    healthy : nothing speaks against them
    problems : what does, worst first, each with what to do
    notes : what costs time, not truth
    figures : rhat, ess_bulk, ess_tail (worst of the parameters), divergences, treedepth_hits, ebfmi, chains, draws
    """

    healthy: bool
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    figures: Mapping[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        head = "The draws are sound." if self.healthy else "Do not dose by these draws yet:"
        shown = [f"- {line}" for line in (*self.problems, *self.notes)]
        numbers = ", ".join(f"{name} {value:.4g}" for name, value in self.figures.items())
        return "\n".join([head, *shown, f"({numbers})"])


def summary(posterior: xr.Dataset, names: Sequence[str] | None = None) -> pd.DataFrame:
    """Tabulate every parameter of a posterior.

    Parameters
    ----------
    posterior : variables (chain, draw, ...), in memory or dask-backed
    names : variables to show; None: all

    Returns
    -------
    One row a value (``CL``, ``CL_i[3]``, ``omega[CL,Vc]``): mean, sd, q5, q50, q95, mcse (of the mean), in `unit`; ess_bulk, ess_tail in
    draws; r_hat

    Raises
    ------
    InputError
        A name is not in the posterior.
    """
    import pandas as pd

    rows: list[pd.DataFrame] = []
    for labels, x, unit in _blocks(posterior, names):
        found = convergence(x)
        flat = x.reshape(-1, x.shape[2])
        low, middle, high = np.quantile(flat, _QUANTILES, axis=0)
        columns: dict[str, Any] = {
            "mean": flat.mean(axis=0),
            "sd": flat.std(axis=0, ddof=1) if len(flat) > 1 else np.full(x.shape[2], np.nan),
            "q5": low,
            "q50": middle,
            "q95": high,
            "mcse": mcse_mean(x),
            "ess_bulk": found.ess_bulk,
            "ess_tail": found.ess_tail,
            "r_hat": found.rhat,
            "unit": unit,
        }
        rows.append(pd.DataFrame(columns, index=labels))
    return pd.concat(rows)


def diagnose(
    posterior: xr.Dataset,
    stats: xr.Dataset | None = None,
    *,
    names: Sequence[str] | None = None,
    max_treedepth: int = 10,
) -> Diagnosis:
    """Judge draws by R-hat, ESS, divergences, energies and tree depth, with the policy's thresholds.

    Parameters
    ----------
    posterior : variables (chain, draw, ...), in memory or dask-backed
    stats : sampler's columns (chain, draw), named as in `task.STATS` or as ArviZ names them; None: not known
    names : variables that must be sound; None: all
    max_treedepth : that the sampler ran with

    Returns
    -------
    The verdict; constant variables (fixed parameters) are passed over

    Raises
    ------
    InputError
        A name is not in the posterior.
    """
    labels: list[str] = []
    parts: list[Convergence] = []
    broken: list[str] = []
    n_chains = n_draws = 0
    for block_labels, x, _ in _blocks(posterior, names):
        n_chains, n_draws = x.shape[:2]
        finite, varies = _finite(x), _varies(x)
        broken += [label for label, fine in zip(block_labels, finite, strict=True) if not fine]
        judged = finite & varies
        labels += [label for label, used in zip(block_labels, judged, strict=True) if used]
        parts.append(convergence(x[:, :, judged]))
    r_hat, bulk, tail = (np.concatenate(each) for each in zip(*parts, strict=True))
    sampler = _sampler(stats, max_treedepth)
    figures = {
        "rhat": _worst(r_hat, np.max),
        "ess_bulk": _worst(bulk, np.min),
        "ess_tail": _worst(tail, np.min),
        **sampler,
        "chains": float(n_chains),
        "draws": float(n_draws),
    }
    problems = [*_broken(broken), *_mixing(labels, r_hat, bulk, tail, n_chains), *_sampling(sampler)]
    if not labels and not broken:
        problems.append(
            "no parameter varies, so nothing can be judged. Name the parameters that were estimated."
        )
    notes = _notes(sampler, n_chains * n_draws, max_treedepth)
    return Diagnosis(not problems, tuple(problems), tuple(notes), figures)


def evidence(
    draws: Floats,
    stats: Floats | None,
    *,
    rounds: int,
    ends: Sequence[int] | None = None,
    max_treedepth: int = 10,
    adapt_delta: float = 0.8,
    attempt: int = 0,
    reparameterised: bool = False,
    warm: bool = False,
) -> Evidence:
    """Gather what the policy decides on.

    Parameters
    ----------
    draws : (chain, draw, cell), those kept, of the named parameters; constant cells are passed over
    stats : (chain, draw, `task.STATS`) of the same draws; None where the engine has none
    rounds : steps of this run so far
    ends : draws a chain at the end of each round that is kept; None: they are one round
    max_treedepth, adapt_delta, attempt, reparameterised, warm : of this run

    Returns
    -------
    The worst figures; R-hat is inf, and the ESS 0, where a draw is not finite or no cell varies
    """
    n_chains, n_draws = draws.shape[:2]
    sound, varies = bool(_finite(draws).all()), _varies(draws)
    r_hat, bulk, tail, agreement = np.inf, 0.0, 0.0, 1.0
    if sound and varies.any():
        used = draws[:, :, varies]
        found = convergence(used)
        r_hat, bulk, tail = _judged(found.rhat), float(found.ess_bulk.min()), float(found.ess_tail.min())
        if ends is not None and len(ends) > 1:
            agreement = _judged(rhat_rounds(used, tuple(ends)))
    columns = None if stats is None else {name: stats[:, :, at] for at, name in enumerate(STATS)}
    sampler = _figures(columns, max_treedepth)
    return Evidence(
        chains=n_chains,
        rounds=rounds,
        draws=n_draws,
        rhat=r_hat,
        ess_bulk=bulk,
        ess_tail=tail,
        divergences=int(sampler.get("divergences", 0)),
        treedepth_hits=int(sampler.get("treedepth_hits", 0)),
        ebfmi=sampler.get("ebfmi", 1.0),
        agreement=agreement,
        adapt_delta=adapt_delta,
        attempt=attempt,
        reparameterised=reparameterised,
        warm=warm,
    )


def _blocks(posterior: xr.Dataset, names: Sequence[str] | None) -> Iterator[tuple[list[str], Floats, str]]:
    """Labels, draws (chain, draw, cell) and unit, a bounded number of cells at a time."""
    chosen: list[Hashable] = list(posterior.data_vars) if names is None else list(names)
    missing = [name for name in chosen if name not in posterior.data_vars]
    if missing or not chosen:
        known = ", ".join(str(name) for name in posterior.data_vars)
        raise InputError("names", missing, "each is a variable of the posterior", f"There are: {known}.")
    for name in chosen:
        array = posterior[name]
        others = [dim for dim in array.dims if dim not in _SAMPLE]
        array = array.transpose(*_SAMPLE, *others)
        labels = _labels(array, others)
        n_chains, n_draws = array.shape[:2]
        data = array.data.reshape((n_chains, n_draws, -1))  # dask stays dask
        width = max(1, _BLOCK // max(1, n_chains * n_draws))
        for start in range(0, len(labels), width):
            block = np.asarray(data[:, :, start : start + width], dtype=float)
            yield labels[start : start + width], block, str(array.attrs.get("units", ""))


def _labels(array: xr.DataArray, others: list[Hashable]) -> list[str]:
    """Names of the cells, as Stan writes them: by coordinate where there is one, else counted from 1."""
    if not others:
        return [str(array.name)]
    axes = [
        [str(value) for value in array[dim].values]
        if dim in array.coords
        else [str(at) for at in range(1, array.sizes[dim] + 1)]
        for dim in others
    ]
    labels = [""]
    for axis in axes:
        labels = [f"{label},{value}" if label else value for label in labels for value in axis]
    return [f"{array.name}[{label}]" for label in labels]


def _finite(x: Floats) -> NDArray[np.bool_]:
    return np.asarray(np.isfinite(x).all(axis=(0, 1)))


def _varies(x: Floats) -> NDArray[np.bool_]:
    least: Floats = x.min(axis=(0, 1))
    most: Floats = x.max(axis=(0, 1))
    return np.not_equal(least, most)


def _judged(values: Floats) -> float:
    """The largest; a figure that cannot be formed counts against the draws."""
    return float(np.where(np.isnan(values), np.inf, values).max())


def _worst(values: Floats, reduce: Any) -> float:
    return float(reduce(values)) if values.size else float("nan")


def _sampler(stats: xr.Dataset | None, max_treedepth: int) -> dict[str, float]:
    """Figures of the sampler that are known; columns under Stan's names, or ArviZ's."""
    if stats is None:
        return {}
    theirs = {"divergent__": "diverging", "treedepth__": "tree_depth", "energy__": "energy"}
    columns = {}
    for stan, arviz in theirs.items():
        name = stan if stan in stats else arviz
        if name in stats:
            columns[stan] = np.asarray(stats[name].transpose(*_SAMPLE), dtype=float)
    return _figures(columns, max_treedepth)


def _figures(columns: Mapping[str, Floats] | None, max_treedepth: int) -> dict[str, float]:
    """Figures of the sampler's columns (chain, draw); those that an approximation leaves NaN are not known."""
    found: dict[str, float] = {}
    known = {name: values for name, values in (columns or {}).items() if not np.isnan(values).all()}
    if "divergent__" in known:
        found["divergences"] = float(np.nansum(known["divergent__"]))
    if "treedepth__" in known:
        found["treedepth_hits"] = float((known["treedepth__"] >= max_treedepth).sum())
    if "energy__" in known and known["energy__"].shape[1] > 1:
        energies = ebfmi(known["energy__"])
        if not np.isnan(energies).any():
            found["ebfmi"] = float(energies.min())
    return found


def _listed(labels: list[str]) -> str:
    more = f" and {len(labels) - _NAMED} more" if len(labels) > _NAMED else ""
    return ", ".join(labels[:_NAMED]) + more


def _broken(labels: list[str]) -> list[str]:
    if not labels:
        return []
    return [
        f"{_listed(labels)}: draws are not finite. Check dose and level times and units, and that no prior is open-ended."
    ]


def _mixing(labels: list[str], r_hat: Floats, bulk: Floats, tail: Floats, n_chains: int) -> list[str]:
    """Problems of chains that disagree, and of too few independent draws, worst parameter first."""
    found, limit = [], THRESHOLDS["rhat"].value
    apart = ~(r_hat < limit)
    if apart.any():
        order = np.argsort(-np.where(np.isnan(r_hat), np.inf, r_hat), kind="stable")
        worst = [labels[at] for at in order if apart[at]]
        found.append(
            f"{_listed(worst)}: the chains disagree (R-hat {r_hat[order[0]]:.3f}, should be below {limit:g}). Run longer "
            "(iter_warmup, iter_sampling); if it stays, levels or doses may be recorded wrongly, or a smaller model may be enough."
        )
    need = least_ess(n_chains)
    for word, ess in (("typical values", bulk), ("limits of intervals", tail)):
        short = ~(ess >= need)
        if short.any():
            order = np.argsort(ess, kind="stable")
            worst = [labels[at] for at in order if short[at]]
            kind = "bulk" if ess is bulk else "tail"
            found.append(
                f"{_listed(worst)}: too few independent draws for {word} ({kind} ESS {ess[order[0]]:.0f}, should be {need:.0f} or more). "
                "Raise iter_sampling, or set target_ess."
            )
    return found


def _sampling(sampler: Mapping[str, float]) -> list[str]:
    found = []
    if sampler.get("divergences", 0) > THRESHOLDS["divergences"].value:
        found.append(
            f"{sampler['divergences']:.0f} divergent transitions: part of the posterior was not explored, so intervals may be too narrow. "
            "Raise adapt_delta (0.95, then 0.99), or set auto_tune=True."
        )
    if not sampler.get("ebfmi", 1.0) >= THRESHOLDS["ebfmi"].value:
        found.append(
            f"E-BFMI {sampler['ebfmi']:.2f} is below {THRESHOLDS['ebfmi'].value:g}: extreme values are reached too seldom. "
            "Use the other parameterisation (auto_tune=True), or narrower priors."
        )
    return found


def _notes(sampler: Mapping[str, float], total: int, max_treedepth: int) -> list[str]:
    hits = sampler.get("treedepth_hits", 0)
    if hits <= THRESHOLDS["treedepth_fraction"].value * total:
        return []
    return [
        f"{hits:.0f} of {total} transitions stopped at max_treedepth={max_treedepth}: slow, not wrong. Raise max_treedepth by 1 or 2."
    ]
