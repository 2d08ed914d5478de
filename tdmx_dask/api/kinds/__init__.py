"""The built-in kinds of jobs: what a queue can run without being told how."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tdmx_dask.api.kinds.attainment import CFRCalculation, PTACalculation
from tdmx_dask.api.kinds.optimisation import Optimization

if TYPE_CHECKING:
    from tdmx_dask.jobs.kind import Kind

__all__ = ["BUILT_IN"]

BUILT_IN: tuple[Kind, ...] = (PTACalculation(), CFRCalculation(), Optimization())
"""Kinds of every queue."""
