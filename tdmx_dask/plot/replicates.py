"""Posterior predictive check: measured levels beside levels that the fitted model makes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np
import xarray as xr

from tdmx_dask.domain.level import Level
from tdmx_dask.errors import InputError
from tdmx_dask.plot import style
from tdmx_dask.plot.course import draw_levels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["ppc"]

_WIDTH, _HEIGHT = 6.4, 3.4


def ppc(fit: Any, *, title: str = "", ax: Axes | None = None, figure: Figure | None = None) -> Figure:
    """Draw each measured level on the 50 % and 90 % intervals of levels that the fitted model makes at that time.

    Levels were used for the fit, so that they lie within more often than these shares say: a check for gross misfit.

    Parameters
    ----------
    fit : a `Fit`, or its DataTree with ``posterior_predictive`` and ``constant_data``
    title : heading
    ax : where to draw; default: a figure of its own
    figure : where to draw; default: a new one

    Returns
    -------
    the figure

    Raises
    ------
    InputError
        The fit has no levels, or no replicates of them.
    """
    tree = fit if isinstance(fit, xr.DataTree) else getattr(fit, "tree", None)
    groups = tree.children if isinstance(tree, xr.DataTree) else {}
    made, given = (
        groups[name].to_dataset() if name in groups else xr.Dataset()
        for name in ("posterior_predictive", "constant_data")
    )
    if "level" not in made or not {"level", "level_time"} <= set(given.data_vars):
        rule = "a predictive check needs levels and their replicates"
        raise InputError("fit", type(fit).__name__, rule, "Give a fit of a patient with levels.")
    replicates = made["level"].transpose("chain", "draw", ...).values
    replicates = replicates.reshape(-1, replicates.shape[-1])
    below = given["below"].values if "below" in given else np.zeros(replicates.shape[1])
    seen = [
        Level(float(at), float(value), below=bool(low))
        for at, value, low in zip(given["level_time"].values, given["level"].values, below, strict=True)
    ]
    with style.styled():
        own = ax is None
        if ax is None:
            figure = style.canvas(figure, _WIDTH, _HEIGHT)
            ax = figure.add_subplot()
        colour = style.line_style(0)["color"]
        handles: list[Any] = []
        limits = np.quantile(replicates, [0.05, 0.25, 0.5, 0.75, 0.95], axis=0)
        times = [level.time for level in seen]
        for low, high, width in ((0, 4, 3.0), (1, 3, 7.0)):
            bars = ax.vlines(times, limits[low], limits[high], color=colour, linewidth=width, alpha=0.35)
            handles.append(bars)
        (middle,) = ax.plot(times, limits[2], "_", color=colour, markersize=13, markeredgewidth=1.6)
        dots, texts = draw_levels(ax, seen)
        handles += [middle, *dots]
        labels = ["5–95 % of replicates", "25–75 %", "median", *texts]
        ax.set_ylim(bottom=0)
        room = max(0.5, 0.06 * (times[-1] - times[0]))
        ax.set_xlim(times[0] - room, times[-1] + room)
        ax.tick_params(labelsize=8.5)
        ax.set_xlabel("Time (h)")
        ax.set_ylabel("Level (mg/L)")
        if not own:
            ax.legend(handles, labels, loc="best", fontsize=8)
            return cast("Figure", ax.get_figure(root=True))
        assert figure is not None  # noqa: S101  made above
        style.title(figure, title or "Levels and their replicates", _WIDTH)
        style.legend(figure, handles, labels, ["The levels were used for the fit"], _WIDTH)
    return figure
