"""Which of several models predicts levels best: leave-one-out cross-validation by ArviZ, with what its warnings mean."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tdmx_dask.errors import InputError

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

__all__ = ["Comparison", "compare"]

_LIKELIHOOD = "log_likelihood"
_FEW = 10
"""Levels below which the standard error of a difference says little (Sivula et al. 2020, arXiv:2008.10296: small n)."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Models by how well they predict a level that they have not seen.

    Parameters
    ----------
    table : best first, index the model: rank, elpd_loo, se, p_loo, elpd_diff (to the best, >= 0), dse, weight, worst_k, n_levels, warning
    warnings : what speaks against the order, each with what to do
    loo : ArviZ's result by model, point by point
    """

    table: pd.DataFrame
    warnings: tuple[str, ...]
    loo: Mapping[str, Any]

    def __str__(self) -> str:
        shown = self.table.drop(columns="warning").to_string(float_format=lambda value: f"{value:.2f}")
        return "\n".join([shown, *(f"- {line}" for line in self.warnings)])


def compare(
    fits: Mapping[str, xr.DataTree], *, method: str = "stacking", var_name: str | None = None
) -> Comparison:
    """Compare fits of the same levels by PSIS-LOO.

    Parameters
    ----------
    fits : trees with the groups ``posterior`` and ``log_likelihood``, by name of the model; two or more
    method : of the weights: stacking, BB-pseudo-BMA or pseudo-BMA
    var_name : the variable of ``log_likelihood``; None: its only one

    Raises
    ------
    InputError
        Fewer than two fits, no log likelihood, another number of levels, or other observed levels.

    References
    ----------
    Vehtari, Gelman, Gabry 2017 (Statistics and Computing 27:1413); Vehtari et al. 2024 (JMLR 25:72) for k-hat; Yao et al. 2018 (Bayesian
    Analysis 13:917) for stacking
    """
    if len(fits) < 2:
        raise InputError("fits", list(fits), "a comparison takes two models or more", "Give another fit.")
    if method not in ("stacking", "BB-pseudo-BMA", "pseudo-BMA"):
        raise InputError("method", method, "it is stacking, BB-pseudo-BMA or pseudo-BMA", "Use stacking.")
    variables = {name: _likelihood(name, tree, var_name) for name, tree in fits.items()}
    _same_levels(fits, variables)
    from arviz_stats.loo.compare import compare as compared
    from arviz_stats.loo.loo import loo as left_out

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # said below, with what to do
        loo = {name: left_out(tree, pointwise=True, var_name=variables[name]) for name, tree in fits.items()}
        theirs = compared(dict(loo), method=method)
    worst = {name: float(np.max(each.pareto_k)) for name, each in loo.items()}
    n_levels = {name: int(each.n_data_points) for name, each in loo.items()}
    table = theirs.rename(columns={"elpd": "elpd_loo"})
    table = table.assign(
        worst_k=[worst[name] for name in table.index], n_levels=[n_levels[name] for name in table.index]
    )
    table.columns = [str(column).lower() for column in table.columns]
    if "p" in table.columns:
        table = table.rename(columns={"p": "p_loo"})
    return Comparison(table, tuple(_cautions(table, loo)), loo)


def _likelihood(name: str, tree: xr.DataTree, var_name: str | None) -> str:
    """Name of the variable of the log likelihood."""
    if _LIKELIHOOD not in tree.children or not tree[_LIKELIHOOD].data_vars:
        fix = "Fit with a program that has log_lik; the shipped ones do."
        raise InputError(
            f"fits[{name}]", "no log_likelihood", "each fit has the log likelihood of its levels", fix
        )
    known = [str(each) for each in tree[_LIKELIHOOD].data_vars]
    if var_name is None and len(known) == 1:
        return known[0]
    if var_name not in known:
        rule = "one variable of the log likelihood is compared"
        raise InputError("var_name", var_name, rule, f"{name} has: {', '.join(known)}.")
    return var_name


def _same_levels(fits: Mapping[str, xr.DataTree], variables: Mapping[str, str]) -> None:
    """Refuse models of other data: their likelihoods mean nothing beside each other."""
    first = next(iter(fits))
    for name, tree in fits.items():
        here, there = tree[_LIKELIHOOD][variables[name]], fits[first][_LIKELIHOOD][variables[first]]
        n_here, n_there = (int(np.prod(each.shape[2:])) for each in (here, there))
        if n_here != n_there:
            rule = f"models are compared on the same levels; {first} has {n_there}"
            raise InputError(f"fits[{name}]", f"{n_here} levels", rule, "Fit all models to the same levels.")
        seen, expected = _observed(tree), _observed(fits[first])
        if seen is not None and expected is not None and not np.array_equal(seen, expected):
            rule = f"models are compared on the same levels as {first}"
            raise InputError(f"fits[{name}]", "other levels", rule, "Fit all models to the same levels.")


def _observed(tree: xr.DataTree) -> Any:
    """The levels that were fitted, where the tree carries them."""
    for group in ("observed_data", "constant_data"):
        if group in tree.children and "level" in tree[group].data_vars:
            return tree[group]["level"].values
    return None


def _cautions(table: pd.DataFrame, loo: Mapping[str, Any]) -> list[str]:
    found = []
    for name in table.index:
        k, limit = np.ravel(loo[name].pareto_k), float(loo[name].good_k)
        bad = int((k > limit).sum())
        if bad:
            found.append(
                f"{name}: {bad} of {len(k)} levels change the posterior so much that leaving them out cannot be foretold "
                f"(Pareto k up to {k.max():.2f}, limit {limit:.2f}); its elpd may be too high. "
                "Look at those levels: a wrong time or dose looks like this."
            )
    n_levels = int(table["n_levels"].iloc[0])
    if n_levels < _FEW:
        found.append(
            f"{n_levels} levels are few: standard errors of differences are too small. Trust large differences only."
        )
    difference, error = table["elpd_diff"].abs(), table["dse"]
    tied = [str(name) for name in table.index[1:] if difference[name] < max(4.0, 2 * error[name])]
    if tied:
        found.append(
            f"{', '.join(tied)} cannot be told from {table.index[0]} (difference below 4, or within 2 standard errors). "
            "Take the simpler one, or average by weight."
        )
    return found
