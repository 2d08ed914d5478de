"""Cumulative fraction of response by regimen and organism."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import numpy as np
import xarray as xr

from tdmx_dask.plot import dots, heat, style
from tdmx_dask.plot.panels import Panel, level_of, panels, select

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
    level: float | None = None,
) -> Figure:
    """Draw CFR as dots with intervals: a row a regimen, grouped by organism, a column a scenario and target.

    More than 60 rows become a heat map.

    Parameters
    ----------
    result : CFR, dims (scenario, regimen, target, organism); a dimension of one may have been dropped
    target, scenario : labels; None draws all
    ax : where to draw one scenario and target; default: a figure of its own
    figure : where to draw; default: a new one, of a size that fits
    level : of the dashed line, a fraction; default: that of the result's breakpoints

    Returns
    -------
    the figure

    Raises
    ------
    InputError
        A label is not in the result, there is no number to draw, or `ax` is to hold several panels.
    """
    full = select(result, "organism", target=target, scenario=scenario)
    level = level_of(result, level)
    found = panels(full, "cfr")
    organisms = [str(name) for name in full["organism"].values]
    with style.styled():
        if ax is not None:
            style.one_panel(ax, len(found), "a target and a scenario")
            dots.on_axes(ax, _groups(found[0], organisms), level, chars=34)
            ax.set_xlabel("CFR")
            return cast("Figure", ax.get_figure(root=True))
        if len(organisms) * sum(len(panel.series) for panel in found) > dots.MOST_ROWS:
            return heat.by_organism(full, found, figure, level)
        columns = {_heading(panel, found): _groups(panel, organisms) for panel in found}
        return dots.chart(columns, "Cumulative fraction of response", "CFR", full, figure, level)


def _heading(panel: Panel, found: Sequence[Panel]) -> str:
    """What tells a panel from the others, or all there is to say where it is alone."""
    many = {name: len({getattr(one, name) for one in found}) > 1 for name in ("scenario", "target")}
    alone = not any(many.values())
    parts = [getattr(panel, name) for name in ("scenario", "target") if many[name] or alone]
    return ", ".join(part for part in parts if part)


def _groups(panel: Panel, organisms: Sequence[str]) -> list[dots.Group]:
    return [
        dots.Group(
            organism,
            tuple(
                dots.Row(
                    one.regimen,
                    one.slot,
                    float(one.value[number]),
                    float(one.lower[number]),
                    float(one.upper[number]),
                )
                for one in panel.series
                if np.isfinite(one.value[number])
            ),
        )
        for number, organism in enumerate(organisms)
    ]
