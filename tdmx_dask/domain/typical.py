"""A population at one patient's covariates: the prior of that patient."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from tdmx_dask.domain.distribution import Distribution
from tdmx_dask.domain.expression import Expression
from tdmx_dask.domain.measurement import Measurement
from tdmx_dask.domain.population import Population
from tdmx_dask.domain.prior import PriorSet
from tdmx_dask.domain.section import nearest
from tdmx_dask.errors import InputError, TdmxWarning

__all__ = ["prior_of", "typical_values"]


def prior_of(
    population: Population, covariates: Mapping[str, Measurement], varying: tuple[str, ...] = ()
) -> tuple[PriorSet, float | None]:
    """The prior that a population gives a patient: log-normal about its typical values, with its omega.

    Parameters
    ----------
    population : parameters without variability are fixed
    covariates : of the patient; those that the population does not know are left aside, unless they look like a misspelt one
    varying : covariates that change with time

    Returns
    -------
    priors, and the unbound fraction where the population says it

    Raises
    ------
    InputError
        A covariate that the population needs is missing or changes with time, has another unit, or gives a parameter that
        cannot be.
    """
    values = typical_values(population, covariates, varying)
    names = tuple(population.parameters)
    covariance = np.zeros((len(names), len(names)))
    where = [names.index(eta) for eta in population.etas]
    covariance[np.ix_(where, where)] = population.omega
    medians = tuple(values[name] for name in names)
    return PriorSet(population.model, medians, covariance, population.name), values.get("fu")


def typical_values(
    population: Population, covariates: Mapping[str, Measurement], varying: tuple[str, ...] = ()
) -> dict[str, float]:
    """Typical values of a population's parameters at a patient's covariates, with ``fu`` where it has it; as `prior_of`."""
    given = {
        name: each.as_covariate(population.covariates[name])
        for name, each in covariates.items()
        if name in population.covariates
    }
    _refuse_misspelt(population, covariates)
    _check_needed(population, given, varying)
    still = replace(population, etas=(), omega=np.zeros((0, 0)))
    result = still.simulate(seed=0, chain=0, draw_start=0, n_draws=1, scenario=given)
    return {
        name: float(values[0, 0]) for name, values in result.items() if name in {*population.parameters, "fu"}
    }


def _refuse_misspelt(population: Population, covariates: Mapping[str, Measurement]) -> None:
    """Refuse a name that is none of the population's but much like one that the patient lacks."""
    lacking = [name for name in population.covariates if name not in covariates]
    for name in covariates:
        if name not in population.covariates and nearest(name, lacking).startswith("Did you mean"):
            rule = f"{population.name} has no covariate of this name"
            raise InputError(f"covariates.{name}", covariates[name].plain(), rule, nearest(name, lacking))


def _check_needed(population: Population, given: Mapping[str, float], varying: tuple[str, ...]) -> None:
    """Refuse what is missing; say which of the population's own values count."""
    formulas = [*population.parameters.values()]
    formulas += [population.fu] if isinstance(population.fu, Expression) else []
    needed = {name for formula in formulas for name in formula.names}
    for name in reversed(population.order):
        if name not in needed or name in given:
            continue
        covariate = population.covariates[name]
        where = f"covariates.{name}"
        if name in varying:
            rule = f"it changes within the record, and {population.name} takes one value of a patient"
            raise InputError(where, "several values", rule, "Keep the value that goes with the levels.")
        if covariate.sources:
            needed.update(covariate.sources)
        elif covariate.rule is None or isinstance(covariate.rule, Distribution):
            rule = f"{population.name} needs it, in {covariate.unit}, and the patient does not give it"
            raise InputError(where, None, rule, f"Write covariates: {{{name}: …}}.")
        elif isinstance(covariate.rule, float):
            text = f"{name} = {covariate.rule:g} {covariate.unit}, the population's own value, is taken"
            warnings.warn(f"{text}: the patient gives none.", TdmxWarning, stacklevel=4)
