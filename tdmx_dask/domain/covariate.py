"""Covariates of virtual patients: fixed, distributed, or derived by a named equation or an expression."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Covariate"]


@dataclass(frozen=True, slots=True)
class Covariate:
    """One covariate of a population."""

    name: str
    unit: str
