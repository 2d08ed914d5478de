"""Cumulative fraction of response by regimen and organism."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import xarray as xr

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["cfr"]


def cfr(
    result: xr.Dataset,
    *,
    target: str | None = None,
    scenario: str | Sequence[str] | None = None,
    ax: Axes | None = None,
    figure: Figure | None = None,
    level: float = 0.9,
) -> Figure:
    """Draw CFR as dots with intervals; returns the figure."""
    raise NotImplementedError
