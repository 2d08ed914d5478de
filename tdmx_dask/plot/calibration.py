"""Ranks of a calibration: a histogram, and the empirical distribution function in its band, for each quantity."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from tdmx_dask.plot import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["calibration"]

_BAND, _LINE, _ALARM = "#d5e3ea", "#0072B2", "#D55E00"
_ACROSS = 4


def calibration(result: xr.Dataset, *, figure: Figure | None = None) -> Figure:
    """Draw the ranks of a calibration.

    Above, a histogram of the ranks, and where 95 % of the bars of uniform ranks lie; below, the distribution function of the
    ranks less that of uniform ones, in the band that uniform ranks keep as a whole (Säilynoja et al. 2022,
    doi:10.1007/s11222-022-10090-6). A bump in the middle says the posterior is too wide, a hollow too narrow; a slope, that it is
    shifted.

    Parameters
    ----------
    result : of `tdmx_dask.calibrate`
    figure : where to draw; default: a new one, of a size that fits

    Returns
    -------
    the figure
    """
    names = [str(name) for name in result["quantity"].values]
    across = min(_ACROSS, len(names))
    down = -(-len(names) // across)
    with style.styled():
        width, height = 2.6 * across + 0.5, 3.1 * down + 0.9
        figure = style.canvas(figure, width, height)
        grid = figure.add_gridspec(2 * down, across, height_ratios=[2, 3] * down)
        for place, name in enumerate(names):
            row, column = divmod(place, across)
            one = result.sel(quantity=name)
            wrong = float(one["ecdf_p"]) < float(result.attrs["wrong_below"])
            colour = _ALARM if wrong else _LINE
            above = figure.add_subplot(grid[2 * row, column])
            below = figure.add_subplot(grid[2 * row + 1, column])
            _histogram(above, one["rank"].values, colour)
            _difference(below, result, one, colour)
            above.set_title(f"{name}   p = {float(one['ecdf_p']):.2g}", loc="left")
            if column == 0:
                above.set_ylabel("fits")
                below.set_ylabel("ECDF less uniform")
        style.title(figure, _heading(result), width)
        style.legend(figure, [], [], [_note(result)], width)
    return figure


def _histogram(ax: Axes, ranks: np.ndarray, colour: str) -> None:
    from scipy.special import bdtrik

    n_bins = int(np.clip(ranks.size // 10, 4, 20))
    low, high = (max(0.0, float(bdtrik(p, ranks.size, 1 / n_bins))) for p in (0.025, 0.975))
    ax.axhspan(low, high, color=_BAND, linewidth=0)
    ax.hist(ranks, bins=n_bins, range=(0, 1), color=colour, rwidth=0.9)
    for height, dashes in ((low, ":"), (high, ":"), (ranks.size / n_bins, "-")):
        ax.axhline(height, color=style.GREY, linewidth=0.8, linestyle=dashes)
    ax.set_xlim(0, 1)
    ax.set_xticks([0, 0.5, 1], ["", "", ""])


def _difference(ax: Axes, result: xr.Dataset, one: xr.Dataset, colour: str) -> None:
    points = np.concatenate([[0.0], result["point"].values, [1.0]])
    lower, upper, ecdf = (
        np.pad(values - result["point"].values, 1)
        for values in (result["band_lower"].values, result["band_upper"].values, one["ecdf"].values)
    )
    ax.fill_between(points, lower, upper, color=_BAND, linewidth=0)
    ax.axhline(0.0, color=style.GREY, linewidth=0.8)
    ax.plot(points, ecdf, color=colour, linewidth=1.5)
    reach = 1.15 * max(np.abs(lower).max(), np.abs(upper).max(), np.abs(ecdf).max())
    ax.set_ylim(-reach, reach)
    ax.set_xlim(0, 1)
    ax.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
    ax.set_xlabel("rank of the truth")


def _heading(result: xr.Dataset) -> str:
    attrs = result.attrs
    return f"Calibration of {attrs['model']}, {attrs['error']} error: {result.sizes['fit']} fits"


def _note(result: xr.Dataset) -> str:
    level = float(result.attrs["band_level"])
    return (
        f"Bars: 95 % of those of uniform ranks lie in the shaded range. Lines: uniform ranks stay in the shaded band as a whole with "
        f"{100 * level:g} %. {result.attrs['verdict']}"
    )
