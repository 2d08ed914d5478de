"""The built-in kinds of jobs: what a queue can run without being told how."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tdmx_dask.api.kinds.attainment import CFRCalculation, PTACalculation
from tdmx_dask.api.kinds.fits import StanFit
from tdmx_dask.api.kinds.optimisation import Optimization
from tdmx_dask.api.kinds.patients import PatientAnalysis
from tdmx_dask.fitting.fit import Fit
from tdmx_dask.store.value import Reference

if TYPE_CHECKING:
    from tdmx_dask.jobs.kind import Kind

__all__ = ["BUILT_IN", "opened"]

BUILT_IN: tuple[Kind, ...] = (
    PTACalculation(),
    CFRCalculation(),
    Optimization(),
    StanFit(),
    PatientAnalysis(),
)
"""Kinds of every queue that answer a question; functions over items are those of `jobs`."""


def opened(value: Any) -> Any:
    """A decoded result with the fits that it refers to.

    Parameters
    ----------
    value : of `store.value.decode`

    Returns
    -------
    The same, with a `Fit` in the place of each reference to one

    Raises
    ------
    StoreError
        The store of a fit is gone, or damaged.
    """
    if isinstance(value, Reference):
        return Fit(value.location) if value.kind == "fit" else value
    if isinstance(value, dict):
        return {key: opened(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(opened(each) for each in value)
    return value
