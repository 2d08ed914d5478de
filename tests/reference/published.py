"""Published numbers, and how far a computation is from them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import yaml
from numpy.typing import ArrayLike, NDArray

import tdmx_dask as tdmx

N = 200_000
"""Virtual patients: the standard error of our own PTA is 0.11 points at most."""


@dataclass(frozen=True, slots=True)
class Facts:
    """One publication: its population, settings and table, as the YAML file beside this one holds them."""

    data: dict[str, Any]

    @classmethod
    def read(cls, name: str) -> Facts:
        """Facts of a file of this folder."""
        path = Path(__file__).with_name(f"{name}.yaml")
        return cls(yaml.safe_load(path.read_text(encoding="utf-8")))

    def __getitem__(self, key: str) -> Any:
        return self.data[key]

    @property
    def population(self) -> tdmx.Population:
        """The population model, as printed."""
        return tdmx.Population.from_mapping(self.data["population"])

    @property
    def rows(self) -> list[dict[Any, Any]]:
        """The rows of the table, by its columns."""
        columns = self.data["columns"]
        return [dict(zip(columns, row, strict=True)) for row in self.data["rows"]]


@dataclass(frozen=True, slots=True)
class Cell:
    """One published PTA beside ours: fractions."""

    name: str
    computed: float
    published: float

    @property
    def points(self) -> float:
        """Computed less published, percentage points."""
        return 100 * (self.computed - self.published)

    def errors(self, n: int) -> float:
        """Computed less published, in standard errors: that of the `n` patients of the paper plus that of our own.

        Both are those of the computed PTA, which is known well; that of a printed 0 % would be 0.
        """
        spread = math.sqrt(max(self.computed * (1 - self.computed), 1e-12))
        return abs(self.computed - self.published) / (spread * (1 / math.sqrt(n) + 1 / math.sqrt(N)))

    def chance(self, n: int) -> float:
        """Two-sided chance that `n` patients give the published count, or one farther off, if ours is the true PTA."""
        from scipy.stats import binom

        count = round(self.published * n)
        tails = binom.cdf(count, n, self.computed), binom.sf(count - 1, n, self.computed)
        return float(min(1.0, 2 * min(tails)))


def farthest(cells: Sequence[Cell], most: int = 5) -> str:
    """The cells with the largest deviation, to be read in a failed test."""
    ordered = sorted(cells, key=lambda cell: -abs(cell.points))[:most]
    return "; ".join(
        f"{cell.name}: {100 * cell.computed:.2f} not {100 * cell.published:g} %" for cell in ordered
    )


def deviations(cells: Sequence[Cell]) -> NDArray[np.float64]:
    """Deviation of each cell, percentage points."""
    return np.array([cell.points for cell in cells])


def rmse(values: ArrayLike) -> float:
    """Root mean square."""
    return float(np.sqrt(np.mean(np.square(values))))


def attained(pta: xr.Dataset, scenario: str, regimen: str, target: str, mic: float) -> float:
    """PTA of one cell; the regimen and the target as their texts are read."""
    found = pta["pta"].sel(
        scenario=scenario,
        regimen=tdmx.Regimen.parse(regimen).label,
        target=tdmx.parse_target(target).label,
        mic=mic,
    )
    assert found.size == 1
    return float(found)
