"""Probability of target attainment against MIC."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import xarray as xr

from tdmx_dask.domain.mic import MICDistribution

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["pta"]


def pta(
    result: xr.Dataset,
    *,
    isolates: MICDistribution | Sequence[MICDistribution] | None = None,
    target: str | None = None,
    scenario: str | Sequence[str] | None = None,
    ax: Axes | None = None,
    figure: Figure | None = None,
    level: float = 0.9,
) -> Figure:
    """Draw PTA against MIC; returns the figure."""
    raise NotImplementedError
