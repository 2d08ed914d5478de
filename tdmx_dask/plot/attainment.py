"""Probability of target attainment against MIC."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import xarray as xr

from tdmx_dask.domain.mic import MICDistribution
from tdmx_dask.domain.units import real
from tdmx_dask.errors import InputError
from tdmx_dask.plot import curves, dots, heat, style
from tdmx_dask.plot.panels import level_of, panels, select

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["pta", "read_marks"]

# Beyond these a figure of curves cannot be read: a heat map takes over.
_MAX_PANELS, _MAX_CURVES = 9, 12


def pta(
    result: xr.Dataset,
    *,
    isolates: MICDistribution | Sequence[MICDistribution] | None = None,
    marks: Mapping[str, float] | None = None,
    target: str | None = None,
    scenario: str | Sequence[str] | None = None,
    ax: Axes | None = None,
    figure: Figure | None = None,
    level: float | None = None,
) -> Figure:
    """Draw PTA against MIC: a line a regimen, a panel a scenario and target.

    The axis is log2 with the dilutions as EUCAST prints them. A ring marks the breakpoint on each line, a
    band its interval, a dashed line the wanted level; below stands the distribution of the isolates' MICs.
    Targets that need no MIC become a chart of dots with intervals; more than 9 panels or 12 regimens become
    a heat map.

    Parameters
    ----------
    result : PTA, dims (scenario, regimen, target, mic); a dimension of one may have been dropped
    isolates : distributions of MICs to draw below
    marks : MICs (mg/L) by name to mark on the curves, as in ``{"ECOFF": 2, "EUCAST S<=": 8}``
    target, scenario : labels; None draws all
    ax : where to draw one panel (no histogram); default: a figure of its own
    figure : where to draw; default: a new one, of a size that fits
    level : of the dashed line, a fraction; default: that of the result's breakpoints

    Returns
    -------
    the figure

    Raises
    ------
    InputError
        A label is not in the result, there is no number to draw, a mark is no MIC, or `ax` is to hold several panels.

    Examples
    --------
    >>> import xarray as xr
    >>> dims = ("scenario", "regimen", "target", "mic")
    >>> labels = {"regimen": ["1 g q8h"], "target": ["fT>MIC >= 50%"], "mic": [1, 2, 4]}
    >>> result = xr.Dataset({"pta": (dims, [[[[1.0, 0.97, 0.62]]]])}, coords=labels)
    >>> pta(result).axes[0].get_xlabel()
    'MIC (mg/L)'
    """
    at = read_marks(marks)
    level = level_of(result, level)
    full = select(result, "mic", target=target, scenario=scenario)
    found = panels(full, "pta")
    if isinstance(isolates, MICDistribution):
        isolates = [isolates]
    by_mic = full.sizes["mic"] > 1 and any("MIC" in panel.target for panel in found)
    most = max(len(panel.series) for panel in found)
    with style.styled():
        if ax is not None:
            style.one_panel(ax, len(found), "a target and a scenario")
            return curves.on_axes(ax, full, found[0], level, at)
        if by_mic and len(found) <= _MAX_PANELS and most <= _MAX_CURVES:
            return curves.by_mic(full, found, list(isolates or ()), figure, level, marks=at)
        if by_mic:
            return heat.by_mic(full, found, figure, level)
        if sum(len(panel.series) for panel in found) <= dots.MOST_ROWS:
            return dots.by_target(full, found, figure, level)
        return heat.by_regimen(full, found, figure, level)


def read_marks(marks: Mapping[str, float] | None) -> dict[str, float]:
    """MICs by name, checked."""
    if marks is not None and not isinstance(marks, Mapping):
        raise InputError("marks", marks, "marks are MICs by name", "Write {'ECOFF': 2}.")
    return {
        str(name): real(f"marks[{name}]", mic, "a MIC", unit="mg/L", gt=0, fix="Write {'ECOFF': 2}.")
        for name, mic in (marks or {}).items()
    }
