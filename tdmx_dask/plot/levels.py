"""Measured levels on the concentration that the posterior predicts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import xarray as xr

from tdmx_dask.plot import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["levels"]

_WIDTH, _HEIGHT = 6.4, 3.4


def levels(course: xr.Dataset, *, title: str = "", figure: Figure | None = None) -> Figure:
    """Draw the predicted concentration with its interval, and the levels.

    Parameters
    ----------
    course : ``q5, q50, q95`` (time), mg/L; ``level`` and ``below`` (observation) with the coordinate ``level_time``, h
    title : heading
    figure : where to draw; default: a new one

    Returns
    -------
    the figure
    """
    with style.styled():
        figure = style.canvas(figure, _WIDTH, _HEIGHT)
        ax = figure.add_subplot()
        time = course["time"].values
        line = style.line_style(0)["color"]
        band = ax.fill_between(
            time, course["q5"].values, course["q95"].values, color=line, alpha=0.2, linewidth=0
        )
        (median,) = ax.plot(time, course["q50"].values, color=line, linewidth=1.6)
        handles, labels = [median, band], ["predicted concentration, median", "5-95 %"]
        at, value = course["level_time"].values, course["level"].values
        for below, marker, text in ((0, "o", "measured"), (1, "v", "below quantification, at its limit")):
            chosen = course["below"].values == below
            if chosen.any():
                (dots,) = ax.plot(
                    at[chosen],
                    value[chosen],
                    marker,
                    color=style.INK,
                    markersize=6,
                    markerfacecolor="white" if below else style.INK,
                )
                handles.append(dots)
                labels.append(text)
        ax.set_ylim(bottom=0)
        ax.set_xlim(time[0], time[-1] + 0.02 * (time[-1] - time[0]))
        ax.set_xlabel("time, h")
        ax.set_ylabel("concentration, mg/L")
        style.title(figure, title or "Levels", _WIDTH)
        style.legend(figure, handles, labels, [], _WIDTH)
    return figure
