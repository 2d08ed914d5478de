"""Virtual patients: typical values, covariate equations and between-subject variability of one model."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tdmx_dask.domain.covariate import Covariate
from tdmx_dask.domain.expression import Expression
from tdmx_dask.domain.parameters import Model

__all__ = ["Population"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Population:
    """A population model, from which virtual patients are drawn."""

    name: str
    model: Model
    thetas: Mapping[str, float]
    parameters: Mapping[str, Expression]
    covariates: Mapping[str, Covariate]
    etas: tuple[str, ...]
    omega: Floats
    fu: float | Expression | None = None
    source: str = ""

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, object]) -> Population:
        """Read a population from the mapping that a YAML file holds."""
        raise NotImplementedError

    def to_mapping(self) -> dict[str, object]:
        """Return the mapping that `from_mapping` reads back."""
        raise NotImplementedError

    def simulate(
        self,
        *,
        seed: int,
        chain: int,
        draw_start: int,
        n_draws: int,
        subject_start: int = 0,
        n_subjects: int = 1,
        scenario: Mapping[str, float] | None = None,
        thetas: Mapping[str, Floats] | None = None,
        omega: Floats | None = None,
        covariates: Collection[str] = (),
    ) -> dict[str, Floats]:
        """Draw virtual patients: (n_subjects, n_draws) arrays by name."""
        raise NotImplementedError
