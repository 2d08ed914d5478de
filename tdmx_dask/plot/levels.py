"""Measured levels on the concentration that the posterior predicts."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import xarray as xr

from tdmx_dask.domain.level import Level
from tdmx_dask.plot import style
from tdmx_dask.plot.course import draw_levels
from tdmx_dask.plot.panels import wanted

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["levels"]

_WIDTH, _HEIGHT = 6.4, 3.4


def levels(
    course: xr.Dataset, *, title: str = "", ax: Axes | None = None, figure: Figure | None = None
) -> Figure:
    """Draw the predicted concentration with its interval, and the levels, each on the interval of a measurement there.

    A level is judged by that of a measurement, which has the error of measuring in it: the band is that of the concentration.

    Parameters
    ----------
    course : ``q5, q50, q95`` (time), mg/L; ``level`` and ``below`` (observation) with the coordinate ``level_time``, h; where they are
        known ``level_q5, level_q95`` (observation), mg/L; as `tdmx_dask.api.individual.course_of` makes it
    title : heading
    ax : where to draw; default: a figure of its own
    figure : where to draw; default: a new one

    Returns
    -------
    the figure

    Raises
    ------
    InputError
        The course lacks a variable.
    """
    wanted(course, ("q5", "q50", "q95", "level", "below"), "levels", "course_of a fitted patient")
    with style.styled():
        own = ax is None
        if ax is None:
            figure = style.canvas(figure, _WIDTH, _HEIGHT)
            ax = figure.add_subplot()
        time = course["time"].values
        line = style.line_style(0)["color"]
        band = ax.fill_between(
            time, course["q5"].values, course["q95"].values, color=line, alpha=0.2, linewidth=0
        )
        (median,) = ax.plot(time, course["q50"].values, color=line, linewidth=1.6)
        seen = zip(
            course["level_time"].values.tolist(),
            course["level"].values.tolist(),
            course["below"].values.tolist(),
            strict=True,
        )
        dots, texts = draw_levels(ax, [Level(at, value, below=bool(low)) for at, value, low in seen])
        handles, labels = [median, band], ["predicted concentration, median", "its 5–95 %"]
        if {"level_q5", "level_q95"} <= set(course):
            ends = course["level_q5"].values, course["level_q95"].values
            handles.append(ax.vlines(course["level_time"].values, *ends, color=style.GREY, linewidth=2.0))
            labels.append("5–95 % of a level, measured there")
        handles, labels = [*handles, *dots], [*labels, *texts]
        ax.set_ylim(bottom=0)
        ax.set_xlim(time[0], time[-1] + 0.02 * (time[-1] - time[0]))
        ax.tick_params(labelsize=8.5)
        ax.set_xlabel("Time (h)")
        ax.set_ylabel("Concentration (mg/L)")
        if not own:
            ax.legend(handles, labels, loc="best", fontsize=8)
            return cast("Figure", ax.get_figure(root=True))
        assert figure is not None  # noqa: S101  made above
        style.title(figure, title or "Levels", _WIDTH)
        style.legend(figure, handles, labels, [], _WIDTH)
    return figure
