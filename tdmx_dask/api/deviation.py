"""A computed PTA held against the published one, cell by cell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tdmx_dask.domain.mic import match_mic
from tdmx_dask.domain.published import Cell, Published

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["Deviation", "deviations"]


@dataclass(frozen=True, slots=True)
class Deviation:
    """One published cell and its computed counterpart.

    Parameters
    ----------
    cell : as published
    computed : fraction
    """

    cell: Cell
    computed: float

    @property
    def difference(self) -> float:
        """Computed less published, a fraction."""
        return self.computed - self.cell.pta

    @property
    def judged(self) -> bool:
        """Whether the cell counts; one that was left out is printed only."""
        return not self.cell.left_out

    @property
    def within(self) -> bool:
        """Whether the difference is within the tolerance of the cell."""
        return abs(self.difference) <= self.cell.tolerance


def deviations(pta: xr.Dataset, published: Published) -> tuple[Deviation, ...]:
    """Every published cell beside the computed one.

    Parameters
    ----------
    pta : result of `pta`, dims (scenario, regimen, target, mic)
    published : cells whose labels are coordinates of the result

    Returns
    -------
    in the order of the published table
    """
    values = pta["pta"].transpose("scenario", "regimen", "target", "mic").values
    index = [
        {str(label): i for i, label in enumerate(pta[dim].values.tolist())}
        for dim in ("scenario", "regimen", "target")
    ]
    mics = pta["mic"].values.tolist()
    found = []
    for cell in published.cells:
        m = 0 if cell.mic is None else int(match_mic([cell.mic], mics)[0])
        at = (index[0][cell.scenario], index[1][cell.regimen], index[2][cell.target], m)
        found.append(Deviation(cell, float(np.asarray(values[at]))))
    return tuple(found)
