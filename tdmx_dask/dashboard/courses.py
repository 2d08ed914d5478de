"""Bokeh's counterparts of the figures of `tdmx_dask.plot` that a page changes while it is open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from bokeh.core.properties import value
from bokeh.models import (
    ColumnDataSource,
    DataRange1d,
    HoverTool,
    Legend,
    LegendItem,
    NumeralTickFormatter,
    Range1d,
)
from bokeh.plotting import figure
from numpy.typing import NDArray

from tdmx_dask.dashboard.attainment import Attainment
from tdmx_dask.dashboard.style import COLOURS, figure_style
from tdmx_dask.domain.mic import MICDistribution
from tdmx_dask.plot.style import mic_label

__all__ = ["Course", "Isolates", "blank"]

Floats = NDArray[np.float64]


def blank(**options: Any) -> Any:
    """A figure on the page's own ground, without toolbar, as wide as there is room."""
    made = figure(
        toolbar_location=None,
        sizing_mode="stretch_width",
        tools="",
        min_border_left=54,
        min_border_right=12,
        **options,
    )
    figure_style(made)
    made.xgrid.grid_line_color = None
    return made


class Isolates:
    """Histograms of MICs below a figure of PTA, on its axis.

    Parameters
    ----------
    above : whose MICs it shares
    n : distributions at most
    height : px
    """

    def __init__(self, above: Attainment, n: int = 4, *, height: int = 110) -> None:
        self.n = n
        self.figure = blank(height=height, x_range=above.figure.x_range, y_range=Range1d(0, 0.5))
        self.figure.yaxis.formatter = NumeralTickFormatter(format="0 %")
        self.figure.yaxis.axis_label = "isolates"
        self.figure.xaxis.visible = self.figure.visible = False
        self.figure.yaxis.ticker.desired_num_ticks = 3
        self.source = ColumnDataSource(
            {"left": [], "right": [], "top": [], "name": [], "mic": [], "alpha": []}
        )
        bars = self.figure.quad(
            "left",
            "right",
            "top",
            0,
            source=self.source,
            fill_color="#8a8f98",
            fill_alpha="alpha",
            line_color=None,
        )
        self.figure.add_tools(
            HoverTool(
                renderers=[bars],
                tooltips=[("organism", "@name"), ("MIC", "@mic mg/L"), ("isolates", "@top{0.0 %}")],
            )
        )

    def show(self, distributions: Sequence[MICDistribution]) -> None:
        """Draw these distributions side by side."""
        shown = distributions[: self.n]
        width = 0.8 / max(1, len(shown))
        rows: dict[str, list[Any]] = {key: [] for key in ("left", "right", "top", "name", "mic", "alpha")}
        for k, one in enumerate(shown):
            for mic, weight in zip(one.mic, one.weight, strict=True):
                left = float(np.log2(mic)) - 0.4 + (k + 0.04) * width
                for key, each in zip(
                    rows,
                    (left, left + 0.92 * width, weight, one.organism, mic_label(mic), 0.95 - 0.2 * k),
                    strict=True,
                ):
                    rows[key].append(each)
        self.figure.visible = bool(shown)
        if shown:
            self.source.data = rows
            self.figure.y_range.end = 1.1 * max(rows["top"])


class Course:
    """Concentration against time: bands of percentiles, and measured levels.

    Parameters
    ----------
    height : px
    name : by which scripts of the page find it
    """

    def __init__(self, *, height: int = 260, name: str = "course") -> None:
        self.figure = blank(height=height, name=name, y_range=DataRange1d(start=0))
        self.figure.xaxis.axis_label, self.figure.yaxis.axis_label = "time (h)", "concentration (mg/L)"
        colour = COLOURS[0]
        self.source = ColumnDataSource(
            {"time": [], **{q: [] for q in ("q5", "q25", "q50", "q75", "q95")}}, name=f"{name}-course"
        )
        self.levels = ColumnDataSource({"time": [], "value": [], "marker": []})
        wide = self.figure.varea("time", "q5", "q95", source=self.source, fill_color=colour, fill_alpha=0.18)
        narrow = self.figure.varea(
            "time", "q25", "q75", source=self.source, fill_color=colour, fill_alpha=0.25
        )
        median = self.figure.line("time", "q50", source=self.source, line_color=colour, line_width=2)
        dots = self.figure.scatter(
            "time",
            "value",
            marker="marker",
            source=self.levels,
            size=9,
            line_color=COLOURS[1],
            fill_color=None,
            line_width=2,
        )
        self.figure.add_tools(
            HoverTool(
                renderers=[median],
                mode="vline",
                tooltips=[
                    ("time", "@time{0.0} h"),
                    ("median", "@q50{0.00} mg/L"),
                    ("5–95 %", "@q5{0.00} – @q95{0.00}"),
                ],
            )
        )
        self.figure.add_tools(
            HoverTool(renderers=[dots], tooltips=[("time", "@time h"), ("measured", "@value mg/L")])
        )
        self._narrow = LegendItem(label=value("25–75 %"), renderers=[narrow])
        self._measured = LegendItem(
            label=value("measured (triangle: below quantification)"), renderers=[dots], visible=False
        )
        items = [
            LegendItem(label=value("median"), renderers=[median]),
            self._narrow,
            LegendItem(label=value("5–95 %"), renderers=[wide]),
            self._measured,
        ]
        legend = Legend(
            items=items,
            orientation="horizontal",
            location="left",
            padding=0,
            margin=4,
            border_line_color=None,
            background_fill_color=None,
        )
        self.figure.add_layout(legend, "below")

    def show(
        self, time: Floats, bands: Mapping[str, Floats], levels: Sequence[tuple[float, float, bool]] = ()
    ) -> None:
        """Draw a course.

        Parameters
        ----------
        time : h
        bands : q5, q50, q95, and q25, q75 where they are known; mg/L
        levels : time (h), value (mg/L), whether it is below quantification
        """
        quartiles = "q25" in bands
        middle = {} if quartiles else {"q25": bands["q50"], "q75": bands["q50"]}
        self.source.data = {"time": time, **bands, **middle}
        self._narrow.visible = quartiles
        self._measured.visible = bool(levels)
        self.levels.data = {
            "time": [at for at, _, _ in levels],
            "value": [each for _, each, _ in levels],
            "marker": ["inverted_triangle" if below else "circle" for _, _, below in levels],
        }
